package exchange

import (
	"context"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// origin is the part of an attempt that does not change after its beginning.
type origin struct {
	x      *Exchange
	number int
	hedge  bool
	outer  context.Context //nolint:containedctx // the parent: it ends with the client's request
	ctx    context.Context //nolint:containedctx // the attempt's own
	stop   context.CancelCauseFunc
	start  time.Time
	api    llm.API
	own    *llm.Dialect // the dialect when api is llm.Own
	last   *Attempt     // the attempt before this one within a layer below; nil: none
}

// Gone reports whether the attempt's parent context has ended.
func (o *origin) Gone() bool { return o.outer.Err() != nil }

// Exchange returns the exchange that the attempt belongs to.
func (o *origin) Exchange() *Exchange { return o.x }

// Follows reports whether a layer below began the attempt as a fallback for another one.
func (o *origin) Follows() bool { return o.last != nil }

// Number returns the attempt's number within the exchange. The first one is 1.
func (o *origin) Number() int { return o.number }

// Hedge reports whether the attempt runs beside another, slow one.
func (o *origin) Hedge() bool { return o.hedge }

// Began returns the time at which the attempt began.
func (o *origin) Began() time.Time { return o.start }

// API returns the API that the request calls.
func (o *origin) API() llm.API { return o.api }

// Context returns the attempt's own context. It ends with the attempt's limits.
func (o *origin) Context() context.Context { return o.ctx }

// Cancel cancels the attempt's context.
func (o *origin) Cancel(cause error) { o.stop(cause) }

// generates reports whether a successful response has content.
func (o *origin) generates() bool { return o.x.Generates || o.api.Generates() }

// isKnown reports whether a successful response to the call has content.
func (o *origin) isKnown() bool {
	switch o.api { //nolint:exhaustive // all others do
	case llm.Unknown, llm.Free, llm.Realtime:
		return o.generates()
	}
	return true
}
