package observe

import (
	"context"

	"go.opentelemetry.io/otel/metric"
)

// EndpointState is the state of an endpoint of an upstream.
type EndpointState struct {
	Name string
	// Up reports whether the endpoint gets requests, and Inflight is how many are under way.
	Up       bool
	Inflight int64
}

// CircuitState is the state of a circuit: 0 closed, 1 half-open, 2 open.
type CircuitState struct {
	Name  string
	State int
}

// CacheState is the size of a cache in memory: its entries, and their approximate memory in
// bytes.
type CacheState struct {
	Entries int
	Bytes   int64
}

// RolloutState is the state of a rollout.
type RolloutState struct {
	Name, State string
	// Share is the canary's share of the requests, from 0 to 1.
	Share float64
	// Evidence is how far each check is to a rollback, from 0 to 1, by the check's name.
	Evidence map[string]float64
}

// observe registers the gauges that are read at every collection.
func (m *Metrics) observe(meter metric.Meter) (metric.Registration, error) {
	k := &maker{meter: meter}
	up := k.observed("gateway.endpoint.up", "", "1 while an endpoint receives requests.")
	inflight := k.observed("gateway.endpoint.inflight", "{request}", "Requests under way at an endpoint.")
	state := k.observed("gateway.breaker.state", "", "The state of a circuit: 0 closed, 1 half-open, 2 open.")
	streams := k.observed("gateway.streams.open", "{stream}", "Streams under way.")
	entries := k.observed("gateway.cache.entries", "{entry}", "Entries of an in-memory cache.")
	bytes := k.observed("gateway.cache.size", "By", "Approximate memory of the entries.")
	rollout := k.observed("gateway.rollout.state", "", "1 for the current state of a rollout.")
	share := k.part("gateway.rollout.share", "The canary's share of a rollout's requests, 0 to 1.")
	evidence := k.part("gateway.rollout.evidence", "The evidence that a canary is worse, as a share of the evidence for a rollback.")
	dropped := k.counted("gateway.log.dropped", "{line}", "Lines that the log's destination did not take in time.")
	if err := k.err(); err != nil {
		return nil, err
	}
	callback := func(_ context.Context, o metric.Observer) error {
		safely(func() {
			m.observePools(o, up, inflight)
			m.observeCircuits(o, state)
			m.observeStreams(o, streams)
			m.observeCaches(o, entries, bytes)
			m.observeRollouts(o, rollout, share, evidence)
			if m.cfg.LogDropped != nil {
				o.ObserveInt64(dropped, m.cfg.LogDropped())
			}
		})
		return nil
	}
	return meter.RegisterCallback(callback, up, inflight, state, streams, entries, bytes, rollout, share, evidence, dropped)
}

func (m *Metrics) observePools(o metric.Observer, up, inflight metric.Int64Observable) {
	if m.cfg.Pools == nil {
		return
	}
	for upstream, endpoints := range m.cfg.Pools() {
		for i := range endpoints {
			e := &endpoints[i]
			set := m.sets.of(labels{{keyUpstream, m.labels.of(upstream)}, {keyEndpoint, m.labels.of(e.Name)}})
			o.ObserveInt64(up, number(e.Up), set)
			o.ObserveInt64(inflight, e.Inflight, set)
		}
	}
}

func (m *Metrics) observeCircuits(o metric.Observer, state metric.Int64Observable) {
	if m.cfg.Circuits == nil {
		return
	}
	for upstream, circuits := range m.cfg.Circuits() {
		for i := range circuits {
			c := &circuits[i]
			o.ObserveInt64(state, int64(c.State), m.sets.of(labels{{keyUpstream, m.labels.of(upstream)}, {keyCircuit, m.labels.of(c.Name)}}))
		}
	}
}

func (m *Metrics) observeRollouts(o metric.Observer, state metric.Int64Observable, share, evidence metric.Float64Observable) {
	if m.cfg.Rollouts == nil {
		return
	}
	for _, r := range m.cfg.Rollouts() {
		name := m.labels.of(r.Name)
		o.ObserveInt64(state, 1, m.sets.of(labels{{keyRollout, name}, {keyState, r.State}}))
		o.ObserveFloat64(share, r.Share, m.sets.of(labels{{keyRollout, name}}))
		for check, share := range r.Evidence {
			o.ObserveFloat64(evidence, share, m.sets.of(labels{{keyRollout, name}, {keyCheck, check}}))
		}
	}
}

func (m *Metrics) observeStreams(o metric.Observer, streams metric.Int64Observable) {
	if m.cfg.Streams == nil {
		return
	}
	for group, n := range m.cfg.Streams() {
		o.ObserveInt64(streams, int64(n), m.sets.of(labels{{keyGroup, m.labels.of(group)}}))
	}
}

func (m *Metrics) observeCaches(o metric.Observer, entries, bytes metric.Int64Observable) {
	if m.cfg.Caches == nil {
		return
	}
	for name, one := range m.cfg.Caches() {
		set := m.sets.of(labels{m.cache(name)})
		o.ObserveInt64(entries, int64(one.Entries), set)
		o.ObserveInt64(bytes, one.Bytes, set)
	}
}
