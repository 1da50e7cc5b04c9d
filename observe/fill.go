package observe

import (
	"context"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/observe/internal/event"
	"github.com/ginfer/ginfer/observe/internal/plain"
)

// fill stores an event in a request's record, if there is one.
func (r *record) fill(ctx context.Context, ev event.Event) {
	if r == nil {
		return
	}
	switch ev := ev.(type) {
	case *event.Exchange:
		r.update(func(e *entry) { e.proxied(ev) })
	case *event.Usage:
		version, upstream := exchange.TargetOf(ctx)
		r.update(func(e *entry) { e.used(ev, version, upstream) })
	case *event.Decided:
		r.update(func(e *entry) {
			e.model, e.version = plain.Clean(ev.Model, plain.Word), plain.Clean(ev.Version, plain.Word)
		})
	case *event.FellBack:
		r.update(func(e *entry) {
			if e.fallback == "" {
				e.fallback = plain.Clean(ev.From, plain.Word)
			}
			e.version = plain.Clean(ev.Version, plain.Word)
		})
	case *event.Auth:
		if ev.Caller != nil {
			r.update(func(e *entry) { e.caller = (*Caller)(ev.Caller) })
		}
	case *event.Stream:
		if ev.Err != nil {
			r.update(func(e *entry) { e.reason = plain.Redact(ev.Err) })
		}
	default:
		r.update(func(e *entry) { e.decided(ev) })
	}
}

// decided stores what a limit or a cache did with the request.
func (e *entry) decided(ev event.Event) {
	switch ev := ev.(type) {
	case *event.Allowed:
		e.waited += ev.Wait
	case *event.Refused:
		limit := plain.Clean(ev.Limit, plain.Word)
		if ev.Shadow {
			e.shadow = limit
			return
		}
		e.limit = limit
	case *event.CacheResult:
		e.cache, e.notCache = ev.Result, plain.Clean(ev.Reason, plain.Word)
	}
}

func (e *entry) proxied(p *event.Exchange) {
	e.hedged = e.hedged || p.Hedge
	if p.Endpoint != "" {
		e.endpoint = plain.Clean(p.Endpoint, plain.Word)
	}
	if !p.Finished {
		return
	}
	e.relayed = p.Outcome
	e.attempts, e.hedgeWon = p.Attempt, p.Hedge
	if p.Err != nil && e.reason == "" {
		e.reason = plain.Redact(p.Err)
	}
	if p.FirstByte > 0 { // it counts from the start of the exchange
		e.firstByte = max(time.Since(e.start)-p.Duration, 0) + p.FirstByte
	}
}

func (e *entry) used(u *event.Usage, version, upstream string) {
	if e.usage != nil && rank(u) < rank(e.usage) {
		return
	}
	kept := *u
	e.usage = &kept
	e.served = plain.Clean(u.Model, plain.Word)
	if e.model == "" {
		e.model = e.served
	}
	if version != "" {
		e.version, e.upstream = plain.Clean(version, plain.Word), plain.Clean(upstream, plain.Word)
	}
}

// rank orders the usages of several attempts. The attempt that responded is the highest.
func rank(u *event.Usage) int {
	switch u.Outcome {
	case event.Complete:
		return 2
	case event.Canceled:
		return 1
	}
	return 0
}
