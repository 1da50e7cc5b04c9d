package llm

import "slices"

// Message is one server-sent event of a stream that is held as a whole.
type Message struct {
	// Name is its type, "" for the default.
	Name string
	// Data are its lines of data, joined.
	Data []byte
	// Raw is all of it as it was sent, with the blank line.
	Raw []byte
}

// Events reads the whole events at the beginning of a stream, one after another, with a
// [Splitter]. What comes without data, such as a comment, is one too.
type Events struct {
	rest  []byte
	begun bool
	final bool // nothing will follow
}

// NewEvents reads a stream that has ended.
func NewEvents(stream []byte) *Events { return &Events{rest: stream, final: true} }

// Rest is what was not read: the part of an event.
func (e *Events) Rest() []byte { return e.rest }

// Next returns the next event. An unfinished one is none. A CR at the end of what there is
// may be half of a line end.
func (e *Events) Next() (m Message, ok bool) {
	c := collector{}
	s := Splitter{Sink: &c, begun: e.begun}
	n := s.Write(e.rest)
	if !c.ended || !e.final && n == len(e.rest) && e.rest[n-1] == '\r' {
		return Message{}, false
	}
	m = Message{Name: string(c.name), Data: c.data, Raw: e.rest[:n]}
	e.rest, e.begun = e.rest[n:], true
	return m, true
}

// collector keeps the fields of one event.
type collector struct {
	name, data []byte
	lines      int
	ended      bool
}

// Piece implements [Sink].
func (c *collector) Piece(f Field, p []byte) {
	switch {
	case f == EventName && p == nil:
		c.name = nil
	case f == EventName:
		c.name = append(c.name, p...)
	case f != Data:
	case p == nil:
		if c.lines++; c.lines > 1 {
			c.data = append(c.data, '\n')
		}
	case c.data == nil:
		c.data = slices.Clip(p)
	default:
		c.data = append(c.data, p...)
	}
}

// LineEnd implements [Sink].
func (c *collector) LineEnd(Field) {}

// EventEnd implements [Sink].
func (c *collector) EventEnd() (stop bool) {
	c.ended = true
	return true
}
