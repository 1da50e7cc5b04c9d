package llm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// joined joins the events of an OpenAI stream.
type joined struct {
	api     API
	top     members
	choices map[int]*joinedChoice
}

type joinedChoice struct {
	rest     members // members that are not joined
	texts    map[string]*strings.Builder
	role     string
	calls    map[int]*call
	function *call // of the legacy function calls
	logprobs map[string][]json.RawMessage
}

// call is one tool call.
type call struct {
	rest      members
	name      string
	arguments strings.Builder
}

func openAIToJSON(a API, body []byte) ([]byte, error) {
	j := joined{api: a, top: members{}, choices: map[int]*joinedChoice{}}
	e := NewEvents(body)
	for {
		ev, ok := e.Next()
		if !ok || string(ev.Data) == "[DONE]" {
			break
		}
		if len(ev.Data) == 0 {
			continue
		}
		if err := j.add(ev.Data); err != nil {
			return nil, err
		}
	}
	return j.json()
}

// add adds one event.
func (j *joined) add(data []byte) error {
	f, err := readMembers(data)
	if err != nil {
		return err
	}
	all, err := f.list("choices")
	if err != nil {
		return err
	}
	delete(f, "choices")
	delete(f, "obfuscation") // padding of an event
	j.top.merge(f)
	for _, one := range all {
		n, err := one.index()
		if err != nil {
			return err
		}
		c := j.choices[n]
		if c == nil {
			c = &joinedChoice{rest: members{}, texts: map[string]*strings.Builder{}, calls: map[int]*call{}, logprobs: map[string][]json.RawMessage{}}
			j.choices[n] = c
		}
		if err := c.add(j.api, one); err != nil {
			return err
		}
	}
	return nil
}

func (c *joinedChoice) add(a API, one members) error {
	if err := c.addLogprobs(one["logprobs"]); err != nil {
		return err
	}
	if a == Completions {
		if err := c.addText("text", one); err != nil {
			return err
		}
	}
	if !isAbsent(one["delta"]) {
		delta, err := readMembers(one["delta"])
		if err != nil {
			return err
		}
		if err := c.addDelta(delta); err != nil {
			return err
		}
	}
	for _, done := range []string{"delta", "logprobs", "text", "index"} {
		delete(one, done)
	}
	c.rest.merge(one)
	return nil
}

// addDelta adds a delta of a chat. It fails on unknown members, which it can't join.
func (c *joinedChoice) addDelta(delta members) (err error) {
	for name, v := range delta {
		switch {
		case isAbsent(v) || err != nil:
		case name == "role":
			c.role, err = delta.text("role")
		case name == "content", name == "refusal", name == "reasoning_content", name == "reasoning":
			err = c.addText(name, delta)
		case name == "tool_calls":
			err = c.addCalls(delta)
		case name == "function_call":
			err = c.addFunction(v)
		default:
			err = fmt.Errorf("%w: delta has %.40q", ErrForm, name)
		}
	}
	return err
}

func (c *joinedChoice) addText(name string, f members) error {
	s, err := f.text(name)
	if err != nil {
		return err
	}
	if c.texts[name] == nil {
		c.texts[name] = &strings.Builder{}
	}
	_, _ = c.texts[name].WriteString(s)
	return nil
}

func (c *joinedChoice) addCalls(delta members) error {
	all, err := delta.list("tool_calls")
	if err != nil {
		return err
	}
	for _, one := range all {
		n, err := one.index()
		if err != nil {
			return err
		}
		if c.calls[n] == nil {
			c.calls[n] = &call{rest: members{}}
		}
		if err := c.calls[n].add(one["function"]); err != nil {
			return err
		}
		delete(one, "index")
		delete(one, "function")
		c.calls[n].rest.merge(one)
	}
	return nil
}

func (c *joinedChoice) addFunction(v json.RawMessage) error {
	if c.function == nil {
		c.function = &call{}
	}
	return c.function.add(v)
}

// add adds a part of a function's name and arguments.
func (c *call) add(function json.RawMessage) error {
	if isAbsent(function) {
		return nil
	}
	f, err := readMembers(function)
	if err != nil {
		return err
	}
	name, err := f.text("name")
	if err != nil {
		return err
	}
	arguments, err := f.text("arguments")
	if err != nil {
		return err
	}
	c.name += name
	c.arguments.WriteString(arguments)
	return nil
}

func (c *call) function() json.RawMessage {
	return newObject().text("name", c.name).text("arguments", c.arguments.String()).end()
}

// addLogprobs appends lists to lists.
func (c *joinedChoice) addLogprobs(v json.RawMessage) error {
	if isAbsent(v) {
		return nil
	}
	f, err := readMembers(v)
	if err != nil {
		return err
	}
	for name, v := range f {
		if isAbsent(v) {
			continue
		}
		var more []json.RawMessage
		if json.Unmarshal(v, &more) != nil {
			return fmt.Errorf("%w: logprobs have %.40q", ErrForm, name)
		}
		c.logprobs[name] = append(c.logprobs[name], more...)
	}
	return nil
}

func (j *joined) json() ([]byte, error) {
	if len(j.choices) == 0 {
		return nil, fmt.Errorf("%w: no choices", ErrForm)
	}
	var all []json.RawMessage
	for _, n := range slices.Sorted(maps.Keys(j.choices)) {
		all = append(all, j.choices[n].json(j.api, n))
	}
	w := newObject().raw("id", j.top["id"])
	if j.api == Chat {
		w.text("object", "chat.completion")
	} else {
		w.text("object", "text_completion")
	}
	w.raw("created", j.top["created"]).raw("model", j.top["model"]).raw("choices", list(all...)).raw("usage", j.top["usage"])
	return w.all(j.top, "id", "object", "created", "model", "usage").end(), nil
}

func (c *joinedChoice) json(a API, n int) json.RawMessage {
	w := newObject().index(n)
	if a == Chat {
		w.raw("message", c.message())
	} else {
		w.text("text", c.textOf("text"))
	}
	logprobs := json.RawMessage("null")
	if len(c.logprobs) > 0 {
		w := newObject()
		for _, name := range slices.Sorted(maps.Keys(c.logprobs)) {
			w.raw(name, list(c.logprobs[name]...))
		}
		logprobs = w.end()
	}
	return w.raw("logprobs", logprobs).all(c.rest).end()
}

func (c *joinedChoice) textOf(name string) string {
	if c.texts[name] == nil {
		return ""
	}
	return c.texts[name].String()
}

func (c *joinedChoice) message() json.RawMessage {
	role := c.role
	if role == "" {
		role = "assistant"
	}
	w := newObject().text("role", role)
	calls := len(c.calls) > 0 || c.function != nil
	if content := c.textOf("content"); content == "" && calls {
		w.raw("content", json.RawMessage("null"))
	} else {
		w.text("content", content)
	}
	for _, name := range []string{"refusal", "reasoning_content", "reasoning"} {
		if c.texts[name] != nil {
			w.text(name, c.textOf(name))
		}
	}
	if c.function != nil {
		w.raw("function_call", c.function.function())
	}
	if len(c.calls) > 0 {
		var all []json.RawMessage
		for _, n := range slices.Sorted(maps.Keys(c.calls)) {
			one := c.calls[n]
			all = append(all, newObject().all(one.rest).raw("function", one.function()).end())
		}
		w.raw("tool_calls", list(all...))
	}
	return w.end()
}
