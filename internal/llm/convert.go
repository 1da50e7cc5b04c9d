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

// Unusaged passes an OpenAI stream on without the event that has the usage, for a client
// that did not ask for it. Its zero value stands at the beginning.
type Unusaged struct {
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
		if !hasUsageOnly(ev.Data) {
			out = append(out, ev.Raw...)
		}
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

// WithoutUsage is a whole stream without the event that has the usage. It is the same
// slice if there is none.
func WithoutUsage(stream []byte) []byte {
	if !bytes.Contains(stream, []byte(`"usage"`)) {
		return stream
	}
	e := NewEvents(stream)
	var out []byte
	for from := 0; ; {
		ev, ok := e.Next()
		at := len(stream) - len(e.Rest())
		switch {
		case !ok && out == nil:
			return stream
		case !ok:
			return append(out, stream[from:]...)
		case hasUsageOnly(ev.Data):
			out = append(out, stream[from:at-len(ev.Raw)]...)
			from = at
			if out == nil {
				out = []byte{}
			}
		}
	}
}

// hasUsageOnly reports whether an event is the one that comes only if it was asked for:
// usage, and no choice.
func hasUsageOnly(data []byte) bool {
	if !bytes.Contains(data, []byte(`"usage"`)) {
		return false
	}
	var c struct {
		Choices *[]json.RawMessage `json:"choices"`
		Usage   json.RawMessage    `json:"usage"`
	}
	return json.Unmarshal(data, &c) == nil && c.Choices != nil && len(*c.Choices) == 0 && !isAbsent(c.Usage)
}

// isAbsent: not there, or null.
func isAbsent(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }
