package llm

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// owner receives the values of a JSON text.
type owner interface {
	// text is called with a piece of a decoded string, or the digits of a number, at n or
	// anywhere within it.
	text(n *node, p []byte)
	// value is called with a whole value, if its role needs one. It is valid until value
	// returns, and nil if it is too long. It spans [start, end) of the bytes written since
	// reset.
	value(n *node, v []byte, start, end int)
	// closed is called at the end of the object or array at n.
	closed(n *node, empty bool, start, end int)
}

// mark is the byte order mark.
const mark = "\ufeff"

// lexer reads one JSON object or array that arrives in pieces. It is exact for every valid
// text (RFC 8259); it does not find every error of an invalid one.
type lexer struct {
	owner owner
	root  *node
	// names is called with each name of the root object and its span with quotes, values
	// with the span of each value of the root. Both may be nil.
	names  func(name []byte, start, end int)
	values func(start, end int)
	// elements is called before each element of an array. It may be nil.
	elements func()

	only   byte // '{' or '[': the required root; 0 for either
	first  byte // of the text
	list   bool // the root is an array
	quoted bool // the reported value is a string

	state   state
	stack   [16]frame // deeper levels are skipped
	depth   int
	skipped int   // open objects and arrays that are skipped
	at      *node // of the next value, or of the skipped one

	pos   int  // bytes read since reset
	start int  // start of the current value
	name  int  // start of the current name
	outer int  // start of the current value of the root
	bare  bool // the skipped object or array is empty so far

	use    use  // of the current string
	word   word // the current name or value
	escape int  // escapeNone, escapeBegun, or the number of missing hex digits
	char   rune // the digits so far

	decoded [utf8.UTFMax]byte // the character of an escape
}

type frame struct {
	at    *node
	start int
	list  bool
	full  bool // it has a member or an element
}

type state uint8

const (
	beforeRoot = iota
	beforeName
	beforeColon
	beforeValue
	afterValue
	inString
	inScalar
	inSkipped
	complete
	broken
)

// reset prepares the lexer for the next text.
func (l *lexer) reset() {
	l.state, l.depth, l.skipped, l.pos, l.first = beforeRoot, 0, 0, 0, 0
}

// write reads the next piece up to the end of the text and returns what follows.
func (l *lexer) write(p []byte) []byte {
	for len(p) > 0 && l.state != complete && l.state != broken {
		rest := l.step(p)
		if len(rest) > 0 && l.state == afterValue && rest[0] == ',' { // the common case
			l.expect()
			rest = rest[1:]
		}
		l.pos += len(p) - len(rest)
		p = rest
	}
	return p
}

// after ends a value with its last byte before end.
func (l *lexer) after(end int) {
	l.state = afterValue
	if l.values != nil && l.depth == 1 {
		l.values(l.outer, end)
	}
}

func (l *lexer) step(p []byte) []byte {
	switch l.state {
	case inString:
		return l.str(p)
	case inScalar:
		return l.scalar(p)
	case inSkipped:
		return l.skip(p)
	default:
		return l.mark(p)
	}
}

// mark reads a byte that starts, separates or ends values.
func (l *lexer) mark(p []byte) []byte {
	c := p[0]
	switch {
	case c <= ' ' && (c == ' ' || c == '\n' || c == '\t' || c == '\r'):
	case l.state == beforeValue:
		return l.begin(p)
	case c == '"' && l.state == beforeName:
		l.name = l.pos
		p = l.quick(p[1:], asName)
		if len(p) > 0 && l.state == beforeColon && p[0] == ':' { // always, in practice
			l.state = beforeValue
			p = p[1:]
		}
		return p
	case c == ':' && l.state == beforeColon:
		l.state = beforeValue
	case c == ',' && l.state == afterValue:
		l.expect()
	case c == '}' && (l.state == afterValue || l.state == beforeName && !l.stack[l.depth-1].full), c == ']' && l.state == afterValue:
		l.close(c == ']')
	case l.state == beforeRoot:
		l.beginRoot(c)
	default:
		l.state = broken
	}
	return p[1:]
}

// beginRoot reads the first byte of the text.
func (l *lexer) beginRoot(c byte) {
	switch {
	case (c == '{' || c == '[') && (l.only == 0 || l.only == c):
		l.at, l.start, l.first, l.list = l.root, l.pos, c, c == '['
		l.enter(l.list)
	case l.pos < len(mark) && c == mark[l.pos]:
	default:
		l.first, l.state = c, broken
	}
}

// begin reads the first byte of a value that is not a scalar.
func (l *lexer) begin(p []byte) []byte {
	l.start = l.pos
	if l.depth == 1 {
		l.outer = l.pos
	}
	if p[0] != ']' {
		l.stack[l.depth-1].full = true
	}
	switch c := p[0]; c {
	case '"':
		if l.wants() {
			return l.quick(p[1:], asValue)
		}
		return l.quick(p[1:], asText)
	case '{', '[':
		l.open(c == '[')
	case ']': // of an empty array
		if l.stack[l.depth-1].full {
			l.state = broken
			return p[1:]
		}
		l.close(true)
	default:
		if !beginsScalar(c) {
			l.state = broken
			break
		}
		l.word.n = 0
		l.state = inScalar
		return p
	}
	return p[1:]
}

// beginsScalar reports whether c starts a scalar, including Python's NaN and Infinity.
func beginsScalar(c byte) bool { return strings.IndexByte("-0123456789tfnNI", c) >= 0 }

// wants reports whether a string or a scalar at l.at is reported as a value, not as text.
func (l *lexer) wants() bool { return l.at != nil && l.at.role > values }

// open enters the object or array at l.at.
func (l *lexer) open(list bool) {
	if !l.at.inner() || l.depth == len(l.stack) {
		l.skipped, l.state, l.bare = 1, inSkipped, true
		return
	}
	l.enter(list)
}

func (l *lexer) enter(list bool) {
	l.stack[l.depth] = frame{at: l.at, start: l.start, list: list}
	l.depth++
	l.expect()
}

// expect sets the state for the next element or name.
func (l *lexer) expect() {
	top := &l.stack[l.depth-1]
	if top.list {
		l.at, l.state = top.at.element, beforeValue
		if l.elements != nil {
			l.elements()
		}
	} else {
		l.state = beforeName
	}
}

func (l *lexer) close(list bool) {
	if l.depth == 0 || l.stack[l.depth-1].list != list {
		l.state = broken
		return
	}
	l.depth--
	top := &l.stack[l.depth]
	if l.depth == 0 {
		l.state = complete
	} else {
		l.after(l.pos + 1)
	}
	if top.at != nil {
		l.owner.closed(top.at, !top.full, top.start, l.pos+1)
	}
}

// skip reads the content of a skipped object or array.
func (l *lexer) skip(p []byte) []byte {
	n := 0
	for n < len(p) && !skipEnds[p[n]] {
		n++
	}
	if n > 0 {
		l.scalars(p[:n])
	}
	if n == len(p) {
		return nil
	}
	switch p[n] {
	case '"':
		l.bare = false
		return l.quick(p[n+1:], asText)
	case '{', '[':
		l.bare = false
		l.skipped++
	case '}', ']':
		if l.skipped--; l.skipped == 0 {
			l.after(l.pos + n + 1)
			if l.at != nil {
				l.owner.closed(l.at, l.bare, l.start, l.pos+n+1)
			}
		}
	}
	return p[n+1:]
}

//nolint:gochecknoglobals // a constant
var skipEnds = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true}

// scalar reads a number, true, false or null.
func (l *lexer) scalar(p []byte) []byte {
	n := 0
	for n < len(p) && !scalarEnds[p[n]] {
		n++
	}
	if l.wants() {
		l.word.add(p[:n])
	} else {
		l.digits(p[:n])
	}
	if n == len(p) {
		return nil
	}
	l.after(l.pos + n)
	if l.wants() && l.state == afterValue {
		l.quoted = false
		l.owner.value(l.at, l.word.bytes(), l.start, l.pos+n)
	}
	return p[n:]
}

//nolint:gochecknoglobals // a constant
var scalarEnds = [256]bool{',': true, '}': true, ']': true, ' ': true, '\n': true, '\t': true, '\r': true}

// scalars reads the bytes between strings, objects and arrays that are skipped.
func (l *lexer) scalars(p []byte) {
	l.bare = l.bare && len(bytes.TrimLeft(p, " \t\r\n")) == 0
	l.digits(p)
}

// digits reports numbers as text: a prompt may be a list of tokens.
func (l *lexer) digits(p []byte) {
	if l.at == nil || l.at.role == ignored || len(p) == 0 {
		return
	}
	n := 0
	for i, c := range p {
		if c >= '0' && c <= '9' {
			n++
			continue
		}
		l.text(p[i-n : i])
		n = 0
	}
	l.text(p[len(p)-n:])
}

func (l *lexer) text(p []byte) {
	if len(p) > 0 && l.at != nil && l.at.role != ignored {
		l.owner.text(l.at, p)
	}
}
