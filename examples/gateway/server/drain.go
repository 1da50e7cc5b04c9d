package server

import (
	"cmp"
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// cutGrace is how long streams that have to end may take to do so.
const cutGrace = 2 * time.Second

// Shutdown ends the gateway in the order that loses nothing: readiness fails,
// then the port closes, then open requests and streams finish; those that
// remain at the deadline get an error event and are cut. A second signal cuts
// at once. It reports whether nothing was cut.
func (s *Server) Shutdown(signals <-chan os.Signal) bool {
	cfg, logger := s.g.Current().Config.Drain, s.g.Log()
	timeout := cmp.Or(time.Duration(cfg.Timeout), 30*time.Second)
	s.g.SetReady(false)
	logger.Info("draining", "delay", time.Duration(cfg.Delay), "timeout", timeout)

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
	whole := s.finish(ctx, timeout)
	_ = s.private.server.Close()
	if !whole {
		logger.Error("ended; some requests were cut")
		return false
	}
	logger.Info("ended; nothing was cut")
	return true
}

// finish closes the public port, lets everything on it end until the timeout
// or the end of ctx, and reports whether all of it did.
func (s *Server) finish(ctx context.Context, timeout time.Duration) bool {
	deadline, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var cut atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		if !s.g.Drain(deadline) {
			cut.Store(true)
		}
	})
	wg.Go(func() {
		if s.public.server.Shutdown(deadline) == nil {
			return
		}
		cut.Store(true)
		last, cancel := context.WithTimeout(context.WithoutCancel(deadline), cutGrace)
		defer cancel()
		if s.public.server.Shutdown(last) != nil {
			_ = s.public.server.Close()
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
