package demomodel

import (
	"encoding/json"
	"errors"
	"net/http"
)

// events writes a response as server-sent events, each flushed at once.
type events struct {
	style     style
	base      response // the fields common to all events
	withUsage bool     // the last event holds the usage, the others null
	w         http.ResponseWriter
	flusher   *http.ResponseController
}

func newEvents(w http.ResponseWriter, s style, base response, withUsage bool) *events {
	base.Object = s.chunk
	if withUsage {
		base.Usage = json.RawMessage("null")
	}
	return &events{style: s, base: base, withUsage: withUsage, w: w, flusher: http.NewResponseController(w)}
}

// open sends the header and, for chats, the role.
func (e *events) open() error {
	h := e.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	e.w.WriteHeader(http.StatusOK)
	if first, ok := e.style.opening(); ok {
		return e.send(first)
	}
	return nil
}

// text sends a part of the text.
func (e *events) text(text string) error { return e.send(e.style.part(text)) }

// close sends the finish reason and ends the stream.
func (e *events) close(result outcome) error {
	err := e.send(e.style.closing(result.finish))
	if err == nil && e.withUsage {
		e.base.Usage = result.usage()
		err = e.send()
	}
	if err != nil {
		return err
	}
	return e.write([]byte("[DONE]"))
}

// send writes an event with the given choices.
func (e *events) send(choices ...responseChoice) error {
	e.base.Choices = append([]responseChoice{}, choices...) // [] rather than null
	data, err := json.Marshal(e.base)
	if err != nil {
		return err
	}
	return e.write(data)
}

func (e *events) write(data []byte) error {
	line := append([]byte("data: "), data...)
	if _, err := e.w.Write(append(line, "\n\n"...)); err != nil {
		return err
	}
	if err := e.flusher.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
