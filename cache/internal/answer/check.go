package answer

import (
	"encoding/json"
	"errors"
)

// summary is what matters of an answer for keeping it.
type summary struct {
	calls bool
}

// choice is one of several answers, whole or in parts.
type choice struct {
	Index        int     `json:"index"`
	FinishReason *string `json:"finish_reason"`
	Message      *reply  `json:"message"`
	Delta        *reply  `json:"delta"`
}

type reply struct {
	Refusal      *string         `json:"refusal"`
	ToolCalls    json.RawMessage `json:"tool_calls"`
	FunctionCall json.RawMessage `json:"function_call"`
}

// whole is an answer in JSON, of any API, or the data of an event.
type whole struct {
	Type       string            `json:"type"`
	Error      json.RawMessage   `json:"error"`
	Choices    []choice          `json:"choices"`
	Data       []json.RawMessage `json:"data"`
	Status     string            `json:"status"`
	Output     []item            `json:"output"`
	StopReason *string           `json:"stop_reason"`
	Content    []block           `json:"content"`

	Response     *whole `json:"response"`      // of responses
	ContentBlock *block `json:"content_block"` // of messages
}

// item is a part of the output of the responses API.
type item struct {
	Type    string  `json:"type"`
	Content []block `json:"content"`
}

// block is a part of a message.
type block struct {
	Type string `json:"type"`
}

// json looks at an answer in JSON.
func (s *summary) json(a API, body []byte) error {
	if a == Other {
		return other(body)
	}
	var w whole
	if err := json.Unmarshal(body, &w); err != nil {
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			return ErrIncomplete
		}
		return ErrUnreadable
	}
	if !isNull(w.Error) || w.Type == "error" {
		return ErrFailed
	}
	switch a {
	case Chat, Completion:
		return s.choices(w.Choices)
	case Embedding:
		if len(w.Data) == 0 {
			return ErrIncomplete
		}
	case Responses:
		return s.response(&w)
	case Messages:
		return s.message(&w)
	case Other:
	}
	return nil
}

// other looks at JSON of which nothing else is known.
func other(body []byte) error {
	var w struct {
		Error json.RawMessage `json:"error"`
	}
	switch err := json.Unmarshal(body, &w); {
	case !json.Valid(body):
		return ErrIncomplete
	case err == nil && !isNull(w.Error):
		return ErrFailed
	}
	return nil
}

// choices looks at all choices of a whole answer.
func (s *summary) choices(all []choice) error {
	if len(all) == 0 {
		return ErrIncomplete
	}
	for i := range all {
		if err := s.reply(all[i].Message); err != nil {
			return err
		}
		if err := s.stopped(all[i].FinishReason); err != nil {
			return err
		}
	}
	return nil
}

func (s *summary) reply(r *reply) error {
	if r == nil {
		return nil
	}
	if r.Refusal != nil && *r.Refusal != "" {
		return ErrFiltered
	}
	if !isNull(r.FunctionCall) || !isNull(r.ToolCalls) && string(r.ToolCalls) != "[]" {
		s.calls = true
	}
	return nil
}

// stopped looks at why the model stopped. Only what is known to be an end is one:
// servers also say "abort".
func (s *summary) stopped(reason *string) error {
	if reason == nil {
		return ErrIncomplete
	}
	switch *reason {
	case "stop", "length", "eos", "eos_token", "stop_sequence", "end_turn", "max_tokens":
		return nil
	case "tool_calls", "function_call", "tool_use":
		s.calls = true
		return nil
	case "content_filter", "refusal", "safety":
		return ErrFiltered
	}
	return ErrIncomplete
}

// block looks at the type of a part of a message. What a server's own tool found is
// true for a moment only.
func (s *summary) block(b block) error {
	switch b.Type {
	case "text", "thinking", "redacted_thinking", "output_text", "reasoning_text", "summary_text":
		return nil
	case "refusal":
		return ErrFiltered
	case "tool_use":
		s.calls = true
		return nil
	}
	return ErrToolCalls
}

// message looks at a message of Anthropic's.
func (s *summary) message(w *whole) error {
	if w.Type != "message" {
		return ErrUnreadable
	}
	for _, b := range w.Content {
		if err := s.block(b); err != nil {
			return err
		}
	}
	return s.stopped(w.StopReason)
}

// response looks at an answer of the responses API.
func (s *summary) response(w *whole) error {
	if w == nil || w.Status != "completed" {
		return ErrIncomplete
	}
	for _, it := range w.Output {
		switch it.Type {
		case "message", "reasoning":
			for _, b := range it.Content {
				if err := s.block(b); err != nil {
					return err
				}
			}
		case "function_call", "custom_tool_call":
			s.calls = true
		default:
			return ErrToolCalls
		}
	}
	return nil
}

// stream looks at a whole stream.
func (s *summary) stream(a API, body []byte) error {
	e := NewEvents(body)
	r := streamReader{summary: s, api: a, open: map[int]bool{}}
	for {
		ev, ok := e.Next()
		if !ok {
			break
		}
		if err := r.event(ev); err != nil {
			return err
		}
	}
	if !r.ended || len(e.Rest()) > 0 {
		return ErrIncomplete
	}
	return nil
}

// streamReader looks at one event after another.
type streamReader struct {
	*summary
	api   API
	open  map[int]bool // choices; true: without an end yet
	ended bool         // the terminal event has passed
	stop  *string      // of messages
}

func (r *streamReader) event(ev Event) error {
	switch {
	case ev.Name == "error":
		return ErrFailed
	case len(ev.Data) == 0:
		return nil
	case r.ended: // more after the end
		return ErrUnreadable
	case string(ev.Data) == "[DONE]":
		return r.done()
	}
	var w struct {
		whole
		Delta struct {
			StopReason *string `json:"stop_reason"`
		} `json:"delta"`
	}
	if err := json.Unmarshal(ev.Data, &w); err != nil {
		return r.unreadable(ev.Data)
	}
	if !isNull(w.Error) || w.Type == "error" {
		return ErrFailed
	}
	switch r.api {
	case Chat, Completion:
		return r.chunk(w.Choices)
	case Responses:
		return r.ofResponses(&w.whole)
	case Messages:
		if w.Delta.StopReason != nil {
			r.stop = w.Delta.StopReason
		}
		return r.ofMessages(&w.whole)
	case Other, Embedding:
	}
	return ErrUnreadable
}

// unreadable forgives the events of the responses API whose delta is a text.
func (r *streamReader) unreadable(data []byte) error {
	var w struct {
		Type string `json:"type"`
	}
	if r.api == Responses && json.Unmarshal(data, &w) == nil && w.Type != "response.completed" {
		return nil
	}
	return ErrUnreadable
}

// done is the end of an OpenAI stream: each choice must have one.
func (r *streamReader) done() error {
	if len(r.open) == 0 {
		return ErrIncomplete
	}
	for _, open := range r.open {
		if open {
			return ErrIncomplete
		}
	}
	r.ended = true
	return nil
}

func (r *streamReader) chunk(all []choice) error {
	for i := range all {
		c := &all[i]
		if err := r.reply(c.Delta); err != nil {
			return err
		}
		if c.FinishReason == nil {
			if _, known := r.open[c.Index]; !known {
				r.open[c.Index] = true
			}
			continue
		}
		if err := r.stopped(c.FinishReason); err != nil {
			return err
		}
		r.open[c.Index] = false
	}
	return nil
}

func (r *streamReader) ofResponses(w *whole) error {
	switch w.Type {
	case "response.completed":
		r.ended = true
		return r.response(w.Response)
	case "response.failed":
		return ErrFailed
	case "response.incomplete":
		return ErrIncomplete
	}
	return nil
}

func (r *streamReader) ofMessages(w *whole) error {
	switch w.Type {
	case "content_block_start":
		if w.ContentBlock == nil {
			return ErrUnreadable
		}
		return r.block(*w.ContentBlock)
	case "message_stop":
		r.ended = true
		return r.stopped(r.stop)
	}
	return nil
}

// Ended reports whether an answer came to its end and is no error, whatever it says. Of a
// stream that means that its terminal event has passed.
func Ended(a API, stream bool, body []byte) bool {
	if !stream {
		return len(body) == 0 || other(body) == nil
	}
	e, ended := NewEvents(body), false
	for {
		ev, ok := e.Next()
		if !ok {
			return ended && len(e.Rest()) == 0
		}
		if len(ev.Data) == 0 {
			continue
		}
		var w struct {
			Type  string          `json:"type"`
			Error json.RawMessage `json:"error"`
		}
		_ = json.Unmarshal(ev.Data, &w) // what it is not, it does not say
		if ev.Name == "error" || w.Type == "error" || !isNull(w.Error) {
			return false
		}
		switch a {
		case Responses:
			ended = w.Type == "response.completed"
		case Messages:
			ended = w.Type == "message_stop"
		case Chat, Completion, Embedding, Other:
			ended = string(ev.Data) == "[DONE]"
		}
	}
}
