package hold

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/ginfer/ginfer/internal/usage"
)

// opening waits for the first event with content. What a model says before that is
// known: the role, the beginning of a message, a ping. An event of another kind is
// content, as is an error that is the request's own fault.
type opening struct {
	scanner usage.Scanner
	line    int    // where the line that is not complete begins
	data    []byte // of the event that is not complete
	said    bool   // an event of a model came
	foreign bool   // one that is none came
	fault   bool   // an error came that another try would meet too
	err     bool   // another error
}

func newOpening(h http.Header) *opening {
	o := new(opening)
	o.scanner.Reset(h)
	return o
}

func (o *opening) saw(all, p []byte) verdict {
	_, _ = o.scanner.Write(p) // never fails
	o.lines(all)
	switch {
	case o.fault, o.foreign, o.scanner.Events() > 0:
		return begun
	case o.err, o.scanner.Failed():
		return failed
	case o.said && o.scanner.Ended(): // it has nothing to say
		return begun
	}
	return more
}

func (o *opening) ended() error { return fmt.Errorf("%w: it is empty", ErrNoContent) }

// lines takes the lines that are complete.
func (o *opening) lines(all []byte) {
	for {
		n := bytes.IndexByte(all[o.line:], '\n')
		if n < 0 {
			return
		}
		line := bytes.TrimSuffix(all[o.line:o.line+n], []byte("\r"))
		o.line += n + 1
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			o.data = append(o.data, bytes.TrimPrefix(data, []byte(" "))...)
		}
		if len(line) == 0 && len(o.data) > 0 {
			o.event(o.data)
			o.data = o.data[:0]
		}
	}
}

// message is what can be seen of an event of a model.
type message struct {
	Type    string          `json:"type"`
	Object  string          `json:"object"`
	Choices json.RawMessage `json:"choices"`
	Error   json.RawMessage `json:"error"`
	Code    any             `json:"code"`
}

func (o *opening) event(data []byte) {
	if string(data) == "[DONE]" {
		return
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		o.foreign = true
		return
	}
	switch {
	case m.Type == "error" || m.Object == "error" || len(m.Error) > 0 && string(m.Error) != "null":
		o.fault = m.isFault()
		o.err = !o.fault
	case m.Choices != nil, m.Type == "ping", m.Type == "message_start", strings.HasPrefix(m.Type, "content_block_"), strings.HasPrefix(m.Type, "response."):
		o.said = true
	default:
		o.foreign = true
	}
}

// isFault reports whether an error is the request's: anybody else would say the same.
// Servers give a status as code, or a name.
func (m *message) isFault() bool {
	var inner struct {
		Type string `json:"type"`
		Code any    `json:"code"`
	}
	_ = json.Unmarshal(m.Error, &inner) // a string says nothing of its kind
	for _, code := range [...]any{m.Code, inner.Code} {
		if status, ok := code.(float64); ok {
			return status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
		}
	}
	return slices.Contains([]string{
		"invalid_request_error", "authentication_error", "permission_error", "not_found_error", "request_too_large", "BadRequestError", "NotFoundError",
	}, inner.Type)
}
