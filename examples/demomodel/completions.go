package demomodel

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"
)

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, chatStyle(), (*request).chatPrompt)
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, textStyle(), (*request).textPrompt)
}

// serve handles a completion request. It validates the whole request before it
// waits for a slot.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, st style, prompt func(*request) ([]string, *apiError)) {
	q, refused := readRequest(w, r)
	if refused == nil {
		refused = s.checkModel(q.Model)
	}
	var t task
	if refused == nil {
		t, refused = q.task()
	}
	if refused == nil {
		t.prompt, refused = prompt(q)
	}
	if refused != nil {
		writeError(w, refused)
		return
	}
	t.trim = st.chat // a response begins with a word, a continuation with a space
	if err := s.write(r.Context(), w, q, t, st); err != nil {
		writeError(w, problem(err))
	}
}

func (s *Server) checkModel(name string) *apiError {
	if name == "" {
		return invalid("model", codeMissing, "'model' is missing.")
	}
	if name != s.name {
		return unknownModel(name)
	}
	return nil
}

// write waits for a slot and generates. It returns an error only while an error
// response can still be written, that is before a stream has begun.
func (s *Server) write(ctx context.Context, w http.ResponseWriter, q *request, t task, st style) error {
	if err := s.queue.acquire(ctx); err != nil {
		return err
	}
	defer s.queue.release()
	g := s.generator()
	defer func() { s.idle <- g }() // has capacity for one per slot

	base := response{
		ID:          st.prefix + rand.Text(),
		Object:      st.object,
		Created:     time.Now().Unix(),
		Model:       s.name,
		Fingerprint: s.fingerprint,
	}
	if q.Stream {
		withUsage := q.StreamOptions != nil && q.StreamOptions.IncludeUsage
		stream(ctx, newEvents(w, st, base, withUsage), g, t)
		return nil
	}
	var text strings.Builder
	result, err := g.run(ctx, t, func(part string) error {
		text.WriteString(part)
		return nil
	})
	if err != nil {
		return err
	}
	base.Choices, base.Usage = []responseChoice{st.whole(text.String(), result.finish)}, result.usage()
	writeJSON(w, http.StatusOK, base)
	return nil
}

// stream generates into events. A stream that breaks off lacks its end mark.
func stream(ctx context.Context, e *events, g *generator, t task) {
	if e.open() != nil {
		return
	}
	if result, err := g.run(ctx, t, e.text); err == nil {
		_ = e.close(result) // the client has left
	}
}

// generator returns an idle generator or a new one. The queue ensures that there
// are no more of them than slots.
func (s *Server) generator() *generator {
	select {
	case g := <-s.idle:
		return g
	default:
		return newGenerator(s.model, s.delay)
	}
}

// problem returns the error response for a request that was not served.
func problem(err error) *apiError {
	if errors.Is(err, errFull) {
		return refusal(http.StatusTooManyRequests, typeRate, "queue_full", "The model is busy and its queue is full. Try again later.")
	}
	return refusal(statusCancelled, typeServer, "request_cancelled", "The request ended before its response was ready.")
}
