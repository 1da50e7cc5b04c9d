package exchange

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Limit is which part of an attempt took too long.
type Limit int32

// The parts.
const (
	LimitFirstByte Limit = iota
	LimitFirstContent
	LimitIdle
	LimitTotal
)

// String names the limit as a client may read it.
func (l Limit) String() string {
	switch l {
	case LimitFirstByte:
		return "no response began in time"
	case LimitFirstContent:
		return "the response had no content in time"
	case LimitIdle:
		return "the response paused too long"
	case LimitTotal:
		return "the whole took too long"
	}
	return ""
}

// TimeoutError is ErrTimeout with the limit that passed.
type TimeoutError struct{ Limit Limit }

func (e *TimeoutError) Error() string { return fmt.Sprintf("%v: %v", ErrTimeout, e.Limit) }

// Unwrap is ErrTimeout.
func (e *TimeoutError) Unwrap() error { return ErrTimeout }

// watchdog cancels one attempt when a wait takes too long. One timer serves all waits. It
// is not set anew for each: when it fires too early it sleeps on, so that a token costs no
// timer operation. It stands still while the gateway waits for the client instead.
type watchdog struct {
	cancel  context.CancelCauseFunc
	total   time.Time // when everything must have ended; zero: no limit
	content time.Time // when the first content must have come; zero: no limit, or it has
	hurried bool      // total is the client's own limit: no upstream is to blame

	mu       sync.Mutex
	timer    *time.Timer
	fires    time.Time // when timer does; zero: it does not
	deadline time.Time // of the wait; zero: nothing is waited for
	which    Limit
}

// arm begins a wait of at most d, or until the limits of the whole.
func (w *watchdog) arm(l Limit, now time.Time, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	deadline, which := w.total, LimitTotal
	if !w.content.IsZero() && (deadline.IsZero() || w.content.Before(deadline)) {
		deadline, which = w.content, LimitFirstContent
	}
	if d > 0 {
		if end := now.Add(d); deadline.IsZero() || end.Before(deadline) {
			deadline, which = end, l
		}
	}
	if deadline.IsZero() {
		return
	}
	w.deadline, w.which = deadline, which
	if w.fires.IsZero() || deadline.Before(w.fires) {
		w.wake(deadline.Sub(now))
	}
}

// expect bounds the time to the first content.
func (w *watchdog) expect(by time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.content.IsZero() || by.Before(w.content) {
		w.content = by
	}
}

// hasContent lifts that bound.
func (w *watchdog) hasContent() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.content = time.Time{}
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
	if w.hurried && w.which == LimitTotal {
		w.cancel(ErrDeadline)
		return
	}
	w.cancel(&TimeoutError{w.which})
}
