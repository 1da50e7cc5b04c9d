package llm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// chunks writes the events of an OpenAI stream.
type chunks struct {
	api  API
	head members // members of every event
	out  bytes.Buffer
}

// always returns the members that every event repeats; others come once.
func always() []string {
	return []string{"id", "created", "model", "system_fingerprint", "service_tier"}
}

func openAIToStream(a API, body []byte, usage bool) ([]byte, error) {
	top, err := readMembers(body)
	if err != nil {
		return nil, err
	}
	all, err := top.list("choices")
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("%w: no choices", ErrForm)
	}
	c := chunks{api: a}
	var extra members // with the first event
	c.head, extra = splitTop(top)
	for i, one := range all {
		n, err := one.index()
		if err != nil {
			return nil, err
		}
		if i > 0 {
			extra = nil
		}
		if err := c.choice(n, one, extra); err != nil {
			return nil, err
		}
	}
	if usage && !isAbsent(top["usage"]) {
		c.event(list(), members{"usage": top["usage"]})
	}
	c.out.WriteString("data: [DONE]\n\n")
	return c.out.Bytes(), nil
}

// splitTop separates the members of every event from those that come once.
func splitTop(top members) (head, extra members) {
	head, extra = members{}, members{}
	for name, v := range top {
		switch {
		case slices.Contains(always(), name):
			head[name] = v
		case name != "choices" && name != "usage" && name != "object":
			extra[name] = v
		}
	}
	return head, extra
}

// event writes one event.
func (c *chunks) event(choices json.RawMessage, extra members) {
	object := "chat.completion.chunk"
	if c.api == Completions {
		object = "text_completion"
	}
	w := newObject().raw("id", c.head["id"]).text("object", object).all(c.head, "id")
	c.out.WriteString("data: ")
	_ = json.Compact(&c.out, w.raw("choices", choices).all(extra).end()) // valid, and now without line ends
	c.out.WriteString("\n\n")
}

// choice writes the events of one choice.
func (c *chunks) choice(n int, one, extra members) error {
	logprobs, reason := one["logprobs"], one["finish_reason"]
	rest := members{}
	rest.merge(one)
	for _, name := range []string{"index", "message", "text", "logprobs", "finish_reason"} {
		delete(rest, name)
	}
	if isAbsent(reason) {
		return fmt.Errorf("%w: no finish_reason", ErrForm)
	}
	if c.api == Completions {
		return c.completion(n, one, extra, rest)
	}
	message, err := readMembers(one["message"])
	if err != nil {
		return err
	}
	deltas, err := deltasOf(message)
	if err != nil {
		return err
	}
	null := json.RawMessage("null")
	for i, delta := range deltas {
		with := null
		if i == 1 && !isAbsent(logprobs) { // with the first text
			with, logprobs = logprobs, nil
		}
		c.event(list(newObject().index(n).raw("delta", delta).raw("logprobs", with).raw("finish_reason", null).end()), extra)
		extra = nil
	}
	if isAbsent(logprobs) {
		logprobs = null
	}
	c.event(list(newObject().index(n).raw("delta", json.RawMessage("{}")).raw("logprobs", logprobs).raw("finish_reason", reason).all(rest).end()), extra)
	return nil
}

// completion writes the events of a text choice.
func (c *chunks) completion(n int, one, extra, rest members) error {
	text, err := one.text("text")
	if err != nil {
		return err
	}
	all := pieces(text)
	for i, piece := range all {
		w := newObject().index(n).text("text", piece)
		if i == 0 && !isAbsent(one["logprobs"]) {
			w.raw("logprobs", one["logprobs"])
		} else {
			w.raw("logprobs", json.RawMessage("null"))
		}
		if i == len(all)-1 {
			w.raw("finish_reason", one["finish_reason"]).all(rest)
		} else {
			w.raw("finish_reason", json.RawMessage("null"))
		}
		c.event(list(w.end()), extra)
		extra = nil
	}
	return nil
}

// deltasOf splits a message into the deltas of a stream, the role first.
func deltasOf(message members) (deltas []json.RawMessage, err error) {
	role, err := message.text("role")
	if err != nil {
		return nil, err
	}
	deltas = append(deltas, newObject().text("role", role).text("content", "").end())
	for _, name := range []string{"reasoning_content", "reasoning", "content", "refusal"} {
		text, err := message.text(name)
		if err != nil {
			return nil, err
		}
		if text == "" {
			continue
		}
		for _, piece := range pieces(text) {
			deltas = append(deltas, newObject().text(name, piece).end())
		}
	}
	if err := onlyKnown(message); err != nil {
		return nil, err
	}
	calls, err := message.list("tool_calls")
	if err != nil {
		return nil, err
	}
	for i, one := range calls {
		delete(one, "index")
		deltas = append(deltas, newObject().raw("tool_calls", list(newObject().index(i).all(one).end())).end())
	}
	if v := message["function_call"]; !isAbsent(v) {
		deltas = append(deltas, newObject().raw("function_call", v).end())
	}
	return deltas, nil
}

// onlyKnown fails if a message has members that a stream can't have.
func onlyKnown(message members) error {
	for name, v := range message {
		switch name {
		case "role", "content", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call":
			continue
		}
		if !isAbsent(v) && string(v) != "[]" {
			return fmt.Errorf("%w: message has %.40q", ErrForm, name)
		}
	}
	return nil
}
