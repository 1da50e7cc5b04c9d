package exchange

import (
	"context"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/llm"
)

// Start returns the attempt of req and the request that carries it: the attempt in progress, or
// a new one. If req carries an ended attempt, the new one follows it. The caller must end a new
// attempt: by Do, by the response's Close, or by Finish if Do returned only refusals.
func Start(req *http.Request) (*Attempt, *http.Request) {
	a := Current(req.Context())
	switch {
	case a == nil:
		x, _ := ginctx.Value(req.Context(), exchangeKey{}).(*Exchange)
		if x == nil {
			x = new(Exchange)
		}
		return x.Begin(req)
	case !a.isEnded():
		return a, req
	}
	return a.follow(req)
}

// Begin starts a new attempt, even if req carries one.
func (x *Exchange) Begin(req *http.Request) (*Attempt, *http.Request) {
	return x.begin(req.Context(), req, nil, false)
}

// BeginHedge is like Begin, for an attempt beside another one that is slow.
func (x *Exchange) BeginHedge(req *http.Request) (*Attempt, *http.Request) {
	return x.begin(req.Context(), req, nil, true)
}

// follow starts the attempt after one that ended.
func (a *Attempt) follow(req *http.Request) (*Attempt, *http.Request) {
	b, req := a.x.begin(a.outer, req, a, a.hedge)
	a.mu.Lock()
	a.next = b
	a.mu.Unlock()
	return b, req
}

// begin starts an attempt that lives as long as outer. Its request's context keeps the
// values of req's.
func (x *Exchange) begin(outer context.Context, req *http.Request, last *Attempt, hedge bool) (*Attempt, *http.Request) {
	a := &Attempt{
		origin: origin{x: x, number: x.next(), hedge: hedge, outer: outer, start: time.Now(), api: x.API, own: x.Dialect, last: last},
		record: record{grpc: noGRPC, blank: true, scanner: unread()},
		limits: x.Limits,
	}
	if api, own := llm.Identify(req); api != llm.Unknown {
		a.api, a.own = api, own
	}
	a.ctx, a.stop = context.WithCancelCause(outer)
	if last != nil {
		a.ctx = life{a.ctx, req.Context()}
	}
	a.dog.begin(a.stop, &a.limits, a.start)
	if a.limits.FirstContent > 0 && a.generates() {
		a.dog.expect(a.start.Add(a.limits.FirstContent))
	}
	if !x.Managed && outer.Done() != nil {
		a.mu.Lock() // it may end at once
		a.unwatch = context.AfterFunc(outer, func() { a.finish(func() {}) })
		a.mu.Unlock()
	}
	a.values.set(a.ctx, attemptKey{}, a) //nolint:contextcheck // it is the attempt's
	return a, req.WithContext(&a.values) //nolint:contextcheck // it ends with outer
}

// life is the context of an attempt that follows another one: it has the values of the
// request that carried that attempt, and the lifetime of its parent.
type life struct {
	context.Context //nolint:containedctx // it is a context itself

	values context.Context //nolint:containedctx // as above
}

// Value implements context.Context. Package context asks for the innermost cancelable
// context to find the cause: that is this one, not the ended attempt's.
func (l life) Value(key any) any {
	if v := l.Context.Value(key); v == l.Context {
		return v
	}
	return l.values.Value(key)
}
