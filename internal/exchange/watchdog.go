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
type TimeoutError struct {
	Limit Limit
	// Client: it was mostly the client's pauses that took the time.
	Client bool
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("%v: %v", ErrTimeout, e.Limit) }

// Unwrap is ErrTimeout.
func (e *TimeoutError) Unwrap() error { return ErrTimeout }

// watchdog cancels one attempt when a wait takes too long. One timer serves all waits. It
// is not set anew for each: when it fires too early it sleeps on, so that a token costs no
// timer operation. It stands still while the gateway waits for the client instead.
type watchdog struct {
	cancel  context.CancelCauseFunc
	start   time.Time
	total   time.Time // when everything must have ended; zero: no limit
	content time.Time // when the first content must have come; zero: no limit, or it has
	hurried bool      // total is the client's own limit: no upstream is to blame

	mu       sync.Mutex
	timer    *time.Timer
	fires    time.Time // when timer does; zero: it does not
	deadline time.Time // of the wait; zero: nothing is waited for
	which    Limit
	idle     time.Time // since when the upstream waits for the gateway; zero: it does not
	paused   time.Duration
	over     bool
}

// pauseShare is which part of the whole time the client's pauses may take, before it is they
// that the whole took too long for.
const pauseShare = 10

func (w *watchdog) begin(cancel context.CancelCauseFunc, l *Limits, start time.Time) {
	w.cancel, w.start, w.total, w.hurried = cancel, start, l.Deadline, l.Hurried
}

// arm begins a wait of at most d, or until the limits of the whole.
func (w *watchdog) arm(l Limit, now time.Time, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	w.resume(now)
	deadline, which := w.total, LimitTotal
	if !w.content.IsZero() && (deadline.IsZero() || w.content.Before(deadline)) {
		deadline, which = w.content, LimitFirstContent
	}
	if d > 0 {
		if end := now.Add(d); deadline.IsZero() || end.Before(deadline) {
			deadline, which = end, l
		}
	}
	w.deadline, w.which = deadline, which
	if !deadline.IsZero() && (w.fires.IsZero() || deadline.Before(w.fires)) {
		w.wake(deadline.Sub(now))
	}
}

// resume ends a pause of the gateway's own, which the upstream is not charged for. The
// caller holds mu.
func (w *watchdog) resume(now time.Time) {
	if w.idle.IsZero() {
		return
	}
	pause := now.Sub(w.idle)
	w.idle = time.Time{}
	w.paused += pause
	if !w.content.IsZero() {
		w.content = w.content.Add(pause)
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

// disarm ends a wait.
func (w *watchdog) disarm(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = time.Time{}
	if w.idle.IsZero() {
		w.idle = now
	}
}

// stop disarms for good.
func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline, w.over = time.Time{}, true
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
	now := time.Now()
	if left := w.deadline.Sub(now); left > 0 {
		w.wake(left)
		return
	}
	isTotal := w.which == LimitTotal
	if w.hurried && isTotal {
		w.cancel(ErrDeadline)
		return
	}
	w.cancel(&TimeoutError{Limit: w.which, Client: isTotal && w.paused > now.Sub(w.start)/pauseShare})
}
