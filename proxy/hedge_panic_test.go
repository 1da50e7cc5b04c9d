package proxy_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An attempt that fell back to another version gets no hedge, which would go to the failed
// version.
func TestNoHedgeAfterAFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{delay: usual, others: 1}, newEvents()
		cfg := hedged(f, ev)
		cfg.Transport = transport(func(req *http.Request) (*http.Response, error) {
			if req.Context().Value(exchangeKey{}) == 1 {
				exchange.From(req.Context()).Finalize()
			}
			return f.RoundTrip(req)
		})
		p := newProxy(t, cfg)
		warm(t, p, 30)
		assert.Equal(t, whole, serve(p, first(t)).Body.String())
		assert.Len(t, f.at, 31)
	})
}

// A panic of a user's function in a hedge ends the request, as elsewhere, and not the process.
func TestHedgeUserPanics(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*proxy.Config, *bool){
		"OnEvent": func(c *proxy.Config, armed *bool) {
			next := c.OnEvent
			c.OnEvent = func(ctx context.Context, e proxy.Event) {
				if *armed && e.Kind == proxy.AttemptEnded && e.Hedge {
					panic("oops")
				}
				next(ctx, e)
			}
		},
		"Close": func(c *proxy.Config, armed *bool) {
			next := c.Transport
			c.Transport = transport(func(req *http.Request) (*http.Response, error) {
				res, err := next.RoundTrip(req)
				if err == nil && *armed && exchange.Current(req.Context()).Hedge() {
					res.Body = &ending{res.Body, func(error) { panic("oops") }, req.Context()}
				}
				return res, err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, ev := &fleet{others: 1}, newEvents()
				f.delay = func(exchange, _ int) time.Duration { return time.Duration(100+400*exchange) * time.Millisecond }
				armed := false
				cfg := hedged(f, ev)
				change(&cfg, &armed)
				p := newProxy(t, cfg)
				warm(t, p, 30)
				f.next, armed = status(503), true
				assert.Equal(t, whole, serve(p, first(t)).Body.String())
				require.Equal(t, 200, serve(p, chatRequest(t, true)).Code, "later requests work")
			})
		})
	}
}

// The class of a request is queried once: a gin context is not for two goroutines.
func TestClassIsQueriedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{delay: usual, others: 1}, newEvents()
		cfg, queried := hedged(f, ev), 0
		cfg.Class = func(c *gin.Context) string {
			queried++
			return c.Query("class")
		}
		p := newProxy(t, cfg)
		warm(t, p, 30)
		assert.Equal(t, whole, serve(p, first(t)).Body.String())
		assert.Equal(t, 31, queried)
	})
}

// When the first attempt panics because it was beaten, the other response is closed.
func TestBeatenAttemptPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{delay: usual, others: 1}, newEvents()
		cfg := hedged(f, ev)
		opened, closed := 0, 0
		cfg.Transport = transport(func(req *http.Request) (*http.Response, error) {
			if req.Context().Value(exchangeKey{}) != 1 {
				return f.RoundTrip(req)
			}
			if exchange.Current(req.Context()).Number() == 1 {
				exchange.Current(req.Context()).SetOthers(1)
				<-req.Context().Done()
				panic("oops")
			}
			opened++
			res, err := f.RoundTrip(req)
			res.Body = &ending{res.Body, func(error) { closed++ }, req.Context()}
			return res, err
		})
		p := newProxy(t, cfg)
		warm(t, p, 30)
		assert.Equal(t, 500, serve(p, first(t)).Code)
		assert.Equal(t, 1, opened)
		assert.Equal(t, 1, closed)
	})
}

// When the first attempt panics, a hedge that has not started is not waited for.
func TestPanicEndsTheHedge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{delay: usual, others: 1}, newEvents()
		cfg := hedged(f, ev)
		cfg.Transport = transport(func(req *http.Request) (*http.Response, error) {
			if req.Context().Value(exchangeKey{}) != 1 {
				return f.RoundTrip(req)
			}
			if attempt := exchange.Current(req.Context()); attempt.Number() == 1 {
				attempt.SetOthers(1)
				<-time.After(time.Second)
				panic("oops")
			}
			return respond(0, "text/event-stream", io.EOF, piece{time.Hour, whole})(req)
		})
		p := newProxy(t, cfg)
		warm(t, p, 30)
		start := time.Now()
		assert.Equal(t, 500, serve(p, first(t)).Code)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

// Class names that clients choose are bounded in size and number, and those without a response
// are not kept.
func TestClassNamesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{delay: usual, others: 1}, newEvents()
		cfg, class := hedged(f, ev), strings.Repeat("a", 1<<20)
		cfg.Class = func(*gin.Context) string { return class }
		p := newProxy(t, cfg)
		warm(t, p, 30)
		class = strings.Repeat("b", 1<<20)
		serve(p, first(t))
		assert.Len(t, f.at, 32, "all long names are one class")
	})
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{delay: usual, others: 1}, newEvents()
		cfg, class := hedged(f, ev), "good"
		cfg.OnEvent = nil
		cfg.Class = func(*gin.Context) string { return class }
		broken := false
		cfg.Transport = transport(func(req *http.Request) (*http.Response, error) {
			if broken {
				return newResponse(404, ""), nil
			}
			return f.RoundTrip(req)
		})
		p := newProxy(t, cfg)
		warm(t, p, 30)
		broken = true
		for i := range 2000 {
			class = strings.Repeat("x", i%100) + time.Duration(i).String()
			serve(p, chatRequest(t, true))
		}
		broken, class = false, "good"
		serve(p, first(t))
		assert.Len(t, f.at, 32, "its class is still known")
	})
}
