package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
)

// ErrLimited is returned when a limit is reached. Its status is 429.
var ErrLimited = errors.New("ratelimit: limit reached")

// Config configures a Limiter. Either Key and Rate, or Limits, are required.
type Config struct {
	// Key, Rate and Burst are the short form of a single Limit.
	Key   func(*gin.Context) (string, error)
	Rate  Rate
	Burst int64
	// Limits apply together: a request that one of them refuses costs nothing in the
	// others.
	Limits []Limit
	// Store keeps the buckets. Limits of the same name in one Store share their buckets, so
	// they must have the same size; without a name also the same Key. While any store but a [Shared] is down, requests are
	// refused (closed). Default: a [Memory] of its own.
	Store Store
	// Resize lets this one change the size of a limit that another one in this process has
	// made in Store, as after a reload. Default: false; it is an error.
	Resize bool
	// Lease is the time for which tokens are leased from a Store other than a Memory, so
	// that few requests wait for it. Default: 100 ms; negative: every request calls Store.
	Lease time.Duration
	// Wait queues requests over the limit. Default: they are refused at once.
	Wait Wait
	// Shadow is shadow mode (dry run): refusals are reported as WouldRefuse, and the
	// requests are let in, without headers. It excludes Wait. Default: false.
	Shadow bool
	// HideHeaders omits RateLimit and x-ratelimit-* from responses; Retry-After remains.
	// Default: false.
	HideHeaders bool
	// ErrorHandler responds to refused requests. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is called with every decision. Optional.
	OnEvent func(context.Context, Event)
}

// Limiter limits requests. It is safe for concurrent use.
type Limiter struct {
	cfg    Config
	limits []*limit
	store  Store
	queue  *queue // nil: no request waits
	calls  sync.Pool
}

// call is the charges of one request, in pooled memory.
type call struct {
	charges []Charge
	limits  []*limit // of the charges
}

// New checks cfg and returns a Limiter. The error joins every fault.
func New(cfg Config) (*Limiter, error) {
	one := Limit{Key: cfg.Key, Rate: cfg.Rate, Burst: cfg.Burst}
	def := defaults{config: "Config", name: "requests", seconds: 1}
	limits, err := compile(cfg.Limits, one, def)
	if cfg.Shadow && cfg.Wait.Max > 0 {
		err = fault.Join(err, errors.New("ratelimit: Config.Shadow and Config.Wait exclude each other"))
	}
	if err := fault.Join(err, cfg.Wait.complete()); err != nil {
		return nil, err
	}
	store, err := orMemory(cfg.Store)
	if err != nil {
		return nil, err
	}
	if err := register(store, limits, def, cfg.Resize); err != nil {
		return nil, err
	}
	if _, ok := store.(*Memory); !ok && cfg.Lease >= 0 {
		store = newLeases(store, cmp.Or(cfg.Lease, 100*time.Millisecond))
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	l := &Limiter{cfg: cfg, limits: limits, store: store}
	l.calls.New = func() any { return new(call) }
	if cfg.Wait.Max > 0 {
		l.queue = newQueue(cfg.Wait, store)
	}
	return l, nil
}

func orMemory(store Store) (Store, error) {
	if store == nil {
		return NewMemory(MemoryConfig{})
	}
	return store, nil
}

// Middleware combines New and [Limiter.Middleware]. It panics on an invalid Config.
func Middleware(cfg Config) gin.HandlerFunc {
	l, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return l.Middleware()
}

// Middleware returns the handler that lets requests in or refuses them. A request that passes it
// twice, on a group and a route or after gin's HandleContext, is charged once.
func (l *Limiter) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		var isFirst bool
		if c.Request, isFirst = exchange.Enter(c.Request, l); !isFirst {
			return
		}
		if err := l.handle(c); err != nil {
			exchange.Leave(c.Request, l)
			c.Abort() // whatever ErrorHandler does
			l.cfg.ErrorHandler(c, err)
		}
	}
}

func (l *Limiter) handle(c *gin.Context) error {
	one, _ := l.calls.Get().(*call)
	defer l.calls.Put(one)
	ctx := c.Request.Context()
	waited, err := l.take(c, one)
	if err != nil {
		return l.refused(ctx, Event{Err: err})
	}
	if !l.cfg.HideHeaders && !l.cfg.Shadow {
		setHeaders(c.Writer.Header(), "requests", one)
	}
	if i := refusal(one.charges); i >= 0 {
		charge := &one.charges[i]
		return l.refused(ctx, Event{Limit: charge.Limit, Key: charge.Key, Wait: charge.Wait, Err: one.limits[i].refuse(charge, "requests")})
	}
	l.notify(ctx, Event{Kind: Allowed, Wait: waited})
	return nil
}

// refused reports a refusal and returns its error: nil in shadow mode.
func (l *Limiter) refused(ctx context.Context, e Event) error {
	if l.cfg.Shadow {
		e.Kind = WouldRefuse
		l.notify(ctx, e)
		return nil
	}
	e.Kind = Refused
	l.notify(ctx, e)
	return e.Err
}

// take takes the charges, at once or after a wait. It records a refusal in the charges.
func (l *Limiter) take(c *gin.Context, one *call) (waited time.Duration, err error) {
	if err := one.fill(c, l.limits, 1); err != nil || len(one.charges) == 0 {
		return 0, err
	}
	if l.queue == nil {
		err = l.store.Take(c.Request.Context(), one.charges)
	} else {
		waited, err = l.queue.take(c, one.charges)
	}
	if err != nil {
		err = unavailable(c.Request.Context(), err)
	}
	return waited, err
}

func (l *Limiter) notify(ctx context.Context, e Event) {
	if l.cfg.OnEvent != nil {
		l.cfg.OnEvent(ctx, e)
	}
}

// fill creates a charge for each limit that applies.
func (one *call) fill(c *gin.Context, limits []*limit, cost int64) error {
	one.charges, one.limits = one.charges[:0], one.limits[:0]
	now := time.Now()
	for _, l := range limits {
		key, err := l.Key(c)
		switch {
		case errors.Is(err, ErrSkip):
			continue
		case err != nil:
			return err
		case key == "":
			return noKey("The request can't be counted.", fmt.Errorf("limit %q", l.Name))
		}
		one.charges = append(one.charges, Charge{Bucket: l.bucket(key, now), Cost: cost, Left: math.NaN()}) // not known yet
		one.limits = append(one.limits, l)
	}
	return nil
}

// refuse returns the error of a request over the limit. Types and codes are those of the
// OpenAI API.
func (l *limit) refuse(c *Charge, unit string) error {
	e := &apierror.Error{
		Status: http.StatusTooManyRequests, Type: unit, Code: "rate_limit_exceeded", RetryAfter: c.Wait,
		Message: fmt.Sprintf("The limit %q is reached.", l.Name), Err: ErrLimited,
	}
	if l.Budget > 0 {
		e.Type, e.Code, e.Message = "insufficient_quota", "insufficient_quota", fmt.Sprintf("The budget %q is used up.", l.Name)
	}
	if c.Wait == Never {
		e.RetryAfter = 0
	}
	return e
}

// unavailable returns the error of a request that can't be checked.
func unavailable(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*apierror.Error](err); ok || ctx.Err() != nil {
		return fault.Join(err, ctx.Err())
	}
	return &apierror.Error{Status: http.StatusServiceUnavailable, Code: "limits_unavailable", Message: "Limits can't be checked now.", RetryAfter: time.Second, Err: err}
}
