package rfc9111

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// kind is the type of a value of structured fields (RFC 9651 §3.3).
type kind uint8

const (
	invalid kind = iota
	boolean
	integer
	other // a decimal, string, token, byte sequence, date, display string or inner list
)

// bareItem is a value without its parameters. Number is that of an integer, and 1 of true.
type bareItem struct {
	kind   kind
	number int64
}

// eachMember calls yield with each member of a dictionary, and reports whether the field
// is one.
func eachMember(values []string, yield func(key string, v bareItem)) bool {
	p := parser{strings.TrimLeft(strings.Join(values, ","), " ")}
	for p.rest != "" {
		key, v := p.key(), bareItem{boolean, 1}
		if key == "" {
			return false
		}
		if p.next('=') {
			v = p.item()
		}
		if v.kind == invalid || !p.parameters() {
			return false
		}
		yield(key, v)
		if p.skip(" \t"); p.rest == "" {
			return true
		}
		if !p.next(',') {
			return false
		}
		if p.skip(" \t"); p.rest == "" {
			return false // a trailing comma
		}
	}
	return true
}

// parser parses structured fields. What is left after a fault is unspecified.
type parser struct{ rest string }

func (p *parser) skip(set string) { p.rest = strings.TrimLeft(p.rest, set) }

// next cuts c off if it is next.
func (p *parser) next(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// span cuts off the longest prefix of bytes for which in reports true.
func (p *parser) span(in func(c byte) bool) string {
	n := 0
	for n < len(p.rest) && in(p.rest[n]) {
		n++
	}
	out := p.rest[:n]
	p.rest = p.rest[n:]
	return out
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isAlpha(c byte) bool { return isLower(c | 0x20) }

func isKey(c byte) bool { return isLower(c) || isDigit(c) || strings.IndexByte("_-.*", c) >= 0 }

func isToken(c byte) bool {
	return isAlpha(c) || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0
}

func (p *parser) key() string {
	if p.rest == "" || !isLower(p.rest[0]) && p.rest[0] != '*' {
		return ""
	}
	return p.span(isKey)
}

// item parses an item without its parameters, or an inner list.
func (p *parser) item() bareItem {
	if p.next('(') {
		return p.innerList()
	}
	return p.bare()
}

func (p *parser) innerList() bareItem {
	for {
		p.skip(" ")
		if p.next(')') {
			return bareItem{kind: other}
		}
		if p.bare().kind == invalid || !p.parameters() || p.rest == "" || p.rest[0] != ' ' && p.rest[0] != ')' {
			return bareItem{}
		}
	}
}

func (p *parser) parameters() bool {
	for p.next(';') {
		p.skip(" ")
		if p.key() == "" || p.next('=') && p.bare().kind == invalid {
			return false
		}
	}
	return true
}

func (p *parser) bare() bareItem {
	if p.rest == "" {
		return bareItem{}
	}
	switch c := p.rest[0]; {
	case c == '-' || isDigit(c):
		return p.number()
	case c == '"':
		return p.ifOther(p.text(false))
	case c == '%':
		p.next('%')
		return p.ifOther(p.text(true))
	case c == '*' || isAlpha(c):
		return p.ifOther(p.span(isToken) != "")
	case c == ':':
		p.next(':')
		encoded, rest, found := strings.Cut(p.rest, ":")
		p.rest = rest
		_, err := base64.StdEncoding.DecodeString(encoded)
		return p.ifOther(found && err == nil)
	case c == '@':
		p.next('@')
		return p.ifOther(p.number().kind == integer)
	case strings.HasPrefix(p.rest, "?0"), strings.HasPrefix(p.rest, "?1"):
		v := bareItem{boolean, int64(p.rest[1] - '0')}
		p.rest = p.rest[2:]
		return v
	}
	return bareItem{}
}

func (*parser) ifOther(ok bool) bareItem {
	if ok {
		return bareItem{kind: other}
	}
	return bareItem{}
}

// number parses an integer of up to 15 digits, or a decimal of up to 12 and 3.
func (p *parser) number() bareItem {
	negative := p.next('-')
	whole := p.span(isDigit)
	if whole == "" || len(whole) > 15 {
		return bareItem{}
	}
	if p.next('.') {
		fraction := p.span(isDigit)
		return p.ifOther(len(whole) <= 12 && fraction != "" && len(fraction) <= 3)
	}
	n, _ := strconv.ParseInt(whole, 10, 64) // 15 digits fit
	if negative {
		n = -n
	}
	return bareItem{integer, n}
}

// text parses a string, or the part of a display string after its %.
func (p *parser) text(display bool) bool {
	if !p.next('"') {
		return false
	}
	var decoded []byte
	for p.rest != "" {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case c == '"':
			return utf8.Valid(decoded)
		case c < ' ' || c > '~':
			return false
		case display && c == '%':
			b, ok := p.hex()
			if !ok {
				return false
			}
			c = b
		case !display && c == '\\' && !p.next('"') && !p.next('\\'):
			return false
		}
		if display {
			decoded = append(decoded, c)
		}
	}
	return false
}

// hex parses two lower-case hexadecimal digits.
func (p *parser) hex() (byte, bool) {
	if len(p.rest) < 2 || strings.ToLower(p.rest[:2]) != p.rest[:2] {
		return 0, false
	}
	n, err := strconv.ParseUint(p.rest[:2], 16, 8)
	p.rest = p.rest[2:]
	return byte(n), err == nil
}
