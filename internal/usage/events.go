package usage

import "bytes"

// events splits a stream of server-sent events into fields by the rules of the
// WHATWG standard, but as it comes: it keeps no line.
type events struct {
	scanner *Scanner

	field  field
	word   word // the name of the field, then the value of an event field
	space  bool // a space that comes now is none of the value
	skipLF bool // the last byte was CR: an LF belongs to it
	begun  bool // past the first line
	lines  int  // of data in this event
}

type field uint8

const (
	unnamed field = iota // its name is being read
	dataField
	eventField
	otherField // or a comment
)

// write takes the next piece. It is cut at LF first and then at CR, so that it
// is looked through once for each.
func (e *events) write(p []byte) {
	for {
		lf := bytes.IndexByte(p, '\n')
		if lf < 0 {
			e.untilCR(p)
			return
		}
		e.untilCR(p[:lf])
		if !e.skipLF {
			e.endLine()
		}
		e.skipLF = false
		p = p[lf+1:]
	}
}

// untilCR takes a piece without LF.
func (e *events) untilCR(p []byte) {
	for len(p) > 0 {
		cr := bytes.IndexByte(p, '\r')
		if cr < 0 {
			e.skipLF = false
			e.line(p)
			return
		}
		e.line(p[:cr])
		e.endLine()
		e.skipLF = true
		p = p[cr+1:]
	}
}

// line takes a piece of a line.
func (e *events) line(p []byte) {
	if e.field == unnamed {
		colon := bytes.IndexByte(p, ':')
		if colon < 0 {
			e.word.add(p)
			return
		}
		e.word.add(p[:colon])
		e.name()
		p = p[colon+1:]
	}
	if e.space && len(p) > 0 {
		e.space = false
		p = bytes.TrimPrefix(p, []byte(" "))
	}
	switch e.field {
	case dataField:
		e.scanner.data(p)
	case eventField:
		e.word.add(p)
	case unnamed, otherField:
	}
}

// name ends the name of a field.
func (e *events) name() {
	e.field, e.space = otherField, true
	switch string(e.text()) {
	case "data":
		e.field = dataField
		if e.lines++; e.lines > 1 {
			e.scanner.data([]byte("\n"))
		}
	case "event":
		e.field = eventField
	}
	e.word.n = 0
}

// text is what was read of the line, without byte order mark.
func (e *events) text() []byte {
	if e.begun {
		return e.word.bytes()
	}
	return bytes.TrimPrefix(e.word.bytes(), []byte("\ufeff"))
}

func (e *events) endLine() {
	switch {
	case e.field == unnamed && e.word.n == 0:
		e.lines = 0
		e.scanner.endEvent()
	case e.field == eventField && string(e.word.bytes()) == "error":
		e.scanner.failed = true
	}
	e.field, e.word.n, e.begun = unnamed, 0, true
}
