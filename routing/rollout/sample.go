package rollout

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/routing/rollout/internal/trial"
)

// Sample is one request of a user assigned to one of the two versions by chance. A
// router makes it, and the rollout learns from its outcome.
type Sample struct {
	step   *Step
	key    uint64
	canary bool
}

// Sample returns the sample of a user's request that goes to the canary or to the stable
// version. The key is a hash that identifies the user.
func (s *Step) Sample(key uint64, canary bool) *Sample { return &Sample{s, key, canary} }

type contextKey struct{}

// NewContext returns a context in which [Judge] finds the sample.
func (s *Sample) NewContext(ctx context.Context) context.Context {
	return context.WithValue(ginctx.Of(ctx), contextKey{}, s)
}

// Judge reports to the rollout of a request whether its response was good. The context is
// that of a request behind the router's Middleware: the request that was served, or a later
// one of the same user for the same model that carries the verdict. Judge returns whether
// the verdict counts. It does not when no rollout measures the request, or after the step
// at which the request was assigned.
func Judge(ctx context.Context, good bool) bool {
	s, ok := ginctx.Value(ctx, contextKey{}).(*Sample)
	return ok && s.add(ctx, trial.Finding{Check: trial.Quality, Bad: !good})
}

// RoundTrip sends the request to next and measures the attempt that made the response.
func (s *Sample) RoundTrip(req *http.Request, next http.RoundTripper) (*http.Response, error) {
	a := exchange.Current(req.Context())
	if a == nil {
		a, req = exchange.Start(req)
	}
	ctx, m := req.Context(), &measurement{Sample: s, ctx: req.Context()}
	req = req.WithContext(httptrace.WithClientTrace(ctx, m.trace()))
	res, err := a.Call(req, next, m.follow)
	if exchange.IsRefused(err) { // with an open circuit the version serves no requests
		s.add(ctx, trial.Finding{Check: trial.Failures, Bad: true})
	}
	return res, err
}

// add records a finding, and reports whether it counts.
func (s *Sample) add(ctx context.Context, f trial.Finding) bool {
	return s.record(ctx, func(t *trial.Trial) string { return t.Add(s.key, s.canary, f) })
}

// record applies add to the trial, unless the rollout is at another step: the user may have
// had the other version. It rolls back when add returns a reason.
func (s *Sample) record(ctx context.Context, add func(*trial.Trial) (reason string)) bool {
	r := s.step.rollout
	r.mu.Lock()
	if s.step != r.current.Load() || s.step.Share <= 0 || s.step.Share >= 1 {
		r.mu.Unlock()
		return false
	}
	reason := add(r.trial)
	if reason == "" || r.progress.State == Done {
		r.mu.Unlock()
		return true
	}
	next := r.progress
	next.State, next.Reason = RolledBack, reason
	r.move(ctx, next)
	return true
}

// measurement measures one call of the assigned version.
type measurement struct {
	*Sample

	ctx    context.Context //nolint:containedctx // for the rollout's events
	dialed atomic.Bool
	fresh  atomic.Bool // the latest connection was new, or was waited for
}

// trace observes the connection. Transports that call no trace count as ones with open
// connections.
func (m *measurement) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		ConnectStart: func(string, string) { m.dialed.Store(true) },
		GotConn:      func(info httptrace.GotConnInfo) { m.fresh.Store(!info.Reused || m.dialed.Load()) },
	}
}

func (m *measurement) follow(a *exchange.Attempt) {
	a.OnContent(func(at time.Time) {
		m.record(m.ctx, func(t *trial.Trial) string {
			if m.fresh.Load() {
				return t.FreshFirstByte(m.key, m.canary, at.Sub(a.Began()))
			}
			return t.FirstByte(m.key, m.canary, at.Sub(a.Began()))
		})
	})
	a.OnEnd(m.ended)
}

// ended records the outcome of the attempt. After a client disconnect before the end of the
// response only the time that the client waited is known. Every status from 400 on is a
// failure: client errors affect both versions alike, and a canary that refuses what the
// stable version accepts must not pass.
func (m *measurement) ended(e *exchange.End) {
	f := trial.Finding{Check: trial.Failures}
	switch {
	case e.Outcome == exchange.Canceled:
		if e.Content.IsZero() && !errors.Is(e.Err, exchange.ErrClosed) {
			m.record(m.ctx, func(t *trial.Trial) string {
				if m.fresh.Load() {
					return t.FreshDisconnect(m.key, m.canary, e.Over.Sub(e.Start))
				}
				return t.Disconnect(m.key, m.canary, e.Over.Sub(e.Start))
			})
		}
		return
	case e.Status == 0 && e.Blame == exchange.Request:
		return // the gateway's own refusal
	case e.Status >= http.StatusBadRequest:
		f.Bad, f.RequestFault = true, e.Status != http.StatusTooManyRequests && e.Status < http.StatusInternalServerError
	case e.Outcome == exchange.Failure:
		f.Bad = true
	}
	m.add(m.ctx, f)
}
