package ratelimit

import (
	"context"
	"net/http"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/llm"
)

// watch observes the attempts made for the request.
func (r *reservation) watch(req *http.Request) *http.Request {
	r.exchange, req = exchange.Of(req)
	r.before = r.exchange.Attempts()
	ctx := ginctx.Detach(req.Context())
	r.exchange.OnEvent(func(a *exchange.Attempt, _ int64) { r.flowed(ctx, a) })
	r.exchange.OnEnd(func(_ *exchange.Attempt, e *exchange.End) { r.ended(ctx, e) })
	return req
}

// attempted reports whether attempts were made after the reservation.
func (r *reservation) attempted() bool { return r.exchange.Attempts() > r.before }

// flowed records the output delivered so far.
func (r *reservation) flowed(ctx context.Context, a *exchange.Attempt) {
	if r.exchange.Shadow {
		return
	}
	n := a.Delivered()
	r.mu.Lock()
	if r.flows == nil {
		r.flows = make(map[*exchange.Attempt]int64, 1)
	}
	r.delivered += n - r.flows[a]
	r.flows[a] = n
	delivered := r.delivered
	r.mu.Unlock()
	r.progress(ctx, delivered)
}

// ended records the usage of an attempt. An attempt that ends after the request, as the loser
// of a hedge may, is settled separately.
func (r *reservation) ended(ctx context.Context, e *exchange.End) {
	if r.exchange.Shadow {
		return
	}
	u := r.took(e)
	whole := e.Good() && e.Whole
	if whole && e.Counted {
		r.tokens.estimates.learn(r.request, &u)
	}
	r.mu.Lock()
	r.taken.Input += u.Input
	r.taken.Output += u.Output
	r.taken.Estimated = r.taken.Estimated || u.Estimated
	r.learned = r.learned || whole && e.Counted
	if whole {
		r.whole++
	}
	late := r.settled && r.reported == 0 && u != llm.Usage{}
	r.mu.Unlock()
	if late {
		r.sendLate(ctx, &u)
	}
}

// took returns the usage of an attempt. An attempt that was refused, or that failed before it
// delivered anything, used nothing. If it was canceled before that, the server may have
// processed the input.
func (r *reservation) took(e *exchange.End) llm.Usage {
	u := e.Usage
	switch {
	case e.Unsent, e.Status > 0 && (e.Status < 200 || e.Status >= 300):
		return llm.Usage{}
	case e.Bytes == 0:
		if e.Outcome == exchange.Canceled {
			return llm.Usage{Input: r.input, Estimated: true}
		}
		return llm.Usage{}
	case !e.Readable:
		u.Input, u.Output = r.input, r.output
	case e.Outcome == exchange.Failure && e.Content.IsZero():
		return llm.Usage{}
	case e.Counted:
		return u
	case e.Whole && e.Events == 0: // in an unknown format
		u.Input, u.Output = r.input, r.output
	case u.Input == 0:
		u.Input = r.input
	}
	return u
}
