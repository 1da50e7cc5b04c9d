package main

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// cutGrace is how long streams that were told to end may take to do so.
const cutGrace = 2 * time.Second

// shutdown ends the gateway in the order that loses nothing: readiness fails,
// then the port closes, then open requests and streams finish; those that
// remain at the deadline get an error event and are cut. A second signal cuts
// at once.
func (g *gateway) shutdown(p *ports, signals <-chan os.Signal) int {
	cfg := g.current.Load().cfg.Drain
	timeout := time.Duration(orDefault(cfg.Timeout, Duration(30*time.Second)))
	g.ready.Store(false)
	g.log.Info("draining", "delay", time.Duration(cfg.Delay), "timeout", timeout)

	ctx, hurry := context.WithCancel(context.Background())
	defer hurry()
	go func() {
		select {
		case <-signals:
			hurry()
		case <-ctx.Done():
		}
	}()
	pause(ctx, time.Duration(cfg.Delay))
	whole := g.finish(ctx, p, timeout)
	_ = p.private.server.Close()
	if !whole {
		g.log.Error("ended; some requests were cut")
		return exitFailed
	}
	g.log.Info("ended; nothing was cut")
	return exitOK
}

// finish closes the public port, lets everything on it end until the timeout
// or the end of ctx, and reports whether all of it did.
func (g *gateway) finish(ctx context.Context, p *ports, timeout time.Duration) bool {
	deadline, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var cut atomic.Bool
	var wg sync.WaitGroup
	for _, a := range g.apps() {
		for _, group := range a.groups {
			wg.Go(func() {
				if group.drain(deadline) != nil {
					cut.Store(true)
				}
			})
		}
	}
	wg.Go(func() {
		if p.public.server.Shutdown(deadline) == nil {
			return
		}
		cut.Store(true)
		last, cancel := context.WithTimeout(context.WithoutCancel(deadline), cutGrace)
		defer cancel()
		if p.public.server.Shutdown(last) != nil {
			_ = p.public.server.Close()
		}
	})
	wg.Wait()
	return !cut.Load()
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
