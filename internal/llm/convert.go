package llm

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrForm is returned when a response can't be converted without loss.
var ErrForm = errors.New("llm: no other form")

// ToJSON converts a whole stream to JSON, with usage if the stream has it. It fails with
// [ErrForm].
func ToJSON(a API, body []byte) ([]byte, error) {
	switch {
	case a == Messages:
		return messagesToJSON(body)
	case a.Converts():
		return openAIToJSON(a, body)
	}
	return nil, ErrForm
}

// ToStream converts a JSON response to a stream. Usage decides whether an OpenAI stream
// ends with usage. It fails with [ErrForm].
func ToStream(a API, body []byte, usage bool) ([]byte, error) {
	switch {
	case a == Messages:
		return messagesToStream(body)
	case a.Converts():
		return openAIToStream(a, body, usage)
	}
	return nil, ErrForm
}

// maxHeld bounds the partial event that is buffered.
const maxHeld = 1 << 20

// Unusaged filters an OpenAI stream for a client that did not request usage, by
// [StripUsage]. The zero value is ready to use.
type Unusaged struct {
	stripper

	held  []byte
	begun bool
	loose bool // passes everything: an event was too long
}

// Add takes the next bytes and returns those to send, which are valid until the next call.
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

// End returns the buffered rest at the end of the stream.
func (u *Unusaged) End() []byte { return u.held }

// WithoutUsage filters a whole stream by [StripUsage]. It returns the same slice if nothing
// is removed.
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

// isAbsent reports whether a member is missing or null.
func isAbsent(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }
