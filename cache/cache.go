package cache

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache/internal/cachekey"
	"github.com/ginfer/ginfer/cache/internal/flight"
	attempts "github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/idle"
)

// maxRounds bounds how often a request looks again because something else became known.
const maxRounds = 6

// Cache serves stored responses, coalesces identical requests, and stores the responses
// that may be stored. It is safe for concurrent use.
type Cache struct {
	cfg         Config
	l1          func(key string, now time.Time) *Entry // a lookup without waiting; nil: there is none
	llm         *llmPolicy
	http        *httpPolicy
	idempotency *idempotencyPolicy

	fields      cachekey.Fields
	keyHeaders  *cachekey.Headers
	keys        cachekey.Pool
	generations generations
	flights     flight.Group[shared]

	synced    atomic.Bool // with Config.Purges
	syncing   sync.Mutex
	syncAgain time.Time

	refreshing atomic.Int64
	background idle.Gate // refreshes
}

// shared is what the leader of a flight shares with its followers beside the response.
type shared struct {
	mark string // of the leader's request

	// Of a response that varies: the key of the leader's variant, and what leads to it.
	key     string
	vary    []string
	variant string

	entry *Entry // instead of the response
	stale bool   // the entry is stale, and replaces an error
}

// New checks cfg and returns a Cache. The error joins every fault.
func New(cfg Config) (*Cache, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cache{
		cfg: cfg, fields: cachekey.NewFields(cfg.LLM.Fields, cfg.LLM.Ignored), keyHeaders: cachekey.NewHeaders(cfg.KeyHeaders),
		flights: flight.Group[shared]{Lag: cfg.MaxLag, Limit: cfg.MaxEntry},
	}
	c.llm, c.http, c.idempotency = &llmPolicy{cfg: &c.cfg}, newHTTPPolicy(c), &idempotencyPolicy{&c.cfg}
	switch s := cfg.Store.(type) {
	case *Memory:
		c.l1 = s.get
	case *Tiered:
		c.l1 = s.cfg.L1.get
	}
	return c, nil
}

// Middleware is New and [Cache.Middleware] in one. It panics on a bad Config.
func Middleware(cfg Config) gin.HandlerFunc {
	c, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return c.Middleware()
}

// Middleware returns the handler that serves from the cache, and records the responses of
// the handlers after it.
func (c *Cache) Middleware() gin.HandlerFunc { return c.handle }

// Drain waits until all background work has ended, or ctx ends: refreshes, and the writes
// of a [Tiered].
func (c *Cache) Drain(ctx context.Context) error {
	err := c.background.Wait(ctx)
	if err != nil {
		err = fmt.Errorf("cache: refreshes are under way: %w", err)
	}
	if t, ok := c.cfg.Store.(*Tiered); ok {
		err = fault.Join(err, t.Drain(ctx))
	}
	return err
}

func (c *Cache) notify(ctx context.Context, e Event) {
	if c.cfg.OnEvent != nil {
		c.cfg.OnEvent(ctx, e)
	}
}

func (c *Cache) handle(g *gin.Context) {
	switch {
	case g.Writer.Written() || isBackground(g): // it is too late
		g.Next()
		return
	case g.FullPath() == "":
		c.passUnrouted(g)
		return
	}
	var isFirst bool
	if g.Request, isFirst = attempts.Enter(g.Request, c); !isFirst {
		return
	}
	defer attempts.Leave(g.Request, c)
	x := &exchange{Cache: c, request: request{start: time.Now()}}
	x.init(g, &c.cfg)
	x.incoming = g.Request
	x.known = c.sync(x.ctx)
	reason, err := x.plan()
	switch {
	case err != nil:
		x.status.Forward = "bypass"
		x.refuse(err)
	case reason != "":
		x.bypass(x.status.Forward, reason)
	default:
		x.status.Policy = x.policy.String()
		x.serve()
	}
}

// serve responds to a request that has a key: from this process, as the leader of a
// flight, which also looks in the store, or as the follower of one.
func (x *exchange) serve() {
	if x.control.OnlyIfCached || x.ranged || x.incoming.Method == http.MethodHead {
		x.serveStored()
		return
	}
	var failed *flight.Flight[shared]
	for range maxRounds {
		if !x.refetch && x.fromL1() {
			return
		}
		f, reader, leads := x.join(failed)
		if leads {
			if x.lead(f, reader) {
				return
			}
			continue
		}
		failed = nil
		switch x.follow(f, reader) {
		case done:
			return
		case lookAgain:
		case leadNext:
			failed = f
		case goAlone:
			x.alone()
			return
		}
	}
	x.alone()
}

// join joins or begins the flight for the request: one of its own, the one of its key, or
// the successor of one that failed.
func (x *exchange) join(failed *flight.Flight[shared]) (f *flight.Flight[shared], r *flight.Reader, leads bool) {
	s := shared{mark: x.mark}
	switch {
	case x.refetch || x.http.unshared.After(x.key, x.start):
		f, r = x.flights.Solo(x.ctx, s)
		return f, r, true
	case failed != nil:
		return x.flights.Succeed(x.ctx, failed, x.key, s)
	}
	return x.flights.Join(x.ctx, x.key, s)
}
