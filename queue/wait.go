package queue

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/apierror"
)

// waiters are woken when something about an ID is new.
type waiters struct {
	max int

	mu   sync.Mutex
	all  map[string]map[chan struct{}]struct{}
	size int
}

func newWaiters(most int) *waiters {
	return &waiters{max: most, all: map[string]map[chan struct{}]struct{}{}}
}

// add returns a channel that gets a word at every change, until leave is called.
func (w *waiters) add(id string) (news <-chan struct{}, leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.size >= w.max {
		return nil, nil, &apierror.Error{Status: http.StatusServiceUnavailable, Code: "too_many_waiters", Message: "Too many clients wait.", RetryAfter: time.Second, Err: ErrLimit}
	}
	c := make(chan struct{}, 1)
	if w.all[id] == nil {
		w.all[id] = map[chan struct{}]struct{}{}
	}
	w.all[id][c] = struct{}{}
	w.size++
	return c, func() { w.leave(id, c) }, nil
}

func (w *waiters) leave(id string, c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all[id], c)
	if len(w.all[id]) == 0 {
		delete(w.all, id)
	}
	w.size--
}

func (w *waiters) wake(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.all[id] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// runs are the requests under way in this process, so that they can be stopped.
type runs struct {
	mu  sync.Mutex
	all map[string]map[*context.CancelCauseFunc]struct{}
}

func newRuns() *runs { return &runs{all: map[string]map[*context.CancelCauseFunc]struct{}{}} }

// errStopped is the cause of a run that its owner stopped.
type stopped struct{}

// Error says so.
func (stopped) Error() string { return "queue: stopped by its owner" }

// enter returns a context for a run under an ID; leave ends it.
func (r *runs) enter(ctx context.Context, id string, timeout time.Duration) (run context.Context, leave func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ctx, end := context.WithTimeout(ctx, timeout)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[id] == nil {
		r.all[id] = map[*context.CancelCauseFunc]struct{}{}
	}
	r.all[id][&cancel] = struct{}{}
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.all[id], &cancel)
		if len(r.all[id]) == 0 {
			delete(r.all, id)
		}
		end()
		cancel(nil)
	}
}

func (r *runs) stop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for cancel := range r.all[id] {
		(*cancel)(stopped{})
	}
}
