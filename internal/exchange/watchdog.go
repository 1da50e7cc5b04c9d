package exchange

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Limit identifies the time limit that an attempt exceeded.
type Limit int32

// The limits.
const (
	LimitFirstByte Limit = iota
	LimitFirstContent
	LimitIdle
	LimitTotal
)

// String returns a text that clients may read.
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

// TimeoutError is ErrTimeout with the limit that was exceeded.
type TimeoutError struct {
	Limit Limit
	// Client reports that the client's pauses took most of the time.
	Client bool
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("%v: %v", ErrTimeout, e.Limit) }

// Unwrap returns ErrTimeout.
func (e *TimeoutError) Unwrap() error { return ErrTimeout }

// watchdog cancels an attempt when a wait takes too long. One timer serves all waits: when it
// fires too early it sleeps on, so that a token costs no timer operation. It is paused while
// the gateway waits for the client.
type watchdog struct {
	cancel  context.CancelCauseFunc
	start   time.Time
	total   time.Time // the deadline of the whole attempt; zero: none
	content time.Time // the deadline of the first content; zero: none, or it has come
	hurried bool      // total is the client's own limit: no upstream is to blame

	mu       sync.Mutex
	timer    *time.Timer
	fires    time.Time // when the timer fires; zero: it is not set
	deadline time.Time // of the current wait; zero: there is none
	which    Limit
	idle     time.Time // since when the upstream waits for the gateway; zero: it does not
	paused   time.Duration
	over     bool
}

// pauseShare is the divisor for the part of the attempt's time that client pauses may take
// before the client is blamed for LimitTotal.
const pauseShare = 10

func (w *watchdog) begin(cancel context.CancelCauseFunc, l *Limits, start time.Time) {
	w.cancel, w.start, w.total, w.hurried = cancel, start, l.Deadline, l.Hurried
}

// arm begins a wait of at most d, within the limits of the whole attempt.
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

// resume ends a pause that the upstream is not charged for. The caller holds mu.
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

// hasContent lifts the bound of expect.
func (w *watchdog) hasContent() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.content = time.Time{}
}

// wake makes the timer fire after d. The caller holds mu.
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

// stop disarms the watchdog permanently.
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
