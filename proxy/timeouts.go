package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Timeouts bound the parts of an exchange. Zero means the default, negative
// means no limit.
type Timeouts struct {
	// Connect bounds making a new connection, TLS included. It reaches
	// transports made by [NewTransport]. Default 5 s.
	Connect time.Duration
	// FirstByte bounds each try from its begin to the head of its answer.
	// Default 2 min: a model that answers in one piece thinks first.
	FirstByte time.Duration
	// Idle bounds each wait for the next bytes of an answer; time spent on a
	// slow client does not count. Default 1 min.
	Idle time.Duration
	// Total bounds the exchange from begin to end. Default 1 h.
	Total time.Duration
	// Tunnel bounds the silence, in both directions, of an upgraded
	// connection. Default 1 h.
	Tunnel time.Duration
}

func (t Timeouts) resolve() (Timeouts, error) {
	t.Connect = orDefault(t.Connect, 5*time.Second)
	t.FirstByte = orDefault(t.FirstByte, 2*time.Minute)
	t.Idle = orDefault(t.Idle, time.Minute)
	t.Total = orDefault(t.Total, time.Hour)
	t.Tunnel = orDefault(t.Tunnel, time.Hour)
	var faults []error
	for _, f := range []struct {
		name string
		d    time.Duration
	}{{"Connect", t.Connect}, {"FirstByte", t.FirstByte}, {"Idle", t.Idle}, {"Total", t.Total}, {"Tunnel", t.Tunnel}} {
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
	default:
		return "the whole took too long"
	}
}

// watchdog cancels one try when a wait takes too long. One timer serves all
// waits; it stands still while the gateway waits for the client instead.
type watchdog struct {
	timer  *time.Timer
	which  atomic.Int32
	total  time.Time // zero: no limit
	cancel context.CancelCauseFunc
}

func newWatchdog(cancel context.CancelCauseFunc, total time.Time) *watchdog {
	return &watchdog{cancel: cancel, total: total}
}

// arm begins a wait of at most d, or until the total limit.
func (w *watchdog) arm(l limit, d time.Duration) {
	if !w.total.IsZero() {
		if left := time.Until(w.total); d <= 0 || left < d {
			l, d = limitTotal, max(left, 0)
		}
	} else if d <= 0 {
		return
	}
	w.which.Store(int32(l))
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.fire)
		return
	}
	w.timer.Reset(d)
}

func (w *watchdog) disarm() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watchdog) fire() { w.cancel(timeoutError(limit(w.which.Load()))) }
