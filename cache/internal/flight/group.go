package flight

import (
	"context"
	"sync"
)

// MaxAttempts is how many leaders may attempt to produce a response, one after another.
const MaxAttempts = 2

// Flight is one production of a response: for its leader, and for the followers that
// requested the same in the meantime.
type Flight[S any] struct {
	*Response
	// Attempt is 1, or more if the flight succeeds one that failed.
	Attempt int
	// Shared is what the leader shares beside the response. What it was begun with may be
	// read at once, what is set before Resolve only after Ready.
	Shared S

	keys []string   // under which it is found; guarded by the group
	next *Flight[S] // its successor if it failed; guarded by the group
}

// Group is a set of flights by key. It is safe for concurrent use.
type Group[S any] struct {
	// Lag is how many bytes a reader may be behind while others are not. Limit is how
	// many bytes are buffered for readers that join later.
	Lag, Limit int64

	mu      sync.Mutex
	flights map[string]*Flight[S]
}

// Join joins the flight of a key, or begins one and leads it.
func (g *Group[S]) Join(ctx context.Context, key string, shared S) (f *Flight[S], r *Reader, leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flights[key]; f != nil {
		if r, ok := f.body.join(false); ok {
			return f, r, false
		}
		g.drop(f)
	}
	f, r = g.lead(ctx, key, shared, 1)
	return f, r, true
}

// Succeed joins the successor of a flight that failed, or begins it and leads it. All
// followers of the first get the outcome of the second, even after its end; then the
// reader is nil.
func (g *Group[S]) Succeed(ctx context.Context, failed *Flight[S], key string, shared S) (f *Flight[S], r *Reader, leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop(failed)
	if failed.next == nil && g.flights[key] != nil { // a later request was faster
		failed.next = g.flights[key]
	}
	if f := failed.next; f != nil {
		r, _ := f.body.join(false)
		return f, r, false
	}
	f, r = g.lead(ctx, key, shared, failed.Attempt+1)
	failed.next = f
	return f, r, true
}

// lead begins a flight. The caller holds mu.
func (g *Group[S]) lead(ctx context.Context, key string, shared S, attempt int) (*Flight[S], *Reader) {
	f := g.begin(ctx, shared, attempt, false)
	g.add(f, key)
	r, _ := f.body.join(true) // a new one accepts readers
	return f, r
}

// Pin begins a flight that continues without readers, unless the key has a flight.
func (g *Group[S]) Pin(ctx context.Context, key string, shared S) (*Flight[S], bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[key] != nil {
		return nil, false
	}
	f := g.begin(ctx, shared, 1, true)
	g.add(f, key)
	return f, true
}

// Solo begins a flight that has no followers.
func (g *Group[S]) Solo(ctx context.Context, shared S) (*Flight[S], *Reader) {
	f := g.begin(ctx, shared, MaxAttempts, false)
	r, _ := f.body.join(true) // a new one accepts readers
	return f, r
}

func (g *Group[S]) begin(ctx context.Context, shared S, attempt int, pinned bool) *Flight[S] {
	f := &Flight[S]{Attempt: attempt, Shared: shared}
	f.Response = newResponse(ctx, g.Lag, g.Limit, pinned, func() { g.Remove(f) })
	return f
}

func (g *Group[S]) add(f *Flight[S], key string) {
	if g.flights == nil {
		g.flights = map[string]*Flight[S]{}
	}
	g.flights[key] = f
	f.keys = append(f.keys, key)
}

// Alias makes a flight of the group known under a second key, unless that has one.
func (g *Group[S]) Alias(f *Flight[S], key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(f.keys) > 0 && g.flights[key] == nil {
		g.add(f, key)
	}
}

// Remove removes a flight, so that it gets no more followers.
func (g *Group[S]) Remove(f *Flight[S]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop(f)
}

func (g *Group[S]) drop(f *Flight[S]) {
	for _, key := range f.keys {
		if g.flights[key] == f {
			delete(g.flights, key)
		}
	}
	f.keys = nil
}
