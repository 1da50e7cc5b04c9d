package events

import (
	"context"
	"log/slog"

	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/internal/event"
	"github.com/ginfer/ginfer/observe/internal/plain"
)

// Hooks is the set of OnEvent functions for the other packages. Each event updates the
// record of its request, for the access log and the other middlewares, and is reported to
// the fields that are set. The zero Hooks updates records only.
//
// Methods for packages that a gateway may use several times take a name, which becomes a
// label, and return the function.
type Hooks struct {
	// Metrics counts the events. Default: none.
	Metrics *observe.Metrics
	// Tracing adds the events to spans. Default: none.
	Tracing *observe.Tracing
	// Logger logs changes that do not belong to a single request: circuits, endpoints,
	// stores, keys, tables. Default: none.
	Logger *slog.Logger
}

// report records an event.
func (h Hooks) report(ctx context.Context, e event.Event) {
	observe.Report(ctx, h.Metrics, h.Tracing, e)
}

// log writes a line about the named object, with the error.
func (h Hooks) log(ctx context.Context, level slog.Level, message, key, name string, err error, attrs ...slog.Attr) {
	if h.Logger == nil || !h.Logger.Enabled(ctx, level) {
		return
	}
	if key != "" {
		attrs = append(attrs, slog.String(key, plain.Clean(name, plain.Word)))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", plain.Redact(err)))
	}
	defer func() { _ = recover() }() // of the logger: telemetry fails no request
	h.Logger.LogAttrs(ctx, level, message, attrs...)
}
