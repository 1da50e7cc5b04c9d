package queue

import (
	"context"
	"sync"
	"time"
)

// runs are the requests that run in this process, so that they can be stopped.
type runs struct {
	mu  sync.Mutex
	all map[string]map[*context.CancelCauseFunc]struct{}
}

func newRuns() *runs { return &runs{all: map[string]map[*context.CancelCauseFunc]struct{}{}} }

// stoppedError is the cause of a run that its owner stopped.
type stoppedError struct{}

// Error implements error.
func (stoppedError) Error() string { return "queue: stopped by its owner" }

// enter returns the context of a run under an ID, until leave is called.
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

// stop ends the runs under an ID.
func (r *runs) stop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for cancel := range r.all[id] {
		(*cancel)(stoppedError{})
	}
}
