// Package sse knows where one server-sent event ends and the next begins.
package sse

import "bytes"

// Boundary follows the bytes of an event stream, cut anywhere, and knows
// whether something may be put in between: a comment, or an error event. The
// zero value stands at the beginning of a stream. Line ends are LF, CR or CRLF
// (WHATWG HTML §9.2.5).
type Boundary struct {
	inLine bool // bytes since the last line end
	fields bool // a field line since the last blank line
	skipLF bool // the last byte was CR: an LF belongs to it
}

// Write takes the next bytes of the stream.
func (b *Boundary) Write(p []byte) {
	if bytes.HasSuffix(p, []byte("\n\n")) { // a blank line, whatever came before
		*b = Boundary{}
		return
	}
	for _, c := range p {
		switch {
		case c == '\n' && b.skipLF:
			b.skipLF = false
		case c == '\n' || c == '\r':
			if !b.inLine {
				b.fields = false // blank line: dispatched
			}
			b.inLine, b.skipLF = false, c == '\r'
		default:
			if !b.inLine && c != ':' { // a comment is no part of an event
				b.fields = true
			}
			b.inLine, b.skipLF = true, false
		}
	}
}

// At reports whether the stream stands between two events.
func (b *Boundary) At() bool { return !b.inLine && !b.fields }
