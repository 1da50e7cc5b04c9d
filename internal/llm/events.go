package llm

import "slices"

// Message is one server-sent event of a buffered stream.
type Message struct {
	// Name is the event type, "" for the default.
	Name string
	// Data is the joined data lines.
	Data []byte
	// Raw is the event as received, with the blank line.
	Raw []byte
}

// Events iterates over the complete events at the start of a stream, by a [Splitter]. A
// block without data, such as a comment, counts as an event.
type Events struct {
	rest  []byte
	begun bool
	final bool // nothing will follow
}

// NewEvents returns the Events of a stream that has ended.
func NewEvents(stream []byte) *Events { return &Events{rest: stream, final: true} }

// Rest returns the unread rest: a partial event.
func (e *Events) Rest() []byte { return e.rest }

// Next returns the next event, if it is complete. A CR at the end of a stream under way may
// be half of a line end.
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

// collector collects the fields of one event.
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
