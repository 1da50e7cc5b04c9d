package usage

import "bytes"

// owner is told what stands where in a JSON text.
type owner interface {
	// text: so many bytes of text passed, of a string or the digits of a number,
	// at p or anywhere within it.
	text(p place, size int)
	// value: a whole value passed where p wants one. It is valid until value
	// returns, and nil if it is too long to be anything known.
	value(p place, v []byte)
	// closed: the object or array at p is complete.
	closed(p place)
}

// lexer reads one JSON object that comes in pieces. It is exact for every valid
// text (RFC 8259); it does not find every fault of an invalid one.
type lexer struct {
	owner owner
	root  place

	state   state
	stack   [16]frame // no more are looked into
	depth   int
	skipped int   // objects and arrays open that are not looked into
	at      place // of the value that comes, or that is skipped

	use    use  // of the string that is being read
	word   word // the name or value that is being read
	escape int  // escapeNone, escapeBegun, or how many hex digits are missing
	char   rune // the digits so far
}

type frame struct {
	at   place
	list bool
}

type state uint8

const (
	beforeRoot state = iota
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

// reset makes ready for the next text.
func (l *lexer) reset() {
	l.state, l.depth, l.skipped = beforeRoot, 0, 0
}

// write takes the next piece.
func (l *lexer) write(p []byte) {
	for len(p) > 0 {
		switch l.state {
		case inString:
			p = l.str(p)
		case inScalar:
			p = l.scalar(p)
		case inSkipped:
			p = l.skip(p)
		case beforeRoot, beforeName, beforeColon, beforeValue, afterValue:
			p = l.mark(p)
		case complete, broken:
			return
		}
	}
}

// mark takes the byte that begins, parts or ends values.
func (l *lexer) mark(p []byte) []byte {
	c := p[0]
	switch {
	case c == ' ' || c == '\n' || c == '\t' || c == '\r':
	case l.state == beforeValue:
		return l.begin(p)
	case c == '"' && l.state == beforeName:
		l.quote(asName)
	case c == ':' && l.state == beforeColon:
		l.state = beforeValue
	case c == ',' && l.state == afterValue:
		l.expect()
	case c == '}' && l.state != beforeColon, c == ']' && l.state == afterValue:
		l.close(c == ']')
	case c == '{' && l.state == beforeRoot:
		l.at = l.root
		l.open(false)
	case l.state == beforeRoot && bytes.IndexByte([]byte("\ufeff"), c) >= 0: // byte order mark
	default:
		l.state = broken
	}
	return p[1:]
}

// begin takes the first byte of a value, but not that of a scalar.
func (l *lexer) begin(p []byte) []byte {
	switch c := p[0]; c {
	case '"':
		if l.at.wantsString() {
			l.quote(asValue)
		} else {
			l.quote(asText)
		}
	case '{', '[':
		l.open(c == '[')
	case ']': // of an empty array
		l.close(true)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 't', 'f', 'n':
		l.word.n = 0
		l.state = inScalar
		return p
	default:
		l.state = broken
	}
	return p[1:]
}

// open enters the object or array at l.at.
func (l *lexer) open(list bool) {
	if !l.at.tracked() || l.depth == len(l.stack) {
		l.skipped, l.state = 1, inSkipped
		return
	}
	l.stack[l.depth] = frame{l.at, list}
	l.depth++
	l.expect()
}

// expect the next element or name.
func (l *lexer) expect() {
	top := l.stack[l.depth-1]
	if top.list {
		l.at, l.state = top.at.element(), beforeValue
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
	l.state = afterValue
	if l.depth == 0 {
		l.state = complete
	}
	l.owner.closed(l.stack[l.depth].at)
}

// skip takes what is within an object or array that is not looked into.
func (l *lexer) skip(p []byte) []byte {
	n := 0
	for l.state == inSkipped && n < len(p) {
		switch p[n] {
		case '"':
			l.quote(asText)
		case '{', '[':
			l.skipped++
		case '}', ']':
			if l.skipped--; l.skipped == 0 {
				l.state = afterValue
			}
		}
		n++
	}
	l.digits(p[:n])
	return p[n:]
}

// scalar takes a number, true, false or null.
func (l *lexer) scalar(p []byte) []byte {
	n := 0
	for n < len(p) && !endsScalar(p[n]) {
		n++
	}
	if l.at.wantsScalar() {
		l.word.add(p[:n])
	} else {
		l.digits(p[:n])
	}
	if n == len(p) {
		return nil
	}
	l.state = afterValue
	if l.at.wantsScalar() {
		l.owner.value(l.at, l.word.bytes())
	}
	return p[n:]
}

func endsScalar(c byte) bool {
	return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n' || c == '\t' || c == '\r'
}

// digits takes those of numbers for text: a prompt may be a list of tokens.
func (l *lexer) digits(p []byte) {
	if l.at == nowhere {
		return
	}
	n := 0
	for _, c := range p {
		if c >= '0' && c <= '9' {
			n++
		}
	}
	l.text(n)
}

func (l *lexer) text(size int) {
	if size > 0 && l.at != nowhere {
		l.owner.text(l.at, size)
	}
}
