package proxy_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fleet responds with streams, each attempt after a delay; it records their ends.
type fleet struct {
	mu     sync.Mutex
	delay  func(exchange, attempt int) time.Duration
	at     []int // attempt numbers
	ended  map[string]error
	others int
	next   transport // in place of a stream
}

type exchangeKey struct{}

func (f *fleet) RoundTrip(req *http.Request) (*http.Response, error) {
	t := exchange.Current(req.Context())
	t.SetOthers(f.others)
	n, _ := req.Context().Value(exchangeKey{}).(int)
	name := strconv.Itoa(n) + "/" + strconv.Itoa(t.Number())
	f.mu.Lock()
	f.at = append(f.at, t.Number())
	f.mu.Unlock()
	if f.next != nil && t.Number() > 1 {
		return f.next(req)
	}
	res, err := streams(io.EOF, text(role), piece{f.delay(n, t.Number()), hello}, piece{time.Millisecond, done})(req)
	if err == nil {
		res.Body = &ending{res.Body, func(err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.ended == nil {
				f.ended = map[string]error{}
			}
			f.ended[name] = err
		}, req.Context()}
	}
	return res, err
}

type ending struct {
	io.ReadCloser
	tell func(error)
	ctx  context.Context //nolint:containedctx // for the cause of its end
}

func (e *ending) Close() error {
	e.tell(context.Cause(e.ctx))
	return e.ReadCloser.Close()
}

// warm sends requests that begin after 100 ms, from which the pace is known.
func warm(t *testing.T, p *proxy.Proxy, n int) {
	t.Helper()
	for range n {
		require.Equal(t, 200, serve(p, chatRequest(t, true)).Code)
	}
}

// first returns the request under test, the first after those of warm.
func first(t *testing.T) *http.Request {
	t.Helper()
	r := chatRequest(t, true)
	return r.WithContext(context.WithValue(r.Context(), exchangeKey{}, 1))
}

func hedged(f *fleet, ev *events) proxy.Config {
	return proxy.Config{Transport: f, OnEvent: ev.on, Hedge: &proxy.Hedge{Ratio: 0.5}, Retry: proxy.Retry{Repeat: proxy.Always, BudgetRatio: 0.5}}
}

func usual(exchange, attempt int) time.Duration {
	if exchange == 1 && attempt == 1 {
		return time.Minute
	}
	return 100 * time.Millisecond
}

// A slow attempt is overtaken by a hedge, and canceled.
func TestHedgeWins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{delay: usual, others: 1}, newEvents()
		p := newProxy(t, hedged(f, ev))
		warm(t, p, 30)
		start := time.Now()
		w := serve(p, first(t))
		took := time.Since(start)
		assert.Equal(t, whole, w.Body.String())
		assert.InDelta(t, 210*time.Millisecond, took, float64(20*time.Millisecond), "the 95th percentile, and a second attempt")
		attempts := ev.attempts()[30:]
		require.Len(t, attempts, 2)
		assert.Equal(t, proxy.Canceled, attempts[0].Outcome)
		require.ErrorIs(t, attempts[0].Err, proxy.ErrBeaten)
		assert.True(t, attempts[1].Hedge)
		assert.Equal(t, proxy.Success, attempts[1].Outcome)
		for range 30 {
			ev.next(t)
		}
		last := ev.next(t)
		assert.True(t, last.Hedge, "the hedge won")
		assert.Equal(t, 2, last.Attempt)
		require.ErrorIs(t, f.ended["1/1"], proxy.ErrBeaten, "the loser has the cause")
	})
}

// A first attempt that is slow before it has chosen its endpoint is hedged too: a goroutine may
// wait for a processor longer than a fast upstream takes to respond.
func TestHedgeOfALateChoice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{delay: usual, others: 1}, newEvents()
		cfg := hedged(f, ev)
		cfg.Transport = transport(func(req *http.Request) (*http.Response, error) {
			if n, _ := req.Context().Value(exchangeKey{}).(int); n == 1 && exchange.Current(req.Context()).Number() == 1 {
				time.Sleep(time.Second)
			}
			return f.RoundTrip(req)
		})
		p := newProxy(t, cfg)
		warm(t, p, 30)
		start := time.Now()
		w := serve(p, first(t))
		assert.Equal(t, whole, w.Body.String())
		assert.Less(t, time.Since(start), 3*time.Second)
		attempts := ev.attempts()[30:]
		require.Len(t, attempts, 2)
		assert.True(t, attempts[1].Hedge)
	})
}

// A first attempt that responds after all is kept, and the hedge is canceled.
func TestHedgeLoses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{others: 1}, newEvents()
		f.delay = func(exchange, attempt int) time.Duration {
			switch {
			case exchange == 1 && attempt == 1:
				return 150 * time.Millisecond
			case exchange == 1:
				return time.Minute
			}
			return 100 * time.Millisecond
		}
		p := newProxy(t, hedged(f, ev))
		warm(t, p, 30)
		w := serve(p, first(t))
		assert.Equal(t, whole, w.Body.String())
		require.ErrorIs(t, f.ended["1/2"], proxy.ErrBeaten)
		attempts := ev.attempts()[30:]
		require.Len(t, attempts, 2)
		assert.True(t, attempts[0].Hedge)
		assert.Equal(t, proxy.Canceled, attempts[0].Outcome)
		assert.Equal(t, proxy.Success, attempts[1].Outcome)
	})
}

// Cases in which no hedge is started.
func TestNotHedged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*proxy.Config, *fleet)
		warm   int
		json   bool
	}{
		"off":               {change: func(c *proxy.Config, _ *fleet) { c.Hedge = nil }, warm: 30},
		"too little known":  {warm: 19},
		"not repeatable":    {change: func(c *proxy.Config, _ *fleet) { c.Retry.Repeat = nil }, warm: 30},
		"no other endpoint": {change: func(_ *proxy.Config, f *fleet) { f.others = 0 }, warm: 30},
		"no budget":         {change: func(c *proxy.Config, _ *fleet) { c.Retry.BudgetRatio, c.Retry.BudgetReserve = -1, -1 }, warm: 30},
		"few in a hundred":  {change: func(c *proxy.Config, _ *fleet) { c.Hedge.Ratio = 0.01 }, warm: 30},
		"no stream":         {warm: 30, json: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, ev := &fleet{delay: usual, others: 1}, newEvents()
				cfg := hedged(f, ev)
				if c.change != nil {
					c.change(&cfg, f)
				}
				p := newProxy(t, cfg)
				warm(t, p, c.warm)
				req := first(t)
				if c.json {
					req = chatRequest(t, false).WithContext(req.Context())
				}
				serve(p, req)
				assert.Len(t, f.at, c.warm+1)
			})
		})
	}
}

// At five requests per second single stragglers leave hedges for the time when a server halts,
// and over all there are no more hedges than allowed.
func TestHedgesAreLeftWhenAServerHalts(t *testing.T) {
	t.Parallel()
	for name, stragglers := range map[string]int{"few": 50, "as many as hedges": 20, "more than hedges": 12} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const usually, halted = 900, 24
				f := &fleet{others: 1, delay: halting(usually, stragglers)}
				ev := newEvents()
				p := newProxy(t, proxy.Config{Transport: f, Hedge: &proxy.Hedge{}, Retry: proxy.Retry{Repeat: proxy.Always}, OnEvent: ev.on})
				var late atomic.Int64
				var clients sync.WaitGroup
				for n := 1; n <= usually+halted; n++ {
					<-time.After(200 * time.Millisecond)
					r := chatRequest(t, true)
					clients.Go(func() {
						start := time.Now()
						serve(p, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, n)))
						if n > usually && time.Since(start) > 10*time.Second {
							late.Add(1)
						}
					})
				}
				clients.Wait()
				assert.Zero(t, late.Load())
				assert.LessOrEqual(t, len(f.at)-usually-halted, (usually+halted)/20)
			})
		})
	}
}

// halting returns delays: one in some is late, and from a request on one in three is at a server
// that halts.
func halting(from, stragglers int) func(exchange, attempt int) time.Duration {
	return func(n, attempt int) time.Duration {
		switch {
		case attempt > 1:
			return 100 * time.Millisecond
		case n > from && n%3 == 0:
			return time.Minute
		case n%stragglers == 0:
			return 400 * time.Millisecond
		}
		return 100 * time.Millisecond
	}
}

// A failed hedge changes nothing, and a failed first attempt waits for its hedge.
func TestHedgeFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{delay: usual, others: 1}, newEvents()
		f.delay = func(exchange, _ int) time.Duration { return time.Duration(100+400*exchange) * time.Millisecond }
		p := newProxy(t, hedged(f, ev))
		warm(t, p, 30)
		f.next = status(503)
		assert.Equal(t, whole, serve(p, first(t)).Body.String())
		assert.Len(t, f.at, 32)
	})
	synctest.Test(t, func(t *testing.T) {
		ev := newEvents()
		f := &fleet{delay: usual, others: 1}
		tr := transport(func(req *http.Request) (*http.Response, error) {
			if exchange.Current(req.Context()).Number() == 1 && req.Context().Value(exchangeKey{}) == 1 {
				exchange.Current(req.Context()).SetOthers(1)
				return after(150*time.Millisecond, fails(io.ErrUnexpectedEOF))(req)
			}
			return f.RoundTrip(req)
		})
		cfg := hedged(f, ev)
		cfg.Transport = tr
		p := newProxy(t, cfg)
		warm(t, p, 30)
		assert.Equal(t, whole, serve(p, first(t)).Body.String())
		attempts := ev.attempts()[30:]
		require.Len(t, attempts, 2, "no third one")
		assert.Equal(t, proxy.Failure, attempts[0].Outcome)
	})
}

// A client disconnect ends both.
func TestClientLeavesARace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{others: 1}, newEvents()
		f.delay = func(exchange, _ int) time.Duration { return 100*time.Millisecond + time.Duration(exchange)*time.Minute }
		p := newProxy(t, hedged(f, ev))
		warm(t, p, 30)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gone, leave := context.WithCancel(ctx)
		go func() { <-time.After(500 * time.Millisecond); leave() }()
		serve(p, first(t).WithContext(context.WithValue(gone, exchangeKey{}, 1)))
		for _, e := range ev.attempts()[30:] {
			assert.Equal(t, proxy.Canceled, e.Outcome)
		}
		assert.Len(t, f.at, 32)
	})
}

// A panic of either attempt stays within the request.
func TestHedgePanics(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attempt int
		status  int
	}{"the second": {2, 200}, "the first": {1, 500}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, ev := &fleet{others: 1}, newEvents()
				f.delay = func(exchange, _ int) time.Duration { return time.Duration(100+400*exchange) * time.Millisecond }
				cfg := hedged(f, ev)
				cfg.Transport = transport(func(req *http.Request) (*http.Response, error) {
					if req.Context().Value(exchangeKey{}) == 1 && exchange.Current(req.Context()).Number() == c.attempt {
						exchange.Current(req.Context()).SetOthers(1)
						<-time.After(time.Duration(3-c.attempt) * 100 * time.Millisecond)
						panic("oops")
					}
					return f.RoundTrip(req)
				})
				p := newProxy(t, cfg)
				warm(t, p, 30)
				assert.Equal(t, c.status, serve(p, first(t)).Code)
			})
		})
	}
}
