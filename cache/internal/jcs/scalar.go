package jcs

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// str writes a string. Runs without escapes are copied at once.
func (c *Canon) str() error {
	c.i++
	c.dst = append(c.dst, '"')
	for {
		n, err := plain(c.src[c.i:])
		c.dst = append(c.dst, c.src[c.i:c.i+n]...)
		c.i += n
		if err != nil {
			return err
		}
		switch b := c.peek(); {
		case b == '"' && c.i < len(c.src):
			c.i++
			c.dst = append(c.dst, '"')
			return nil
		case b != '\\':
			return c.syntax() // the end, or a control character
		}
		if err := c.escape(); err != nil {
			return err
		}
	}
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks the bytes of a word that need a closer look. It may mark one too
// many, behind another.
func special(w uint64) uint64 {
	quote, slash := w^(ones*'"'), w^(ones*'\\')
	return (w - ones*0x20 | (quote - ones) | (slash - ones) | w) & highs
}

// plain returns the length of the prefix of a string that needs no escape.
func plain(b []byte) (int, error) {
	i := 0
	for i < len(b) {
		if i+8 <= len(b) && special(binary.LittleEndian.Uint64(b[i:])) == 0 {
			i += 8
			continue
		}
		switch ch := b[i]; {
		case ch == '"' || ch == '\\' || ch < 0x20:
			return i, nil
		case ch < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return i, ErrUnicode
			}
			i += n
		}
	}
	return i, nil
}

// escape writes the character of an escape.
func (c *Canon) escape() error {
	if c.i+1 >= len(c.src) {
		return c.syntax()
	}
	b := c.src[c.i+1]
	c.i += 2
	switch b {
	case '"', '\\', 'b', 'f', 'n', 'r', 't':
		c.dst = append(c.dst, '\\', b)
		return nil
	case '/':
		c.dst = append(c.dst, '/')
		return nil
	case 'u':
		return c.unicode()
	}
	return c.syntax()
}

func (c *Canon) unicode() error {
	r, ok := c.hex()
	if !ok {
		return c.syntax()
	}
	if utf16.IsSurrogate(r) {
		if !bytes.HasPrefix(c.src[c.i:], []byte(`\u`)) {
			return ErrUnicode
		}
		c.i += len(`\u`)
		low, ok := c.hex()
		if !ok {
			return c.syntax()
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return ErrUnicode
		}
	}
	c.dst = appendEscaped(c.dst, r)
	return nil
}

// hex parses four digits.
func (c *Canon) hex() (rune, bool) {
	if c.i+4 > len(c.src) {
		return 0, false
	}
	var r rune
	for _, b := range c.src[c.i : c.i+4] {
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b|0x20 >= 'a' && b|0x20 <= 'f':
			b = b | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	c.i += 4
	return r, true
}

// short lists the control characters with a one-letter escape, each with its letter.
const short = "\bb\tt\nn\ff\rr"

func appendEscaped(dst []byte, r rune) []byte {
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r >= ' ':
		return utf8.AppendRune(dst, r)
	}
	for i := 0; i < len(short); i += 2 {
		if rune(short[i]) == r {
			return append(dst, '\\', short[i+1])
		}
	}
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', digits[r>>4&0xf], digits[r&0xf])
}

// appendPlain appends a canonical string without its quotes and escapes.
func appendPlain(dst, quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	for {
		i := bytes.IndexByte(inner, '\\')
		if i < 0 {
			return append(dst, inner...)
		}
		dst = append(dst, inner[:i]...)
		letter := inner[i+1]
		inner = inner[i+2:]
		if letter == 'u' { // always \u00xx here
			n, _ := strconv.ParseUint(string(inner[:4]), 16, 8)
			dst, inner = append(dst, byte(n)), inner[4:]
			continue
		}
		for j := 1; j < len(short); j += 2 {
			if short[j] == letter {
				letter = short[j-1]
				break
			}
		}
		dst = append(dst, letter)
	}
}

// maxSafe is the number of digits of integers that a double represents exactly.
const maxSafe = 15

func (c *Canon) number() error {
	start := c.i
	whole, ok := c.scanNumber()
	if !ok {
		return c.syntax()
	}
	text := c.src[start:c.i]
	if whole && len(text) <= maxSafe && string(text) != "-0" {
		c.dst = append(c.dst, text...)
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsInf(f, 0) {
		return ErrNumber
	}
	at := len(c.dst)
	c.dst = appendNumber(c.dst, f)
	if c.Exact && whole && math.Abs(f) >= 1<<53 && string(c.dst[at:]) != string(text) {
		return ErrNumber
	}
	return nil
}

// scanNumber skips a number. Whole: it has no fraction and no exponent.
func (c *Canon) scanNumber() (whole, ok bool) {
	if c.peek() == '-' {
		c.i++
	}
	if c.peek() == '0' {
		c.i++
	} else if !c.digits() {
		return false, false
	}
	whole = true
	if c.peek() == '.' {
		whole = false
		c.i++
		if !c.digits() {
			return false, false
		}
	}
	if c.peek()|0x20 == 'e' {
		whole = false
		c.i++
		if b := c.peek(); b == '+' || b == '-' {
			c.i++
		}
		if !c.digits() {
			return false, false
		}
	}
	return whole, true
}

func (c *Canon) digits() bool {
	start := c.i
	for c.i < len(c.src) && c.src[c.i] >= '0' && c.src[c.i] <= '9' {
		c.i++
	}
	return c.i > start
}

// appendNumber writes a number as ECMAScript does.
func appendNumber(dst []byte, f float64) []byte {
	if f == 0 {
		return append(dst, '0') // of either sign
	}
	format := byte('f')
	if abs := math.Abs(f); abs < 1e-6 || abs >= 1e21 {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if n := len(dst); format == 'e' && dst[n-2] == '0' && (dst[n-3] == '-' || dst[n-3] == '+') {
		dst[n-2] = dst[n-1] // e-07 is e-7
		dst = dst[:n-1]
	}
	return dst
}
