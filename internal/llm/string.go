package llm

import (
	"bytes"
	"unicode/utf8"
)

// use is the purpose of a string.
type use uint8

const (
	asText use = iota
	asName
	asValue
)

const (
	escapeNone  = 0
	escapeBegun = -1
)

func (l *lexer) quote(u use) {
	l.use, l.word.n, l.escape = u, 0, escapeNone
	l.state = inString
}

// quick reads a string that begins at p, after its quote. It is the fast path for a short
// string that is complete and has no escapes, as most are.
func (l *lexer) quick(p []byte, u use) []byte {
	if u == asText && (l.at == nil || l.at.role == ignored) {
		return l.pass(p)
	}
	for n, c := range p[:min(len(p), quickLength)] {
		switch c {
		case '"':
			l.use = u
			if u == asText {
				l.text(p[:n])
			}
			l.unquote(p[:n], l.pos+n+2)
			return p[n+1:]
		case '\\':
			l.quote(u)
			return p
		}
	}
	l.quote(u)
	return p
}

// pass skips a string.
func (l *lexer) pass(p []byte) []byte {
	n := bytes.IndexByte(p, '"')
	if n < 0 || bytes.IndexByte(p[:n], '\\') >= 0 {
		l.quote(asText)
		return p
	}
	l.use = asText
	l.unquote(nil, l.pos+n+2)
	return p[n+1:]
}

// quickLength bounds the bytes that are read twice.
const quickLength = 32

// str reads a piece of a string, up to its end. The work per byte is constant.
func (l *lexer) str(p []byte) []byte {
	for read := 0; ; {
		end := bytes.IndexByte(p[read:], '"')
		if end < 0 {
			l.piece(p[read:])
			return nil
		}
		l.piece(p[read : read+end])
		read += end + 1
		if l.escape != escapeBegun {
			l.unquote(l.word.bytes(), l.pos+read)
			return p[read:]
		}
		l.unescape('"')
	}
}

// piece reads a piece without a quotation mark.
func (l *lexer) piece(p []byte) {
	for len(p) > 0 {
		if l.escape != escapeNone {
			l.unescape(p[0])
			p = p[1:]
			continue
		}
		n := bytes.IndexByte(p, '\\')
		if n < 0 {
			l.take(p)
			return
		}
		l.take(p[:n])
		l.escape = escapeBegun
		p = p[n+1:]
	}
}

// unescape reads a byte of an escape.
func (l *lexer) unescape(c byte) {
	if l.escape == escapeBegun {
		l.escape = escapeNone
		switch c {
		case 'u':
			l.escape, l.char = 4, 0
		case '"', '\\', '/':
			l.decoded[0] = c
			l.take(l.decoded[:1])
		default: // a control character, which is in no known name
			l.decoded[0] = ' '
			l.take(l.decoded[:1])
		}
		return
	}
	l.char = l.char<<4 | hex(c)
	l.escape--
	if l.escape == 0 {
		l.take(l.decoded[:utf8.EncodeRune(l.decoded[:], l.char)])
	}
}

func hex(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c - 'a' + 10)
	case c >= 'A' && c <= 'F':
		return rune(c - 'A' + 10)
	default:
		return 0
	}
}

// take takes the decoded part of a string.
func (l *lexer) take(b []byte) {
	if l.use == asText {
		l.text(b)
	} else {
		l.word.add(b)
	}
}

// unquote ends a name, a value, or a text, before end.
func (l *lexer) unquote(word []byte, end int) {
	switch {
	case l.skipped > 0:
		l.state = inSkipped
	case l.use == asName:
		l.state = beforeColon
		l.at = l.stack[l.depth-1].at.member(word)
		if l.names != nil && l.depth == 1 {
			l.names(word, l.name, end)
		}
	default:
		l.after(end)
		switch {
		case l.use == asValue:
			l.quoted = true
			l.owner.value(l.at, word, l.start, end)
		case l.at != nil && l.at.role == inWhole:
			l.quoted = true
			l.owner.value(l.at, nil, l.start, end)
		}
	}
}
