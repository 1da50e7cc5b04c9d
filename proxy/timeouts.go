package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Timeouts bound the parts of an exchange. Zero means the default, negative
// means no limit.
type Timeouts struct {
	// Connect bounds the TCP part of making a new connection by a transport
	// that [NewTransport] made; TransportConfig.ConnectTimeout bounds TLS.
	// Default 5 s.
	Connect time.Duration
	// FirstByte bounds each try from its begin to the head of its answer, of a
	// stream that is held back to its first content. Default 2 min: a model that
	// answers in one piece thinks first.
	FirstByte time.Duration
	// Hold is how long a request with a body may have its answer held back, if that
	// has status 200, until a stream of a
	// model has its first content, or JSON its end: one that fails before is tried
	// again, or is a clean error, and not a broken answer. When Hold passes, a
	// stream goes out as it is, and heartbeats with it. Default 0: until FirstByte
	// ends the try. Negative: nothing is held back. Calls of JSON-RPC (MCP) never are.
	Hold time.Duration
	// Idle bounds each wait for the next bytes of an answer; time spent on a
	// slow client does not count. Default 1 min.
	Idle time.Duration
	// Stall bounds it more tightly for a stream of events whose pace is known: by
	// ten times its median pause, but not by less than Stall, nor by more than
	// Idle. Default 15 s; negative: Idle alone.
	Stall time.Duration
	// Total bounds the exchange from begin to end. A client may ask for less by
	// X-Request-Timeout (seconds, or a number with a unit) or Grpc-Timeout, and what
	// is left of that is told to the upstream; when it passes, no upstream has failed.
	// Default 1 h.
	Total time.Duration
	// Tunnel bounds the silence, in both directions, of an upgraded
	// connection. Default 1 h.
	Tunnel time.Duration
}

func (t Timeouts) resolve() (Timeouts, error) {
	t.Connect = orDefault(t.Connect, 5*time.Second)
	t.FirstByte = orDefault(t.FirstByte, 2*time.Minute)
	t.Idle = orDefault(t.Idle, time.Minute)
	t.Stall = orDefault(t.Stall, 15*time.Second)
	t.Total = orDefault(t.Total, time.Hour)
	t.Tunnel = orDefault(t.Tunnel, time.Hour)
	var faults []error
	for _, f := range []struct {
		name string
		d    time.Duration
	}{{"Connect", t.Connect}, {"FirstByte", t.FirstByte}, {"Hold", t.Hold}, {"Idle", t.Idle}, {"Stall", t.Stall}, {"Total", t.Total}, {"Tunnel", t.Tunnel}} {
		if f.d > 0 && f.d < time.Millisecond {
			faults = append(faults, fmt.Errorf("proxy: Timeouts.%s: %v is below a millisecond; is a unit missing?", f.name, f.d))
		}
	}
	return t, errors.Join(faults...)
}

func orDefault[T ~int | ~int64 | ~float64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// limit is which of the Timeouts a watchdog waits for.
type limit int32

const (
	limitFirstByte limit = iota
	limitIdle
	limitTotal
)

// String names the limit as a client may read it.
func (l limit) String() string {
	switch l {
	case limitFirstByte:
		return "no answer began in time"
	case limitIdle:
		return "the answer paused too long"
	case limitTotal:
		return "the whole took too long"
	}
	return ""
}

// watchdog cancels one try when a wait takes too long. One timer serves all
// waits. It is not set anew for each: when it fires too early it sleeps on, so
// that a token costs no timer operation. It stands still while the gateway
// waits for the client instead.
type watchdog struct {
	cancel  context.CancelCauseFunc
	total   time.Time // when everything must have ended; zero: no limit
	hurried bool      // total is the client's own limit: no upstream is to blame

	mu       sync.Mutex
	timer    *time.Timer
	fires    time.Time // when timer does; zero: it does not
	deadline time.Time // of the wait; zero: nothing is waited for
	which    limit
}

// arm begins a wait of at most d, or until the total limit.
func (w *watchdog) arm(l limit, now time.Time, d time.Duration) {
	deadline := w.total
	if d > 0 {
		if end := now.Add(d); deadline.IsZero() || end.Before(deadline) {
			deadline = end
		} else {
			l = limitTotal
		}
	} else {
		l = limitTotal
	}
	if deadline.IsZero() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline, w.which = deadline, l
	if w.fires.IsZero() || deadline.Before(w.fires) {
		w.wake(deadline.Sub(now))
	}
}

// wake has the timer fire after d. The caller holds mu.
func (w *watchdog) wake(d time.Duration) {
	w.fires = w.deadline
	if w.timer == nil {
		w.timer = time.AfterFunc(max(d, 0), w.fire)
		return
	}
	w.timer.Reset(max(d, 0))
}

func (w *watchdog) disarm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = time.Time{}
}

// stop disarms for good.
func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watchdog) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fires = time.Time{}
	if w.deadline.IsZero() {
		return
	}
	if left := time.Until(w.deadline); left > 0 {
		w.wake(left)
		return
	}
	if w.hurried && w.which == limitTotal {
		w.cancel(deadlineError())
		return
	}
	w.cancel(timeoutError(w.which))
}
