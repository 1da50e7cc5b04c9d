package answer

import (
	"bytes"
	"slices"
)

// Event is one server-sent event.
type Event struct {
	// Name is its type, "" for the default.
	Name string
	// Data are its lines of data, joined.
	Data []byte
	// Raw is all of it as it was sent, with the blank line.
	Raw []byte
}

// Events reads the whole events at the beginning of a stream, one after another
// (WHATWG HTML §9.2). What comes without data, such as a comment, is one too.
type Events struct {
	rest  []byte
	begun bool
	final bool // nothing will follow
}

// NewEvents reads a stream that has ended.
func NewEvents(stream []byte) *Events { return &Events{rest: stream, final: true} }

// Rest is what was not read: the part of an event.
func (e *Events) Rest() []byte { return e.rest }

// Next returns the next event. An unfinished one is none.
func (e *Events) Next() (ev Event, ok bool) {
	all, data, lines := e.rest, []byte(nil), 0
	for rest := all; ; {
		line, after, ok := e.line(rest)
		if !ok {
			return Event{}, false
		}
		if !e.begun {
			e.begun = true
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if rest = after; len(line) == 0 {
			e.rest = rest
			ev.Data, ev.Raw = data, all[:len(all)-len(rest)]
			return ev, true
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			ev.Name = string(value)
		case "data":
			if lines++; lines == 1 {
				data = slices.Clip(value)
			} else {
				data = append(append(data, '\n'), value...)
			}
		}
	}
}

// line cuts the first line off. A CR at the end of what there is may be half of a line
// end.
func (e *Events) line(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexAny(b, "\r\n")
	switch {
	case i < 0:
		return nil, nil, false
	case b[i] == '\n':
		return b[:i], b[i+1:], true
	case i+1 < len(b) && b[i+1] == '\n':
		return b[:i], b[i+2:], true
	case i+1 == len(b) && !e.final:
		return nil, nil, false
	}
	return b[:i], b[i+1:], true
}
