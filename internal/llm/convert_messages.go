package llm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// joinedMessage joins the events of an Anthropic stream.
type joinedMessage struct {
	top    members
	usage  members
	blocks []*openBlock
	ended  bool
}

// openBlock is a content block.
type openBlock struct {
	start     members
	texts     map[string]*strings.Builder // by member
	input     strings.Builder
	hasInput  bool
	citations []json.RawMessage
}

func messagesToJSON(body []byte) ([]byte, error) {
	m := joinedMessage{usage: members{}}
	e := NewEvents(body)
	for !m.ended {
		ev, ok := e.Next()
		if !ok {
			return nil, fmt.Errorf("%w: no end", ErrForm)
		}
		if len(ev.Data) == 0 {
			continue
		}
		f, err := readMembers(ev.Data)
		if err != nil {
			return nil, err
		}
		if err := m.event(f); err != nil {
			return nil, err
		}
	}
	return m.json()
}

func (m *joinedMessage) event(f members) error {
	kind, err := f.text("type")
	if err != nil {
		return err
	}
	switch kind {
	case "ping", "content_block_stop":
		return nil
	case "message_start":
		return m.start(f["message"])
	case "content_block_start":
		return m.block(f)
	case "content_block_delta":
		return m.delta(f)
	case "message_delta":
		return m.end(f)
	case "message_stop":
		m.ended = true
		return nil
	}
	return fmt.Errorf("%w: an event is %.40q", ErrForm, kind)
}

func (m *joinedMessage) start(v json.RawMessage) (err error) {
	if m.top, err = readMembers(v); err != nil {
		return err
	}
	return m.addUsage(m.top["usage"])
}

func (m *joinedMessage) addUsage(v json.RawMessage) error {
	if isAbsent(v) {
		return nil
	}
	f, err := readMembers(v)
	if err != nil {
		return err
	}
	m.usage.merge(f)
	return nil
}

func (m *joinedMessage) block(f members) error {
	n, err := f.index()
	if err != nil {
		return err
	}
	start, err := readMembers(f["content_block"])
	if err != nil {
		return err
	}
	if n != len(m.blocks) {
		return fmt.Errorf("%w: blocks out of order", ErrForm)
	}
	m.blocks = append(m.blocks, &openBlock{start: start, texts: map[string]*strings.Builder{}})
	return nil
}

func (m *joinedMessage) delta(f members) error {
	n, err := f.index()
	if err != nil {
		return err
	}
	if n >= len(m.blocks) {
		return fmt.Errorf("%w: no such block", ErrForm)
	}
	delta, err := readMembers(f["delta"])
	if err != nil {
		return err
	}
	return m.blocks[n].add(delta)
}

func (b *openBlock) add(delta members) error {
	kind, err := delta.text("type")
	if err != nil {
		return err
	}
	switch kind {
	case "text_delta":
		return b.addText("text", delta)
	case "thinking_delta":
		return b.addText("thinking", delta)
	case "signature_delta":
		return b.addText("signature", delta)
	case "input_json_delta":
		part, err := delta.text("partial_json")
		b.input.WriteString(part)
		b.hasInput = true
		return err
	case "citations_delta":
		b.citations = append(b.citations, delta["citation"])
		return nil
	}
	return fmt.Errorf("%w: a delta is %.40q", ErrForm, kind)
}

func (b *openBlock) addText(name string, delta members) error {
	s, err := delta.text(name)
	if err != nil {
		return err
	}
	if b.texts[name] == nil {
		first, err := b.start.text(name)
		if err != nil {
			return err
		}
		b.texts[name] = &strings.Builder{}
		_, _ = b.texts[name].WriteString(first)
	}
	_, _ = b.texts[name].WriteString(s)
	return nil
}

func (m *joinedMessage) end(f members) error {
	delta, err := readMembers(f["delta"])
	if err != nil || m.top == nil {
		return fmt.Errorf("%w: message_delta", ErrForm)
	}
	m.top.merge(delta)
	for name, v := range f { // such as context_management
		if name != "type" && name != "delta" && name != "usage" {
			m.top[name] = v
		}
	}
	return m.addUsage(f["usage"])
}

func (m *joinedMessage) json() ([]byte, error) {
	if m.top == nil {
		return nil, fmt.Errorf("%w: no message_start", ErrForm)
	}
	var content []json.RawMessage
	for _, b := range m.blocks {
		one, err := b.json()
		if err != nil {
			return nil, err
		}
		content = append(content, one)
	}
	w := newObject().raw("id", m.top["id"]).raw("type", m.top["type"]).raw("role", m.top["role"]).raw("model", m.top["model"]).raw("content", list(content...))
	w.all(m.top, "id", "type", "role", "model", "content", "usage")
	if len(m.usage) > 0 {
		w.raw("usage", newObject().all(m.usage).end())
	}
	return w.end(), nil
}

func (b *openBlock) json() (json.RawMessage, error) {
	for name, text := range b.texts {
		b.start[name] = quoted(text.String())
	}
	if b.hasInput && b.input.Len() > 0 {
		if !json.Valid([]byte(b.input.String())) {
			return nil, fmt.Errorf("%w: the input of a tool is no JSON", ErrForm)
		}
		b.start["input"] = json.RawMessage(b.input.String())
	}
	if len(b.citations) > 0 {
		b.start["citations"] = list(b.citations...)
	}
	return newObject().raw("type", b.start["type"]).all(b.start, "type").end(), nil
}

// messagesToStream writes the events of a message.
func messagesToStream(body []byte) ([]byte, error) {
	top, err := readMembers(body)
	if err != nil {
		return nil, err
	}
	content, err := top.list("content")
	if err != nil {
		return nil, err
	}
	null := json.RawMessage("null")
	usage := members{}
	if !isAbsent(top["usage"]) {
		if usage, err = readMembers(top["usage"]); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	begin := newObject().all(top, "content", "usage", "stop_reason", "stop_sequence").raw("content", list()).raw("stop_reason", null).raw("stop_sequence", null)
	if len(usage) > 0 {
		begin.raw("usage", newObject().all(usage).end())
	}
	writeEvent(&out, "message_start", newObject().text("type", "message_start").raw("message", begin.end()))
	for i, block := range content {
		if err := writeBlock(&out, i, block); err != nil {
			return nil, err
		}
	}
	delta := newObject().raw("stop_reason", top["stop_reason"]).raw("stop_sequence", top["stop_sequence"])
	end := newObject().text("type", "message_delta").raw("delta", delta.end())
	if len(usage) > 0 {
		end.raw("usage", newObject().raw("output_tokens", usage["output_tokens"]).end())
	}
	writeEvent(&out, "message_delta", end)
	writeEvent(&out, "message_stop", newObject().text("type", "message_stop"))
	return out.Bytes(), nil
}

func writeEvent(out *bytes.Buffer, name string, w *objectWriter) {
	out.WriteString("event: " + name + "\ndata: ")
	_ = json.Compact(out, w.end()) // valid, and now without line ends
	out.WriteString("\n\n")
}

// writeBlock writes the events of one content block.
func writeBlock(out *bytes.Buffer, n int, block members) error {
	kind, err := block.text("type")
	if err != nil {
		return err
	}
	start, deltas, err := cutBlock(kind, block)
	if err != nil {
		return err
	}
	writeEvent(out, "content_block_start", newObject().text("type", "content_block_start").index(n).raw("content_block", start))
	for _, delta := range deltas {
		writeEvent(out, "content_block_delta", newObject().text("type", "content_block_delta").index(n).raw("delta", delta))
	}
	writeEvent(out, "content_block_stop", newObject().text("type", "content_block_stop").index(n))
	return nil
}

// cutBlock splits a content block into its start and its deltas.
func cutBlock(kind string, block members) (start json.RawMessage, deltas []json.RawMessage, err error) {
	switch kind {
	case "text":
		return cutText(block, "text", "text_delta", "citations")
	case "thinking":
		start, deltas, err = cutText(block, "thinking", "thinking_delta", "signature")
		if v := block["signature"]; err == nil && !isAbsent(v) {
			deltas = append(deltas, newObject().text("type", "signature_delta").raw("signature", v).end())
		}
		return start, deltas, err
	case "redacted_thinking":
		return newObject().all(block).end(), nil, nil
	case "tool_use":
		input := block["input"]
		if isAbsent(input) {
			input = json.RawMessage("{}")
		}
		for _, piece := range pieces(string(input)) {
			deltas = append(deltas, newObject().text("type", "input_json_delta").text("partial_json", piece).end())
		}
		return newObject().all(block, "input").raw("input", json.RawMessage("{}")).end(), deltas, nil
	}
	return nil, nil, fmt.Errorf("%w: a block is %.40q", ErrForm, kind)
}

// cutText splits a text block. Its citations follow it.
func cutText(block members, name, delta, later string) (start json.RawMessage, deltas []json.RawMessage, err error) {
	text, err := block.text(name)
	if err != nil {
		return nil, nil, err
	}
	for _, piece := range pieces(text) {
		deltas = append(deltas, newObject().text("type", delta).text(name, piece).end())
	}
	if later == "citations" {
		all, err := block.list(later)
		if err != nil {
			return nil, nil, err
		}
		for _, one := range all {
			deltas = append(deltas, newObject().text("type", "citations_delta").raw("citation", newObject().all(one).end()).end())
		}
	}
	return newObject().all(block, name, later).text(name, "").end(), deltas, nil
}
