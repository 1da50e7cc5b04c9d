package cache

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// maxRounds bounds how often a request looks again because something else became known.
const maxRounds = 6

// Cache answers requests from what it has, merges those that ask for the same, and keeps
// what may be kept. It is safe for concurrent use.
type Cache struct {
	cfg         Config
	near        func(key string, now time.Time) *Entry // what needs no waiting; nil: there is none
	llm         *llmPolicy
	http        *httpPolicy
	idempotency *idempotency
	fields      map[string]field
	keyHeaders  *nameSet

	generations generations
	flights     flights
	scratches   sync.Pool
	lonely      recently // keys whose answers are each client's own
	changed     recently // addresses that were changed, by an unsafe method

	synced    atomic.Bool
	syncing   sync.Mutex
	syncAgain time.Time

	refreshing atomic.Int64
	background work
}

// New checks cfg and returns a Cache. The error joins every fault.
func New(cfg Config) (*Cache, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cache{cfg: cfg, llm: &llmPolicy{}, http: &httpPolicy{}, idempotency: &idempotency{}}
	c.scratches.New = newScratch
	c.fields = knownFields(cfg.LLM)
	c.keyHeaders = allKeyHeaders(cfg.KeyHeaders)
	switch s := cfg.Store.(type) {
	case *Memory:
		c.near = s.get
	case *Tiered:
		c.near = s.cfg.L1.get
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

// Middleware returns the handler that answers from the cache, and records the answers of
// the handlers after it.
func (c *Cache) Middleware() gin.HandlerFunc { return c.handle }

// Drain waits until everything is done that goes on beside requests, or ctx ends:
// refreshes, and the writes of a [Tiered].
func (c *Cache) Drain(ctx context.Context) error {
	err := c.background.wait(ctx)
	if t, ok := c.cfg.Store.(*Tiered); ok {
		err = errors.Join(err, t.Drain(ctx))
	}
	return err
}

func (c *Cache) tell(ctx context.Context, e Event) {
	if c.cfg.OnEvent != nil {
		c.cfg.OnEvent(ctx, e)
	}
}

func (c *Cache) handle(g *gin.Context) {
	if g.FullPath() == "" || g.Writer.Written() || isBackground(g) { // no route, or it is too late
		g.Next()
		return
	}
	x := &exchange{Cache: c, g: g, w: g.Writer, start: time.Now()}
	x.inner = statusContext{g.Request.Context(), &x.status}
	x.client = &x.inner
	x.req = g.Request.WithContext(x.client)
	g.Request = x.req
	x.synced = c.sync(x.client)
	reason, err := x.makePlan()
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

// serve answers a request that has a key.
func (x *exchange) serve() {
	if x.control.OnlyIfCached || x.req.Method == http.MethodHead {
		x.serveKept()
		return
	}
	var before *flight // one that failed
	for range maxRounds {
		if !x.refetch && x.fromNear() {
			return
		}
		f, r, leader := x.board(before)
		switch {
		case leader && x.lead(f, r):
			return
		case leader:
			continue
		case x.conflicts(f):
			f.tape.leave(r)
			return
		}
		before = nil
		switch how := x.follow(f, r); how {
		case live:
			return
		case failed:
			before = f
		case alone:
			x.alone()
			return
		case pending, stored, again:
		}
	}
	x.alone()
}

// board finds the flight that answers the request: of its own, one under way, or the one
// after one that failed.
func (x *exchange) board(before *flight) (f *flight, r *reader, leader bool) {
	switch {
	case x.refetch || x.lonely.has(x.key, x.start):
		f, r = x.flights.solo(x)
		return f, r, true
	case before != nil:
		return x.flights.succeed(before, x)
	}
	return x.flights.join(x)
}

// fromNear answers from what this process has, if it does.
func (x *exchange) fromNear() bool {
	if x.near == nil {
		return false
	}
	now := time.Now()
	e := x.near(x.key, now)
	if e != nil && e.Status == 0 && x.toVariant(e) {
		e = x.near(x.key, now)
	}
	if e == nil || e.Status == 0 {
		return false
	}
	v, err := x.policy.judge(x, e, now)
	if err != nil {
		x.refuse(err)
		return true
	}
	if !v.usable() || !x.hit(e, now) {
		return false
	}
	if v == useAndRefresh {
		x.refresh(e)
	}
	return true
}

// serveKept answers from what is kept, or not at all: the client wants nothing else, or
// a head only, which is the upstream's business.
func (x *exchange) serveKept() {
	now := time.Now()
	e := x.lookup(x.client)
	if e != nil && e.Status == 0 && x.toVariant(e) {
		e = x.lookup(x.client)
	}
	if e != nil && e.Status != 0 {
		if v, err := x.policy.judge(x, e, now); err == nil && v.usable() && x.hit(e, now) {
			return
		}
	}
	x.status.Detail = ""
	if x.control.OnlyIfCached {
		x.forward(nil)
		x.refuse(refusal(http.StatusGatewayTimeout, "only_if_cached", "There is no answer in the cache."))
		return
	}
	x.bypass("method", "head")
}

// leaderLookup looks for an entry on behalf of a flight. Moved: there is another key to
// look at.
func (x *exchange) leaderLookup(f *flight) (stale *Entry, done, moved bool) {
	if x.refetch && x.policy != policy(x.http) {
		return nil, false, false
	}
	now := time.Now()
	e := x.lookup(f.ctx)
	if e != nil && e.Status == 0 {
		if x.toVariant(e) {
			x.flights.remove(f)
			f.resolve(again, nil)
			return nil, false, true
		}
		e = nil
	}
	if e == nil {
		e = x.similar(f.ctx)
	}
	if e == nil {
		return nil, false, false
	}
	v, err := x.policy.judge(x, e, now)
	switch {
	case err != nil:
		f.resolve(stored, func() { f.entry = e })
		x.refuse(err)
		return nil, true, false
	case v == validate:
		return e, false, false
	case !v.usable():
		return nil, false, false
	}
	a, ok := x.policy.render(x, e, now)
	if !ok {
		return nil, false, false
	}
	f.resolve(stored, func() { f.entry = e })
	x.flights.remove(f)
	x.announce(e, now)
	x.send(a)
	if v == useAndRefresh {
		x.refresh(e)
	}
	return nil, true, false
}

// lookup asks the store. One that does not answer has nothing.
func (x *exchange) lookup(ctx context.Context) *Entry {
	if !x.synced {
		if x.near == nil {
			return nil
		}
		return x.near(x.key, time.Now())
	}
	e, err := x.cfg.Store.Get(ctx, x.key)
	if err == nil {
		return e
	}
	if !errors.Is(err, ErrNotFound) {
		x.failed(ctx, err)
	}
	return nil
}
