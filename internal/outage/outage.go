// Package outage tracks whether a shared store is available. Stores that have a local
// replacement use it: they stop calling the store at its first failure, and call it again
// once a probe has succeeded.
//
// On failure the package decides nothing: whether requests pass without the store (open) or
// not (closed) is the caller's decision.
package outage

import (
	"context"
	"sync"
	"time"
)

// ProbeEvery is the time between two probes of a store that is down.
const ProbeEvery = time.Second

// Monitor is the availability of one store: up at first, down after Fail, and up again after
// a probe. Its functions must be set before its first use; it is safe for concurrent use.
type Monitor struct {
	// Probe calls the store, and calls Recover when the store responds. It runs in a
	// goroutine of its own, one at a time, at most once every ProbeEvery and only when a
	// request asks for the state, so that an unused store is left alone. A panic is a
	// failure. Required.
	Probe func(context.Context)
	// OnDown is called with the failure that took the store down, OnUp when a probe brought
	// it back. Both are required.
	OnDown func(context.Context, error)
	OnUp   func(context.Context)

	mu      sync.Mutex
	down    bool
	probing bool
	next    time.Time // of the next probe
}

// IsDown reports whether the store is down. It begins a probe when one is due, with the
// values of ctx but not its end.
func (m *Monitor) IsDown(ctx context.Context) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down && !m.probing && time.Now().After(m.next) {
		m.probing = true
		go m.probe(context.WithoutCancel(ctx))
	}
	return m.down
}

// Fail takes the store down after a call that failed. A call with an ended ctx proves
// nothing about the store and changes nothing.
func (m *Monitor) Fail(ctx context.Context, err error) {
	if ctx.Err() == nil && m.fall() {
		m.OnDown(ctx, err)
	}
}

// fall takes the store down, and reports whether it was up.
func (m *Monitor) fall() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return false
	}
	m.down, m.next = true, time.Now().Add(ProbeEvery)
	return true
}

// WhileDown calls f if the store is down, and reports whether it was. The store can't recover
// before f returns. f must not call the Monitor.
func (m *Monitor) WhileDown(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		f()
	}
	return m.down
}

// Recover brings the store back if ready, called within the same lock as f of WhileDown,
// returns true. It is for Probe.
func (m *Monitor) Recover(ready func() bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = !ready()
	return !m.down
}

// Relapse takes a store down that Recover has just brought back. It is for Probe: neither
// OnUp nor OnDown is called then.
func (m *Monitor) Relapse() { m.fall() }

func (m *Monitor) probe(ctx context.Context) {
	defer func() {
		_ = recover() // a store that panics is down
		m.mu.Lock()
		m.probing, m.next = false, time.Now().Add(ProbeEvery)
		up := !m.down
		m.mu.Unlock()
		if up {
			m.OnUp(ctx)
		}
	}()
	m.Probe(ctx)
}
