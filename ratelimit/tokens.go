package ratelimit

import (
	"context"
	"errors"
	"fmt"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/llm"
)

// TokensConfig configures a Tokens. Either Key and Rate, or Limits, are required.
type TokensConfig struct {
	// Key, Rate and Burst are the short form of a single Limit, in tokens.
	Key   func(*gin.Context) (string, error)
	Rate  Rate
	Burst int64
	// Limits apply together: a request that one of them refuses costs nothing in the
	// others.
	Limits []Limit
	// Store keeps the buckets. Limits of the same name in one Store share their buckets, so
	// they must have the same size; without a name also the same Key. A request makes one call
	// to take. While any store but a
	// [Shared] is down, requests are refused (closed). Default: a [Memory] of its own.
	Store Store
	// Resize lets this one change the size of a limit that another one in this process has
	// made in Store, as after a reload. Default: false; it is an error.
	Resize bool
	// Cost returns the cost of input and output tokens. Default: their sum.
	Cost func(input, output int64) int64
	// Shadow is shadow mode (dry run): refusals are reported as WouldRefuse, and the
	// requests are let in, without headers. Default: false.
	Shadow bool
	// HideHeaders omits RateLimit and x-ratelimit-* from responses; Retry-After remains.
	// Default: false.
	HideHeaders bool
	// ErrorHandler responds to refused requests. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is called with every decision and every settlement. Optional.
	OnEvent func(context.Context, Event)
}

// Tokens limits the tokens of language models. It estimates the cost of a request (the input
// by its length, the output by the model's mean, both learned from past responses) and
// reserves it. A stream that exceeds its reservation is debited while it flows. At the end
// Tokens settles the usage of all attempts: the rest of the reservation returns, also after a
// failure or a client disconnect, and an excess stays as debt. Calls that generate nothing,
// as those that count tokens, cost nothing. Without a stream.Meter behind it, streams of
// OpenAI's API are charged by an estimate, unless their client asks for the usage.
//
// A request that costs more than Burst needs a full bucket, so that a small limit does not
// refuse it for ever. A Tokens is safe for concurrent use.
type Tokens struct {
	cfg       TokensConfig
	limits    []*limit
	store     Store
	estimates *estimates
}

// NewTokens checks cfg and returns a Tokens. The error joins every fault.
func NewTokens(cfg TokensConfig) (*Tokens, error) {
	one := Limit{Key: cfg.Key, Rate: cfg.Rate, Burst: cfg.Burst}
	def := defaults{config: "TokensConfig", name: "tokens", seconds: 10}
	limits, err := compile(cfg.Limits, one, def)
	if err != nil {
		return nil, err
	}
	store, err := orMemory(cfg.Store)
	if err != nil {
		return nil, err
	}
	if err := register(store, limits, def, cfg.Resize); err != nil {
		return nil, err
	}
	if cfg.Cost == nil {
		cfg.Cost = func(input, output int64) int64 { return input + output }
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	return &Tokens{cfg: cfg, limits: limits, store: store, estimates: newEstimates()}, nil
}

// Middleware returns the handler that reserves tokens, and settles them when the handlers
// after it have returned. Requests without a body, or that generate nothing, cost nothing.
func (t *Tokens) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		var isFirst bool
		if c.Request, isFirst = exchange.Enter(c.Request, t); !isFirst {
			t.again(c)
			return
		}
		defer exchange.Leave(c.Request, t)
		r, err := t.reserve(c)
		if err != nil {
			c.Abort() // whatever ErrorHandler does
			t.cfg.ErrorHandler(c, err)
			return
		}
		if r == nil {
			c.Next()
			return
		}
		inner := c.Writer
		w := &meter{ResponseWriter: inner, reservation: r}
		r.outer, _ = ginctx.Value(c.Request.Context(), reservationKey{}).(*reservation)
		req := r.watch(c.Request)
		ctx := context.WithValue(req.Context(), reservationKey{}, r)
		r.writer = w
		c.Writer, c.Request = w, req.WithContext(ctx)
		defer r.keepAlive()()
		defer func() { // also when a handler panics
			if c.Writer == w { // else another layer replaced it: see stream.Streams
				c.Writer = inner
			}
			r.settle(ctx, w)
		}()
		t.notify(ctx, Event{Kind: Allowed, Tokens: r.reserved})
		c.Next()
	}
}

// again restores the meter of a request that is routed again: HandleContext resets gin's writer.
func (t *Tokens) again(c *gin.Context) {
	if fmt.Sprintf("%T", c.Writer) != "*gin.responseWriter" { // the meter is in place
		return
	}
	r, _ := ginctx.Value(c.Request.Context(), reservationKey{}).(*reservation)
	for ; r != nil; r = r.outer {
		if r.tokens == t {
			r.writer.ResponseWriter = c.Writer
			c.Writer = r.writer
			return
		}
	}
}

// reserve takes the estimated cost. It returns nil for a request that costs nothing, or that
// is over a limit in shadow mode.
func (t *Tokens) reserve(c *gin.Context) (*reservation, error) {
	if x := exchange.From(c.Request.Context()); x != nil && x.Shadow {
		return nil, nil //nolint:nilnil // mirrored requests are not charged
	}
	request, err := t.request(c)
	if request == nil {
		return nil, err
	}
	r := &reservation{tokens: t, request: request}
	r.input, r.output = t.estimates.of(request)
	r.reserved = max(t.cost(r.input, r.output), 1)
	ctx := c.Request.Context()
	if err := r.fill(c, t.limits, r.reserved); err != nil {
		return nil, t.refused(ctx, Event{Err: err})
	}
	if len(r.charges) == 0 {
		return nil, nil //nolint:nilnil // no limit applies, and no fault
	}
	for i := range r.charges {
		r.charges[i].Reserve = true
	}
	if err := t.store.Take(ctx, r.charges); err != nil {
		return nil, t.refused(ctx, Event{Err: unavailable(ctx, err)})
	}
	if !t.cfg.HideHeaders && !t.cfg.Shadow {
		setHeaders(c.Writer.Header(), "tokens", &r.call)
	}
	if i := refusal(r.charges); i >= 0 {
		charge := &r.charges[i]
		return nil, t.refused(ctx, Event{Limit: charge.Limit, Key: charge.Key, Wait: charge.Wait, Tokens: r.reserved, Err: r.limits[i].refuse(charge, "tokens")})
	}
	return r, nil
}

// refused reports a refusal and returns its error: nil in shadow mode.
func (t *Tokens) refused(ctx context.Context, e Event) error {
	if t.cfg.Shadow {
		e.Kind = WouldRefuse
		t.notify(ctx, e)
		return nil
	}
	e.Kind = Refused
	t.notify(ctx, e)
	return e.Err
}

// request returns the parsed request for the estimate; nil for a request without a body, or
// one that generates nothing.
func (t *Tokens) request(c *gin.Context) (*llm.Request, error) {
	held, err := body.Hold(c)
	if err != nil {
		return nil, err
	}
	if err := held.Err(); err != nil && !errors.Is(err, body.ErrEncoding) { // an unknown encoding is estimated
		return nil, err
	}
	request := held.Request()
	if held.Whole && held.Len() == 0 || request.API == llm.Free {
		return nil, nil //nolint:nilnil // no cost, and no fault
	}
	return request, nil
}

func (t *Tokens) notify(ctx context.Context, e Event) {
	if t.cfg.OnEvent != nil {
		t.cfg.OnEvent(ctx, e)
	}
}
