package llm

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrForm is returned when a response can't be said in the other form without loss.
var ErrForm = errors.New("llm: no other form")

// ToJSON is what a whole stream says, as JSON. Usage is in it if the stream has it. It
// fails with [ErrForm].
func ToJSON(a API, body []byte) ([]byte, error) {
	switch {
	case a == Messages:
		return messagesToJSON(body)
	case a.Converts():
		return openAIToJSON(a, body)
	}
	return nil, ErrForm
}

// ToStream is what a JSON response says, as a stream. Usage says whether an OpenAI stream
// ends with what was counted. It fails with [ErrForm].
func ToStream(a API, body []byte, usage bool) ([]byte, error) {
	switch {
	case a == Messages:
		return messagesToStream(body)
	case a.Converts():
		return openAIToStream(a, body, usage)
	}
	return nil, ErrForm
}

// maxHeld bounds the part of an event that is kept until the rest of it comes.
const maxHeld = 1 << 20

// Unusaged passes an OpenAI stream on for a client that did not ask for usage, without what
// [StripUsage] takes out. Its zero value stands at the beginning.
type Unusaged struct {
	stripper

	held  []byte
	begun bool
	loose bool // gave up: an event was too long
}

// Add takes the next bytes and returns those that may go on. They are good until the
// next call.
func (u *Unusaged) Add(p []byte) []byte {
	if u.loose {
		return p
	}
	u.held = append(u.held, p...)
	e := Events{rest: u.held, begun: u.begun}
	out := make([]byte, 0, len(u.held))
	for {
		ev, ok := e.Next()
		if !ok {
			break
		}
		out, _ = u.strip(out, ev.Raw)
	}
	u.begun = e.begun
	u.held = append(u.held[:0], e.rest...)
	if len(u.held) > maxHeld {
		out, u.loose = append(out, u.held...), true
		u.held = nil
	}
	return out
}

// End returns what is left, when nothing more will come.
func (u *Unusaged) End() []byte { return u.held }

// WithoutUsage is a whole stream without what [StripUsage] takes out. It is the same slice
// if there is nothing of it.
func WithoutUsage(stream []byte) []byte {
	if !bytes.Contains(stream, []byte(`"usage"`)) {
		return stream
	}
	e := NewEvents(stream)
	var s stripper
	out, stripped := make([]byte, 0, len(stream)), false
	for end := 0; ; {
		ev, ok := e.Next()
		at := len(stream) - len(e.Rest())
		switch {
		case !ok && !stripped:
			return stream
		case !ok:
			return append(out, stream[end:]...)
		}
		var less bool
		out, less = s.strip(append(out, stream[end:at-len(ev.Raw)]...), ev.Raw)
		stripped = stripped || less
		end = at
	}
}

// isAbsent: not there, or null.
func isAbsent(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }
