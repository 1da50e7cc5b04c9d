package cache

import (
	"context"
	"encoding/json"
	"net/http"

	attempts "github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

// inside is the context of the layers below. They leave in a stream the usage that the
// gateway asks for: it is stored, and taken out for each client that did not ask. What
// their last attempt read need not be read again.
func (x *exchange) inside(ctx context.Context, f *flight) context.Context {
	if x.stream && x.api.HasStreamOptions() {
		ctx = attempts.KeepUsage(ctx)
	}
	of := attempts.From(ctx)
	if of == nil {
		of = new(attempts.Exchange)
		ctx = attempts.With(ctx, of)
	}
	of.OnEnd(func(_ *attempts.Attempt, e *attempts.End) {
		if e.Good() {
			f.read.Store(e)
		}
	})
	return ctx
}

// summary is what an attempt read, if its response is what was recorded; else ok is false.
func (x *exchange) summary(f *flight, body []byte) (s *llm.Summary, ok bool) {
	e := f.read.Load()
	if e == nil || !e.Readable || e.API != x.api || e.Status != f.head.status || e.Bytes != int64(len(body)) || e.Summary.Stream != isStream(f.head.header) {
		return nil, false
	}
	return &e.Summary, e.Summary.Stream || json.Valid(body)
}

// check is [llm.Check] of what was recorded.
func (x *exchange) check(f *flight, body []byte) error {
	if s, ok := x.summary(f, body); ok {
		return s.Check(x.cfg.LLM.ToolCalls)
	}
	return llm.Check(x.api, isStream(f.head.header), body, x.cfg.LLM.ToolCalls)
}

// hasEnded is [llm.Ended] of what was recorded.
func (x *exchange) hasEnded(f *flight, body []byte) bool {
	if s, ok := x.summary(f, body); ok {
		return s.Ended
	}
	return llm.Ended(x.api, isStream(f.head.header), body)
}

// unusaged is what a response with this header passes through on its way to the client;
// nil: nothing.
func (x *exchange) unusaged(h http.Header) *llm.Unusaged {
	if !x.stream || x.usage || !x.api.HasStreamOptions() || !isStream(h) || llm.Encoded(h) {
		return nil
	}
	return &llm.Unusaged{}
}
