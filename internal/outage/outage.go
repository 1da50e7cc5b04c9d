// Package outage tracks whether a shared store is available. Stores that have a local
// replacement use it: they stop calling the store when it fails, and call it again once a
// probe has succeeded.
//
// On failure the package decides nothing: whether requests pass without the store (open) or
// not (closed) is the caller's decision.
package outage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// ProbeEvery is the time between two probes of a store that is down.
	ProbeEvery = time.Second
	// slowCalls is the number of transient failures in a row that take a store down.
	slowCalls = 3
	// A store that fails again within relapse is probed later each time, up to slowestProbe:
	// one that serves probes and little else must not go up and down every second.
	relapse      = 5 * time.Second
	slowestProbe = 8 * time.Second
)

// errPanic is the failure of a probe that panicked.
var errPanic = errors.New("the store panicked")

// Monitor is the availability of one store: up at first, down after Fail, and up again after
// a probe. Its functions must be set before its first use; it is safe for concurrent use.
type Monitor struct {
	// Probe repeats what failed, and returns an error while it still does. It runs in a
	// goroutine of its own, one at a time, at most once every ProbeEvery and only when a
	// request asks for the state, so that an unused store is left alone. A panic is a
	// failure. Required.
	Probe func(context.Context) error
	// OnDown is called with the failure that took the store down, OnUp when a probe succeeded,
	// just before the store is up. Both are required.
	OnDown func(context.Context, error)
	OnUp   func(context.Context)
	// Patient tolerates transient failures before the first response, too. Default: false, a
	// store that has never answered goes down at once.
	Patient bool

	mu       sync.Mutex
	cause    error // of a store that is down; nil: it is up
	probing  bool
	next     time.Time     // of the next probe
	every    time.Duration // between two probes
	upSince  time.Time
	answered bool // at least once
	slow     int  // transient failures in a row
	slowAt   time.Time
}

// IsDown reports whether the store is down. It begins a probe when one is due, with the
// values of ctx but not its end.
func (m *Monitor) IsDown(ctx context.Context) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cause != nil && !m.probing && time.Now().After(m.next) {
		m.probing = true
		go m.probe(context.WithoutCancel(ctx))
	}
	return m.cause != nil
}

// Answered reports whether the store has ever answered.
func (m *Monitor) Answered() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.answered
}

// Cause returns the last failure of a store that is down, and nil while it is up.
func (m *Monitor) Cause() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cause
}

// Observe reports the result of a call that began at a time. The store goes down by one
// failure, or by three in a row if they are transient and it has answered before: slow calls
// and broken connections. Calls that failed together count as one. A call with an ended ctx
// proves nothing about the store and changes nothing.
func (m *Monitor) Observe(ctx context.Context, began time.Time, err error) {
	if err == nil {
		m.mu.Lock()
		m.answered, m.slow = true, 0
		m.mu.Unlock()
		return
	}
	if ctx.Err() == nil && m.fall(began, err) {
		m.OnDown(ctx, err)
	}
}

// fall records a failure, and reports whether it took the store down.
func (m *Monitor) fall(began time.Time, err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.cause != nil || m.tolerates(began, now, err) {
		return false
	}
	if m.every == 0 || now.Sub(m.upSince) > relapse {
		m.every = ProbeEvery
	} else {
		m.every = min(2*m.every, slowestProbe)
	}
	m.cause, m.next, m.slow = err, now.Add(m.every), 0
	return true
}

// tolerates counts a transient failure, and reports whether the store stays up. The caller
// holds mu.
func (m *Monitor) tolerates(began, now time.Time, err error) bool {
	if !m.answered && !m.Patient || !transient(err) {
		return false
	}
	if m.slow == 0 || !began.Before(m.slowAt) {
		m.slow++
		m.slowAt = now
	}
	return m.slow < slowCalls
}

// transient reports whether a failure may be that of a single call: it took too long, or its
// connection broke.
func transient(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (m *Monitor) probe(ctx context.Context) {
	err := errPanic
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errPanic, v)
		}
		if err == nil {
			m.OnUp(ctx) // while it is down, so that no OnDown comes first
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		now := time.Now()
		m.probing, m.next, m.cause = false, now.Add(m.every), err
		if err == nil {
			m.upSince, m.answered = now, true
		}
	}()
	err = m.Probe(ctx)
}
