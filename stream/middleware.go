package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Why a stream was ended.
var (
	// ErrIdle: nothing came from the handler for too long.
	ErrIdle = errors.New("stream: idle for too long")
	// ErrTotal: it was open for too long.
	ErrTotal = errors.New("stream: open for too long")
	// ErrDraining: the process ends.
	ErrDraining = errors.New("stream: shutting down")
	// ErrSlowClient: the client did not take a write in time.
	ErrSlowClient = errors.New("stream: the client does not read")
)

// Config says how streams are guarded. Zero means the default, negative means off.
type Config struct {
	// Heartbeat is the silence after which a comment is sent, but to clients of Gemini's
	// API, which know none. Default 15 s.
	Heartbeat time.Duration
	// WriteTimeout is how long one write to the client may take, in answers of
	// any type. Default 10 s.
	WriteTimeout time.Duration
	// Idle ends a stream whose handler has written nothing for so long.
	// Default 5 min.
	Idle time.Duration
	// Total ends a stream of this age. Default off.
	Total time.Duration
	// ErrorEvent is what a stream is told that is ended by a limit: one whole
	// event. Default [apierror.EventFor]. It must be safe for concurrent use.
	ErrorEvent func(error) []byte
	// OnEvent is told of every stream that ended. Optional.
	OnEvent func(context.Context, Event)
}

// Streams guards the streams that pass through its middleware. It is safe for
// concurrent use.
type Streams struct {
	cfg Config

	mu     sync.Mutex
	active int // requests, of which some will become streams
	open   map[*guard]struct{}
	over   bool          // drained: later streams are ended at once
	empty  chan struct{} // closed when the last request ends; nil: nobody waits
}

// New checks cfg and returns Streams.
func New(cfg Config) (*Streams, error) {
	cfg.Heartbeat = orDefault(cfg.Heartbeat, 15*time.Second)
	cfg.WriteTimeout = orDefault(cfg.WriteTimeout, 10*time.Second)
	cfg.Idle = orDefault(cfg.Idle, 5*time.Minute)
	if cfg.Idle > 0 && cfg.Heartbeat >= cfg.Idle {
		return nil, fmt.Errorf("stream: Config.Heartbeat %v must be shorter than Config.Idle %v", cfg.Heartbeat, cfg.Idle)
	}
	return &Streams{cfg: cfg, open: map[*guard]struct{}{}}, nil
}

// Middleware is New and [Streams.Middleware] in one. It panics on a bad Config.
func Middleware(cfg Config) gin.HandlerFunc {
	s, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return s.Middleware()
}

// Middleware returns the handler that guards the answers of those after it.
func (s *Streams) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		inner := c.Writer
		ctx, cancel := context.WithCancelCause(c.Request.Context())
		g := &guard{ResponseWriter: inner, streams: s, req: c.Request, cancel: cancel, h2: c.Request.ProtoMajor == 2, plain: knowsNoComments(c.Request.URL.Path)}
		c.Request = c.Request.WithContext(ctx)
		c.Writer = g
		s.begin()
		defer s.done()
		panicked := true
		// The context is not cancelled here: handlers before this one may still
		// need it. It ends with the request's own.
		defer func() {
			g.finish(ctx, panicked)
			if !g.broken { // else whoever recovers must not mend it
				c.Writer = inner
			}
		}()
		c.Next()
		panicked = false
	}
}

// Open is the number of streams that have begun and not ended.
func (s *Streams) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Drain waits until all requests have ended, also those that begin meanwhile.
// When ctx ends first, the rest get an error event and are cut, like any that
// begin later, and the error is ctx's. Stop accepting connections besides.
func (s *Streams) Drain(ctx context.Context) error {
	for {
		wait := s.untilEmpty()
		if wait == nil {
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			s.endAll()
			return fmt.Errorf("%w: %w", ErrDraining, ctx.Err())
		}
	}
}

// untilEmpty returns a channel that is closed when no request is left, or nil
// when none is now.
func (s *Streams) untilEmpty() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == 0 {
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	return s.empty
}

// endAll ends each in a goroutine of its own: a client that does not read must
// not hold up the others.
func (s *Streams) endAll() {
	s.mu.Lock()
	s.over = true
	rest := make([]*guard, 0, len(s.open))
	for g := range s.open {
		rest = append(rest, g)
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, g := range rest {
		wg.Go(func() { g.stop(ErrDraining) })
	}
	wg.Wait()
}

// enter reports whether the stream may go on.
func (s *Streams) enter(g *guard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[g] = struct{}{}
	return !s.over
}

func (s *Streams) leave(g *guard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, g)
}

// begin and done count requests: one that has not answered yet may become a
// stream at any moment.
func (s *Streams) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active++
}

func (s *Streams) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.active == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// knowsNoComments reports whether clients of the API at the path take what does not begin with
// "data:" for no event: with a comment before it, Google's SDKs drop an event or fail.
func knowsNoComments(path string) bool { return strings.HasSuffix(path, ":streamGenerateContent") }

func orDefault(v, def time.Duration) time.Duration {
	if v == 0 {
		return def
	}
	return v
}
