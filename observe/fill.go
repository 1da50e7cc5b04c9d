package observe

import (
	"context"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
)

// The functions of this file store the packages' events in a request's record.

func (r *record) proxied(p *proxy.Event) {
	r.update(func(e *entry) {
		e.hedged = e.hedged || p.Hedge
		if p.Endpoint != "" {
			e.endpoint = plain.Clean(p.Endpoint, plain.Word)
		}
		if p.Kind != proxy.Finished {
			return
		}
		e.relayed = p.Outcome.String()
		e.attempts, e.hedgeWon = p.Attempt, p.Hedge
		if p.Err != nil && e.reason == "" {
			e.reason = plain.Redact(p.Err)
		}
		if p.FirstByte > 0 { // it counts from the start of the exchange
			e.firstByte = max(time.Since(e.start)-p.Duration, 0) + p.FirstByte
		}
	})
}

func (r *record) used(ctx context.Context, u *stream.Usage) {
	if r == nil {
		return
	}
	target, known := routing.TargetFrom(ctx)
	r.update(func(e *entry) {
		if e.usage != nil && rank(u) < rank(e.usage) {
			return
		}
		e.usage = u
		e.served = plain.Clean(u.Model, plain.Word)
		if e.model == "" {
			e.model = e.served
		}
		if known {
			e.version, e.upstream = plain.Clean(target.Version, plain.Word), plain.Clean(target.Upstream, plain.Word)
		}
	})
}

// rank orders the usages of several attempts. The attempt that responded is the highest.
func rank(u *stream.Usage) int {
	switch u.Outcome {
	case stream.Complete:
		return 2
	case stream.Canceled:
		return 1
	case stream.Failed:
	}
	return 0
}

func (r *record) routed(ev *routing.Event) {
	r.update(func(e *entry) {
		switch ev.Kind {
		case routing.Decided:
			e.model, e.version = plain.Clean(ev.Model, plain.Word), plain.Clean(ev.Version, plain.Word)
		case routing.FellBack:
			if e.fallback == "" {
				e.fallback = plain.Clean(ev.From, plain.Word)
			}
			e.version = plain.Clean(ev.Version, plain.Word)
		case routing.Skipped, routing.Swapped, routing.Mirrored, routing.MirrorFull:
		}
	})
}

func (r *record) identified(ev *auth.Event) {
	if ev.Identity != nil {
		r.update(func(e *entry) { e.identity = ev.Identity })
	}
}

func (r *record) limited(ev *ratelimit.Event) {
	r.update(func(e *entry) {
		switch ev.Kind { //nolint:exhaustive // the others do not belong to a request
		case ratelimit.Allowed:
			e.waited += ev.Wait
		case ratelimit.Refused:
			e.limit = plain.Clean(ev.Limit, plain.Word)
		case ratelimit.WouldRefuse:
			e.shadow = plain.Clean(ev.Limit, plain.Word)
		}
	})
}

func (r *record) streamed(ev *stream.Event) {
	if ev.Err != nil {
		r.update(func(e *entry) { e.reason = plain.Redact(ev.Err) })
	}
}
