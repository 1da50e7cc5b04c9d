// Package recorded keeps the events of a part for tests.
package recorded

import (
	"context"
	"slices"
	"sync"
)

// Events are recorded events. The zero value is ready for use, by several goroutines too.
type Events[E any] struct {
	mu  sync.Mutex
	all []E
}

// On is an OnEvent.
func (r *Events[E]) On(_ context.Context, e E) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
}

// All returns all events so far.
func (r *Events[E]) All() []E {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// Where returns the events for which keep returns true.
func (r *Events[E]) Where(keep func(E) bool) (out []E) {
	for _, e := range r.All() {
		if keep(e) {
			out = append(out, e)
		}
	}
	return out
}
