package observe

import (
	"context"

	"github.com/ginfer/ginfer/observe/internal/event"
)

// limited counts the events of limits.
func (m *Metrics) limited(ctx context.Context, e event.Event) {
	switch e := e.(type) {
	case *event.Allowed:
		limiter := m.limiter(e.Limiter)
		m.in.limits.Add(ctx, 1, m.sets.add(labels{limiter, {keyDecision, "allowed"}})...)
		if e.Wait > 0 {
			m.in.limitWait.Record(ctx, e.Wait.Seconds(), m.sets.record(labels{limiter})...)
		}
		m.limitTokens(ctx, limiter, "reserved", e.Tokens)
	case *event.Refused:
		decision := "refused"
		if e.Shadow {
			decision = "would_refuse"
		}
		m.in.limits.Add(ctx, 1, m.sets.add(labels{m.limiter(e.Limiter), {keyDecision, decision}, {keyLimit, m.labels.of(e.Limit)}})...)
	case *event.Settled:
		m.limitTokens(ctx, m.limiter(e.Limiter), "spent", e.Tokens)
	case *event.LimitStore:
		m.in.limitDown.Record(ctx, number(e.Down), m.sets.record(labels{m.limiter(e.Limiter)})...)
	case *event.Concurrency:
		m.in.concurrency.Record(ctx, int64(e.Max), m.sets.record(labels{m.limiter(e.Limiter)})...)
	}
}

func (m *Metrics) limiter(name string) label { return label{keyLimiter, m.labels.of(name)} }

func (m *Metrics) limitTokens(ctx context.Context, limiter label, state string, n int64) {
	if n > 0 {
		m.in.limitTokens.Add(ctx, n, m.sets.add(labels{limiter, {keyState, state}})...)
	}
}

// cached counts the events of caches.
func (m *Metrics) cached(ctx context.Context, e event.Event) {
	switch e := e.(type) {
	case *event.CacheResult:
		m.in.cached.Add(ctx, 1, m.sets.add(labels{m.cache(e.Cache), {keyPolicy, e.Policy}, {keyCache, e.Result}, {keyReason, m.labels.of(e.Reason)}})...)
	case *event.CacheChange:
		m.in.cacheChanges.Add(ctx, 1, m.sets.add(labels{m.cache(e.Cache), {keyChange, e.Change}, {keyReason, m.labels.of(e.Reason)}})...)
	case *event.CacheStore:
		m.in.cacheDown.Record(ctx, number(e.Down), m.sets.record(labels{m.cache(e.Cache)})...)
	}
}

func (m *Metrics) cache(name string) label { return label{keyCacheName, m.labels.of(name)} }

// number returns 1 for true.
func number(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
