package llm

import "bytes"

// Field is the name of a line in a stream of server-sent events.
type Field uint8

// The fields.
const (
	unnamed Field = iota // its name is not complete yet

	// Comment is a line that begins with a colon.
	Comment
	Data
	EventName
	ID
	Retry
	// ErrorField is sent by old llama.cpp servers in place of data.
	ErrorField
	// OtherField is one that is not in the standard.
	OtherField
)

// Sink receives the fields that a [Splitter] finds.
type Sink interface {
	// Piece is called with a part of a field's value, at least once for each line.
	Piece(f Field, p []byte)
	// LineEnd is called at the end of a field's line.
	LineEnd(f Field)
	// EventEnd is called at a blank line. If it returns true, Write returns.
	EventEnd() (stop bool)
}

// Splitter splits a stream of server-sent events into fields by the rules of WHATWG HTML
// §9.2: one byte order mark is skipped, lines end with LF, CR or CRLF. It buffers no line,
// whatever its length. The zero value, without a Sink, only tracks where events end. It is
// not safe for concurrent use.
type Splitter struct {
	Sink Sink

	field  Field
	name   word
	inLine bool // bytes since the last line end
	open   bool // a field since the last blank line
	space  bool // a space that follows is not part of the value
	skipLF bool // the last byte was CR: an LF belongs to it
	begun  bool // past the first line
	length int  // of the line so far
}

// Reset prepares the splitter for another stream.
func (s *Splitter) Reset(sink Sink) { *s = Splitter{Sink: sink} }

// Between reports whether a comment or an event may be inserted here.
func (s *Splitter) Between() bool { return !s.inLine && !s.open }

// Line returns the length of the current line so far; at [Sink.LineEnd], of the one that
// ends.
func (s *Splitter) Line() int { return s.length }

// AtCR reports whether the last byte was a carriage return: a line feed may belong to it.
func (s *Splitter) AtCR() bool { return s.skipLF }

// Write reads the next bytes, up to the end of an event at which the sink stops, and
// returns how many it read.
func (s *Splitter) Write(p []byte) int {
	if s.Sink == nil {
		if bytes.HasSuffix(p, []byte("\n\n")) { // a blank line, whatever came before
			*s = Splitter{begun: true}
			return len(p)
		}
	}
	lf := -1 // the next one, from read on
	for read := 0; read < len(p); {
		if s.skipLF {
			s.skipLF = false
			if p[read] == '\n' {
				read++
				continue
			}
		}
		if lf < read {
			lf = find(p, '\n', read, len(p))
		}
		end := find(p, '\r', read, lf)
		s.line(p[read:end])
		if end == len(p) {
			return end
		}
		stop := s.endLine()
		if read = s.behind(p, end); stop {
			return read
		}
	}
	return len(p)
}

// behind returns the start of the next line, where the current one ends at end.
func (s *Splitter) behind(p []byte, end int) int {
	next := end + 1
	switch {
	case p[end] == '\n':
	case next == len(p):
		s.skipLF = true
	case p[next] == '\n':
		next++
	}
	return next
}

// find returns the index of c in p[from:to], or to if it is absent.
func find(p []byte, c byte, from, to int) int {
	if n := bytes.IndexByte(p[from:to], c); n >= 0 {
		return from + n
	}
	return to
}

// line reads a piece of a line.
func (s *Splitter) line(p []byte) {
	if len(p) == 0 {
		return
	}
	s.inLine = true
	s.length += len(p)
	if s.field == unnamed {
		colon := bytes.IndexByte(p, ':')
		if colon < 0 {
			s.name.add(p)
			return
		}
		s.name.add(p[:colon])
		s.named()
		p = p[colon+1:]
	}
	if s.space && len(p) > 0 {
		s.space = false
		p = bytes.TrimPrefix(p, []byte(" "))
	}
	if s.Sink != nil && len(p) > 0 {
		s.Sink.Piece(s.field, p)
	}
}

// named ends the name of a field.
func (s *Splitter) named() {
	s.field, s.space = fieldOf(s.text()), true
	s.open = s.open || s.field != Comment
	if s.Sink != nil {
		s.Sink.Piece(s.field, nil)
	}
}

func fieldOf(name []byte) Field {
	switch string(name) {
	case "":
		return Comment
	case "data":
		return Data
	case "event":
		return EventName
	case "id":
		return ID
	case "error":
		return ErrorField
	case "retry":
		return Retry
	default:
		return OtherField
	}
}

// text returns the name of the field, without byte order mark. A name that is too long is
// unknown.
func (s *Splitter) text() []byte {
	b := s.name.bytes()
	if b == nil {
		return []byte("?")
	}
	if !s.begun {
		b = bytes.TrimPrefix(b, []byte("\ufeff"))
	}
	return b
}

// endLine ends a line, and reports whether the sink stops at it.
func (s *Splitter) endLine() (stop bool) {
	blank := s.field == unnamed && len(s.text()) == 0
	if !blank && s.field == unnamed { // a name alone
		s.named()
	}
	field := s.field
	s.field, s.name.n, s.begun, s.inLine, s.space = unnamed, 0, true, false, false
	switch {
	case blank:
		s.open = false
		stop = s.Sink != nil && s.Sink.EventEnd()
	case s.Sink != nil:
		s.Sink.LineEnd(field)
	}
	s.length = 0
	return stop
}
