// Package idle waits until nothing is under way. The parts use it for their Drain methods.
//
// On failure there is nothing to decide: Wait returns the error of its context.
package idle

import (
	"context"
	"sync"
)

// Gate counts what is under way, and lets others wait until the count is zero. Unlike a
// sync.WaitGroup it can be waited for with a context, and work may begin while something
// waits. The zero value is ready for use; it is safe for concurrent use.
type Gate struct {
	mu    sync.Mutex
	count int
	idle  chan struct{} // closed at zero; nil while nothing waits
}

// Add counts the beginning of one piece of work.
func (g *Gate) Add() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count++
}

// Done counts the end of one piece of work.
func (g *Gate) Done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count--; g.count == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// Go runs f in a goroutine and counts it until f returns, also by a panic.
func (g *Gate) Go(f func()) {
	g.Add()
	go func() {
		defer g.Done()
		f()
	}()
}

// Len returns how much is under way.
func (g *Gate) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

// Wait returns nil as soon as nothing is under way, or the cause of ctx when that ends first.
func (g *Gate) Wait(ctx context.Context) error {
	for {
		idle := g.channel()
		if idle == nil {
			return nil
		}
		select {
		case <-idle: // unless something has begun since
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// channel is closed once nothing is under way; nil when that is so already.
func (g *Gate) channel() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count > 0 && g.idle == nil {
		g.idle = make(chan struct{})
	}
	return g.idle
}
