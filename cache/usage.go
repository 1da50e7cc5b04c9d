package cache

import (
	"context"
	"net/http"

	attempts "github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

// keepUsage has the layers below leave in a stream the usage that the gateway asks for: it
// is stored, and taken out for each client that did not ask.
func (x *exchange) keepUsage(ctx context.Context) context.Context {
	if x.stream && x.api.HasStreamOptions() {
		return attempts.KeepUsage(ctx)
	}
	return ctx
}

// unusaged is what a response with this header passes through on its way to the client;
// nil: nothing.
func (x *exchange) unusaged(h http.Header) *llm.Unusaged {
	if !x.stream || x.usage || !x.api.HasStreamOptions() || !isStream(h) || llm.Encoded(h) {
		return nil
	}
	return &llm.Unusaged{}
}
