package routing

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
)

// sample is one request that a rollout learns from.
type sample struct {
	stage  *stage
	key    uint64 // stands for the user
	canary bool
}

// Judge tells the rollout that a request belongs to whether its answer was of use. The
// context is that of a request that passed the Middleware, be it the one that was
// answered, or a later one of the same user for the same model that brings a verdict.
// It reports whether that counts: not of a request that no rollout measures, nor after
// the step at which it was decided on.
func Judge(ctx context.Context, good bool) bool {
	d, ok := ctx.Value(contextKey{}).(*Decision)
	if !ok || d.sample == nil {
		return false
	}
	return d.sample.stage.rollout.learn(ctx, d.sample, finding{check: quality, bad: !good})
}

// measurement is of one call of the version that was decided on. Nil measures nothing.
type measurement struct {
	*sample

	ctx context.Context //nolint:containedctx // it goes to the rollout's events
}

func (s *sample) measure(req *http.Request) *measurement { return &measurement{s, req.Context()} }

// follow measures the attempt that made the response.
func (m *measurement) follow(a *exchange.Attempt) {
	if m == nil {
		return
	}
	a.OnContent(func(at time.Time) { m.took((*evidence).began, at.Sub(a.Began())) })
	a.OnEnd(m.ended)
}

// refused counts a call that a layer below did not let through: of a version whose circuit
// is open nobody gets anything.
func (m *measurement) refused(err error) {
	if m != nil && exchange.IsRefused(err) {
		m.stage.rollout.learn(m.ctx, m.sample, finding{check: failures, bad: true})
	}
}

// ended takes how the attempt went. Of a client that left before the end of the response,
// or gave too little time, it is only known how long it had waited. Any status from 400 on
// is a failure: what is a client's own fault strikes both versions alike, and a version
// that refuses what the other one takes must not pass.
func (m *measurement) ended(e *exchange.End) {
	f := finding{check: failures}
	switch {
	case e.Outcome == exchange.Canceled:
		if e.Content.IsZero() && !errors.Is(e.Err, exchange.ErrClosed) {
			m.took((*evidence).waited, e.Over.Sub(e.Start))
		}
		return
	case e.Status == 0 && e.Blame == exchange.Request:
		return // the gateway's own refusal
	case e.Status >= http.StatusBadRequest:
		f.bad, f.own = true, e.Status != http.StatusTooManyRequests && e.Status < http.StatusInternalServerError
	case e.Outcome == exchange.Failure:
		f.bad = true
	}
	m.stage.rollout.learn(m.ctx, m.sample, f)
}

// took reports to the rollout how long it has been.
func (m *measurement) took(add func(e *evidence, key uint64, canary bool, after time.Duration) (reason string), after time.Duration) {
	m.stage.rollout.take(m.ctx, m.sample, func(e *evidence) string { return add(e, m.key, m.canary, after) })
}
