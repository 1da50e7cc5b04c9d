package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/idle"
	"github.com/ginfer/ginfer/internal/reach"
)

// Reasons why a stream was ended.
var (
	// ErrIdle is returned when the handler wrote nothing for Config.Idle.
	ErrIdle = errors.New("stream: idle for too long")
	// ErrTotal is returned when the stream was open for Config.Total.
	ErrTotal = errors.New("stream: open for too long")
	// ErrDraining is returned when the process shuts down.
	ErrDraining = errors.New("stream: shutting down")
	// ErrSlowClient is returned when a write to the client did not complete in time.
	ErrSlowClient = errors.New("stream: the client does not read")
)

// Config configures Streams. Zero values select the defaults, negative ones disable.
type Config struct {
	// Heartbeat is the silence after which a comment is sent. Clients of Gemini's API, which
	// support no comments, get none. Default: 15 s.
	Heartbeat time.Duration
	// WriteTimeout bounds one write to the client, for responses of any type. Those that follow each
	// other closely share a deadline, so that one of them has three quarters of it at least. Default: 10 s.
	WriteTimeout time.Duration
	// Idle is the time without a write of the handler after which a stream is ended. Default:
	// 5 min.
	Idle time.Duration
	// Total is the age at which a stream is ended. Default: 0, off.
	Total time.Duration
	// ErrorEvent returns the event, encoded and complete, for a stream that a limit ends. It
	// must be safe for concurrent use. Default: [apierror.EventFor].
	ErrorEvent func(error) []byte
	// OnEvent is called after each stream has ended. Default: nil, no events.
	OnEvent func(context.Context, Event)
}

// Streams guards the event streams that pass through its middleware. It is safe for concurrent
// use.
type Streams struct {
	cfg      Config
	requests idle.Gate // some of which become streams

	mu   sync.Mutex
	open map[*guard]struct{}
	over bool // drained: later streams are ended at once
}

// New returns Streams, or an error if cfg is invalid.
func New(cfg Config) (*Streams, error) {
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 15*time.Second)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 10*time.Second)
	cfg.Idle = cmp.Or(cfg.Idle, 5*time.Minute)
	if cfg.Idle > 0 && cfg.Heartbeat >= cfg.Idle {
		return nil, fmt.Errorf("stream: Config.Heartbeat %v must be shorter than Config.Idle %v", cfg.Heartbeat, cfg.Idle)
	}
	return &Streams{cfg: cfg, open: map[*guard]struct{}{}}, nil
}

// Middleware is shorthand for New and [Streams.Middleware]. It panics if cfg is invalid.
func Middleware(cfg Config) gin.HandlerFunc {
	s, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return s.Middleware()
}

// Middleware returns the handler that guards the responses of the handlers after it.
func (s *Streams) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		inner := c.Writer
		ctx, cancel := context.WithCancelCause(c.Request.Context())
		g := &guard{ResponseWriter: inner, streams: s, req: c.Request, cancel: cancel, h2: c.Request.ProtoMajor == 2, plain: knowsNoComments(c.Request.URL.Path)}
		g.conn, g.packing = reach.Of(ctx, inner), inner.Header()["Content-Encoding"]
		c.Request = c.Request.WithContext(reach.Keep(ctx, g))
		c.Writer = g
		s.requests.Add()
		defer s.requests.Done()
		panicked := true
		// The context is not canceled here: handlers before this one may still need it. It ends
		// with the request's own.
		defer func() {
			g.finish(ctx, panicked)
			if !g.broken { // else a recovery handler must not write to it
				c.Writer = inner
			}
		}()
		c.Next()
		panicked = false
	}
}

// Open returns the number of streams in progress.
func (s *Streams) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Drain waits until all requests have ended, including those that begin meanwhile. When ctx
// ends first, it sends an error event on each remaining stream, cuts it, does the same with
// later ones, and returns an error. Stop accepting connections as well.
func (s *Streams) Drain(ctx context.Context) error {
	if err := s.requests.Wait(ctx); err != nil {
		s.endAll()
		return fmt.Errorf("%w: %w", ErrDraining, err)
	}
	return nil
}

// endAll ends each stream on a goroutine of its own: a client that does not read must not delay
// others.
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

// enter reports whether the stream may continue.
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

// begin and done count requests: any of them may become a stream until it has responded.

// knowsNoComments reports whether clients of the path's API fail on lines other than "data:".
// Google's SDKs drop an event after a comment, or fail.
func knowsNoComments(path string) bool { return strings.HasSuffix(path, ":streamGenerateContent") }
