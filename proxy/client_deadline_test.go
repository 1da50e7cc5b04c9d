package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// guard returns a pool of one endpoint above next.
func guard(tb testing.TB, next http.RoundTripper) *balance.Pool {
	tb.Helper()
	pool, err := balance.New(balance.Config{Transport: next, Endpoints: []balance.Endpoint{{URL: "http://a"}}})
	require.NoError(tb, err)
	return pool
}

// failures returns the failures that the pool counted after all attempts have ended.
func failures(tb testing.TB, pool *balance.Pool) int64 {
	tb.Helper()
	s := pool.Status()[0]
	assert.Zero(tb, s.Inflight)
	return s.Failures
}

// A client's own deadline does not count against the endpoint: otherwise tiny deadlines could
// eject all endpoints.
func TestOwnDeadlineIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]transport{
		"waiting for the head":        silent,
		"held":                        streams(nil, text(role)),
		"held JSON":                   respond(0, "application/json", nil, text(`{"a"`)),
		"relaying":                    streams(nil, text(role+hello)),
		"waiting for another attempt": after(40*time.Millisecond, status(429)), // no failure of the server
	} {
		for _, hold := range []time.Duration{0, 10 * time.Millisecond} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					pool, ev := guard(t, next), newEvents()
					p := newProxy(t, proxy.Config{Transport: pool, OnEvent: ev.on, Timeouts: proxy.Timeouts{Hold: hold}, Retry: proxy.Retry{Repeat: proxy.Always}})
					req := chatRequest(t, true)
					req.Header.Set("X-Request-Timeout", "0.05")
					start := time.Now()
					w := serve(p, req)
					assert.LessOrEqual(t, time.Since(start), 50*time.Millisecond)
					assert.Zero(t, failures(t, pool))
					e := ev.next(t)
					if w.Code != 429 {
						assert.Equal(t, proxy.Canceled, e.Outcome)
						require.ErrorIs(t, e.Err, proxy.ErrDeadline)
						if name != "held JSON" || hold == 0 { // else the deadline had passed: the response is cut
							assert.Contains(t, w.Body.String(), "deadline_exceeded")
						}
						assert.Equal(t, proxy.Canceled, ev.attempts()[0].Outcome)
					}
				})
			})
		}
	}
}

// The gateway's own limit still counts as the endpoint's failure when a client requests a
// longer one.
func TestOwnLimitIsAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := guard(t, transport(silent))
		p := newProxy(t, proxy.Config{Transport: pool, Timeouts: proxy.Timeouts{Total: time.Second}})
		req := chatRequest(t, true)
		req.Header.Set("X-Request-Timeout", "60")
		assert.Equal(t, 504, serve(p, req).Code)
		assert.EqualValues(t, 1, failures(t, pool))
	})
}

// reluctant is a client that reads slowly.
type reluctant struct{ *httptest.ResponseRecorder }

func (s reluctant) Write(p []byte) (int, error) {
	<-time.After(time.Second)
	return s.ResponseRecorder.Write(p)
}

// A client that reads too slowly for the total limit does not count against the endpoint.
func TestSlowReaderIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool, ev := guard(t, streams(io.EOF, text(strings.Repeat(hello, 20000)))), newEvents()
		p := newProxy(t, proxy.Config{Transport: pool, OnEvent: ev.on, Timeouts: proxy.Timeouts{Total: 10 * time.Second}})
		engine(p).ServeHTTP(reluctant{httptest.NewRecorder()}, chatRequest(t, true))
		assert.Zero(t, failures(t, pool))
		assert.Equal(t, proxy.Canceled, ev.next(t).Outcome)
	})
}

// A client's deadline during a race counts against neither endpoint.
func TestOwnDeadlineInARace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, ev := &fleet{others: 1}, newEvents()
		f.delay = func(exchange, _ int) time.Duration { return 100*time.Millisecond + time.Duration(exchange)*time.Minute }
		abandoned := 0
		cfg := hedged(f, ev)
		cfg.Transport = transport(func(req *http.Request) (*http.Response, error) {
			res, err := f.RoundTrip(req)
			if res != nil && req.Header.Get("X-Request-Timeout") != "" {
				body := res.Body
				res.Body = &ending{body, func(error) { //nolint:contextcheck // it has the request's
					if v := exchange.Current(req.Context()).Verdict(); v.Outcome == exchange.Canceled && v.Blame == exchange.Client {
						f.mu.Lock()
						defer f.mu.Unlock()
						abandoned++
					}
				}, req.Context()}
			}
			return res, err
		})
		p := newProxy(t, cfg)
		warm(t, p, 30)
		req := first(t)
		req.Header.Set("X-Request-Timeout", "1")
		assert.Equal(t, 504, serve(p, req).Code)
		assert.Equal(t, 2, abandoned)
		for _, e := range ev.attempts()[30:] {
			assert.Equal(t, proxy.Canceled, e.Outcome)
		}
	})
}
