package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// calls counts attempts and their times, and ends them with res or err.
type calls struct {
	at   []time.Time
	next transport
}

func (c *calls) RoundTrip(req *http.Request) (*http.Response, error) {
	c.at = append(c.at, time.Now())
	return c.next(req)
}

// gaps returns the waits between attempts.
func (c *calls) gaps() []time.Duration {
	var list []time.Duration
	for i := 1; i < len(c.at); i++ {
		list = append(list, c.at[i].Sub(c.at[i-1]))
	}
	return list
}

func status(n int, header ...string) transport {
	return func(*http.Request) (*http.Response, error) {
		res := newResponse(n, "no")
		for i := 0; i < len(header); i += 2 {
			res.Header.Set(header[i], header[i+1])
		}
		return res, nil
	}
}

func fails(err error) transport {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func never(*http.Request) bool { return false }

// TestWhatIsRepeated: three attempts or one, and the client's response.
func TestWhatIsRepeated(t *testing.T) {
	t.Parallel()
	refused := &apierror.Error{Status: 503, Code: "no_endpoint", Message: "No endpoint."}
	dial := fmt.Errorf("wrapped: %w", errDial)
	for name, c := range map[string]struct {
		method   string
		next     transport
		retry    proxy.Retry
		key      string
		attempts int
		status   int
	}{
		"502":                         {next: status(502), attempts: 3, status: 502},
		"503":                         {next: status(503), attempts: 3, status: 503},
		"504":                         {next: status(504), attempts: 3, status: 504},
		"529":                         {next: status(529), attempts: 3, status: 529},
		"429 with a wait":             {next: status(429, "Retry-After", "1"), attempts: 3, status: 429},
		"429 without":                 {next: status(429), attempts: 1, status: 429},
		"500":                         {next: status(500), attempts: 3, status: 500},
		"501":                         {next: status(501), attempts: 1, status: 501},
		"404":                         {next: status(404), attempts: 1, status: 404},
		"408":                         {next: status(408), attempts: 1, status: 408},
		"425":                         {next: status(425), attempts: 1, status: 425},
		"200":                         {next: status(200), attempts: 1, status: 200},
		"own statuses":                {next: status(500), retry: proxy.Retry{Statuses: []int{500}}, attempts: 3, status: 500},
		"no statuses":                 {next: status(503), retry: proxy.Retry{Statuses: []int{}}, attempts: 1, status: 503},
		"HEAD":                        {method: http.MethodHead, next: status(503), attempts: 3, status: 503},
		"OPTIONS":                     {method: http.MethodOptions, next: status(503), attempts: 3, status: 503},
		"PUT":                         {method: http.MethodPut, next: status(503), attempts: 3, status: 503},
		"DELETE":                      {method: http.MethodDelete, next: status(503), attempts: 3, status: 503},
		"POST":                        {method: http.MethodPost, next: status(503), attempts: 1, status: 503},
		"PATCH":                       {method: http.MethodPatch, next: status(503), attempts: 1, status: 503},
		"POST with a key":             {method: http.MethodPost, next: status(503), key: "k", attempts: 3, status: 503},
		"POST, Always":                {method: http.MethodPost, next: status(503), retry: proxy.Retry{Repeat: proxy.Always}, attempts: 3, status: 503},
		"GET, never":                  {next: status(503), retry: proxy.Retry{Repeat: never}, attempts: 1, status: 503},
		"broken connection":           {next: fails(io.ErrUnexpectedEOF), attempts: 3, status: 502},
		"broken connection, POST":     {method: http.MethodPost, next: fails(io.ErrUnexpectedEOF), attempts: 1, status: 502},
		"broken, POST, Always":        {method: http.MethodPost, next: fails(io.EOF), retry: proxy.Retry{Repeat: proxy.Always}, attempts: 3, status: 502},
		"no connection, POST":         {method: http.MethodPost, next: fails(dial), attempts: 3, status: 502},
		"no connection, never":        {next: fails(dial), retry: proxy.Retry{Repeat: never}, attempts: 3, status: 502},
		"no connection, PATCH":        {method: http.MethodPatch, next: fails(dial), attempts: 3, status: 502},
		"the gateway refused":         {next: fails(refused), attempts: 1, status: 503},
		"the gateway refused, deep":   {next: fails(fmt.Errorf("x: %w", refused)), attempts: 1, status: 503},
		"the gateway refused, dial":   {next: fails(errors.Join(refused, dial)), attempts: 1, status: 503},
		"an impossible status":        {next: status(42), attempts: 3, status: 502},
		"an impossible, high one":     {next: status(1000), attempts: 3, status: 502},
		"a status of its own":         {next: status(999), attempts: 1, status: 999},
		"Attempts 5":                  {next: status(503), retry: proxy.Retry{Attempts: 5}, attempts: 5, status: 503},
		"Attempts 1":                  {next: fails(dial), retry: proxy.Retry{Attempts: 1}, attempts: 1, status: 502},
		"Attempts off":                {next: fails(dial), retry: proxy.Retry{Attempts: -1}, attempts: 1, status: 502},
		"no budget":                   {next: fails(dial), retry: proxy.Retry{BudgetRatio: -1, BudgetReserve: -1}, attempts: 1, status: 502},
		"no budget leaves the status": {next: status(503), retry: proxy.Retry{BudgetRatio: -1, BudgetReserve: -1}, attempts: 1, status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tr := &calls{next: c.next}
				ev := newEvents()
				p := newProxy(t, proxy.Config{Transport: tr, Retry: c.retry, OnEvent: ev.on})
				req := request(t, orGet(c.method), nil)
				if c.key != "" {
					req.Header.Set("Idempotency-Key", c.key)
				}
				w := serve(p, req)
				require.Len(t, tr.at, c.attempts)
				require.Equal(t, c.status, w.Code)
				require.Len(t, ev.attempts(), c.attempts)
				require.Equal(t, c.attempts, ev.next(t).Attempt)
			})
		})
	}
}

func orGet(method string) string {
	if method == "" {
		return http.MethodGet
	}
	return method
}

// TestLaterAttemptSucceeds: the failed responses are not sent.
func TestLaterAttemptSucceeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Int32
		tr := &calls{}
		tr.next = func(*http.Request) (*http.Response, error) {
			if len(tr.at) == 3 {
				return newResponse(200, "fine"), nil
			}
			res := newResponse(503, "sick")
			res.Header.Set("X-Sick", "1")
			res.Body = onClose{res.Body, func() { closed.Add(1) }}
			return res, nil
		}
		w := serve(newProxy(t, proxy.Config{Transport: tr}), request(t, http.MethodGet, nil))
		require.Equal(t, 200, w.Code)
		require.Equal(t, "fine", w.Body.String())
		require.NotContains(t, w.Header(), "X-Sick")
		require.EqualValues(t, 2, closed.Load(), "the unused responses are closed")
	})
}

type onClose struct {
	io.ReadCloser

	f func()
}

func (c onClose) Close() error {
	c.f()
	return c.ReadCloser.Close()
}

// TestBodyIsSentWholeEachTime: even if an attempt read only a part of it. Rewrite runs once.
func TestBodyIsSentWholeEachTime(t *testing.T) {
	t.Parallel()
	body := pattern(100 << 10)
	var attempts, rewrites atomic.Int32
	r := setup{raw: func(conn net.Conn, req *http.Request) {
		if attempts.Add(1) < 3 {
			_, _ = io.CopyN(io.Discard, req.Body, 10)
			return
		}
		got, err := io.ReadAll(req.Body)
		assert.True(t, err == nil && body == string(got), "the body was not whole")
		assert.EqualValues(t, len(body), req.ContentLength)
		assert.Equal(t, []string{"1"}, req.Header["X-Key"])
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}, config: proxy.Config{Retry: proxy.Retry{Repeat: proxy.Always, Backoff: -1}, Rewrite: func(_ *gin.Context, out *http.Request) {
		rewrites.Add(1)
		out.Header.Add("X-Key", "1")
	}}}.start(t)
	require.Equal(t, 200, r.post(t, "/", strings.NewReader(body)).status)
	require.EqualValues(t, 3, attempts.Load())
	require.EqualValues(t, 1, rewrites.Load())
}

// TestRetryAfter: it is honored if short, and left to the client if long.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		value    string
		retry    proxy.Retry
		others   int
		attempts int
		least    time.Duration
		most     time.Duration
	}{
		"a second":            {value: "1", attempts: 2, least: time.Second, most: time.Second},
		"the longest":         {value: "2", attempts: 2, least: 2 * time.Second, most: 2 * time.Second},
		"too long":            {value: "3", attempts: 1},
		"far too long":        {value: "99999999999999999999", attempts: 2, most: 25 * time.Millisecond},
		"none":                {value: "0", attempts: 2, most: 25 * time.Millisecond},
		"no number":           {value: "soon", attempts: 2, most: 25 * time.Millisecond},
		"negative":            {value: "-5", attempts: 2, most: 25 * time.Millisecond},
		"own bound":           {value: "9", retry: proxy.Retry{MaxRetryAfter: 10 * time.Second}, attempts: 2, least: 9 * time.Second, most: 9 * time.Second},
		"never waited for":    {value: "1", retry: proxy.Retry{MaxRetryAfter: -1}, attempts: 1},
		"elsewhere is a free": {value: "60", others: 1, attempts: 2, most: 25 * time.Millisecond},
		// The bubble's clock begins at midnight, 2000-01-01.
		"a date":           {value: "Sat, 01 Jan 2000 00:00:02 GMT", attempts: 2, least: 2 * time.Second, most: 2 * time.Second},
		"a date far off":   {value: "Sat, 01 Jan 2000 00:01:00 GMT", attempts: 1},
		"a date gone past": {value: "Fri, 31 Dec 1999 00:00:00 GMT", attempts: 2, most: 25 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c.retry.Attempts = 2
				tr := &calls{next: func(req *http.Request) (*http.Response, error) {
					exchange.Current(req.Context()).SetOthers(c.others)
					return status(503, "Retry-After", c.value)(req)
				}}
				w := serve(newProxy(t, proxy.Config{Transport: tr, Retry: c.retry}), request(t, http.MethodGet, nil))
				require.Len(t, tr.at, c.attempts)
				for _, gap := range tr.gaps() {
					require.GreaterOrEqual(t, gap, c.least)
					require.LessOrEqual(t, gap, c.most)
				}
				require.Equal(t, 503, w.Code)
				require.Equal(t, c.value, w.Header().Get("Retry-After"), "the client gets it, too")
			})
		})
	}
}

// TestTooManyRequestsElsewhere: a 429 without Retry-After is retried only at another endpoint.
func TestTooManyRequestsElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := &calls{next: func(req *http.Request) (*http.Response, error) {
			attempt := exchange.Current(req.Context())
			attempt.SetOthers(2 - attempt.Number())
			return newResponse(429, ""), nil
		}}
		serve(newProxy(t, proxy.Config{Transport: tr}), request(t, http.MethodGet, nil))
		require.Len(t, tr.at, 2)
	})
}

// TestBackoff: full jitter within a doubling bound.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		retry  proxy.Retry
		bounds []time.Duration
	}{
		"default": {proxy.Retry{}, []time.Duration{25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}},
		"capped": {
			proxy.Retry{Backoff: 100 * time.Millisecond, MaxBackoff: 300 * time.Millisecond},
			[]time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 300 * time.Millisecond},
		},
		"uncapped": {proxy.Retry{Backoff: time.Second, MaxBackoff: -1}, []time.Duration{1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}},
		"off":      {proxy.Retry{Backoff: -1}, []time.Duration{0, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c.retry.Attempts, c.retry.BudgetReserve = 5, 1e9
				tr := &calls{next: fails(errDial)}
				p := newProxy(t, proxy.Config{Transport: tr, Retry: c.retry})
				longest := make([]time.Duration, len(c.bounds))
				for range 100 {
					tr.at = nil
					serve(p, request(t, http.MethodGet, nil))
					require.Len(t, tr.gaps(), len(c.bounds))
					for i, gap := range tr.gaps() {
						require.LessOrEqual(t, gap, c.bounds[i])
						longest[i] = max(longest[i], gap)
					}
				}
				for i, bound := range c.bounds {
					require.GreaterOrEqual(t, longest[i], bound/2, "the wait is drawn from all of the range")
				}
			})
		})
	}
}

// TestBudget: retries cannot multiply an outage.
func TestBudget(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		retry     proxy.Retry
		exchanges int
		repeats   int // in one instant
	}{
		"default":      {proxy.Retry{}, 1000, 200},               // a fifth
		"reserve only": {proxy.Retry{BudgetRatio: -1}, 1000, 10}, // one a second, over ten
		"ratio only":   {proxy.Retry{BudgetReserve: -1}, 1000, 200},
		"own":          {proxy.Retry{BudgetRatio: 0.05, BudgetReserve: 1}, 1000, 50},
		"off":          {proxy.Retry{BudgetRatio: -1, BudgetReserve: -1}, 100, 0},
		"few requests": {proxy.Retry{}, 10, 10}, // more than a fifth: the reserve
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c.retry.Backoff = -1
				tr := &calls{next: fails(errDial)}
				e := engine(newProxy(t, proxy.Config{Transport: tr, Retry: c.retry}))
				outage := func() int {
					tr.at = nil
					for range c.exchanges {
						e.ServeHTTP(httptest.NewRecorder(), request(t, http.MethodPost, nil))
					}
					return len(tr.at) - c.exchanges
				}
				require.Equal(t, c.repeats, outage())
				<-time.After(time.Minute)
				require.Equal(t, c.repeats, outage(), "the window has passed")
			})
		})
	}
}

// TestBudgetOverTime: a steady outage gets its share in every second.
func TestBudgetOverTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := &calls{next: fails(errDial)}
		e := engine(newProxy(t, proxy.Config{Transport: tr, Retry: proxy.Retry{Backoff: -1}}))
		const perSecond, seconds = 100, 60
		for range seconds {
			for range perSecond {
				e.ServeHTTP(httptest.NewRecorder(), request(t, http.MethodPost, nil))
				<-time.After(time.Second / perSecond)
			}
		}
		repeats := len(tr.at) - perSecond*seconds
		require.InDelta(t, 0.2*perSecond*seconds, repeats, 20)
	})
}

// TestBudgetIsSharedWithLayersBelow: a fallback spends from the same budget.
func TestBudgetIsSharedWithLayersBelow(t *testing.T) {
	t.Parallel()
	granted := 0
	tr := transport(func(req *http.Request) (*http.Response, error) {
		a := exchange.Current(req.Context())
		for a.Exchange().Spend() {
			granted++
		}
		failed := exchange.Verdict{Outcome: exchange.Failure, Blame: exchange.Endpoint, Repeatable: true, Err: errDial}
		assert.True(t, a.Exchange().Repeats(a, failed), "the proxy would retry it, given a budget")
		assert.False(t, a.Exchange().Repeats(a, exchange.Verdict{}))
		return nil, errDial
	})
	ev := newEvents()
	serve(newProxy(t, proxy.Config{Transport: tr, OnEvent: ev.on}), request(t, http.MethodGet, nil))
	require.Equal(t, 10, granted)
	require.Len(t, ev.attempts(), 1)
}

// TestNoRepeatAfterCommit: what the client has received can't be replaced.
func TestNoRepeatAfterCommit(t *testing.T) {
	t.Parallel()
	tr := &calls{next: func(*http.Request) (*http.Response, error) {
		res := newResponse(200, "")
		res.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), broken{}))
		res.ContentLength = -1
		return res, nil
	}}
	ev := newEvents()
	w := serve(newProxy(t, proxy.Config{Transport: tr, OnEvent: ev.on}), request(t, http.MethodGet, nil))
	require.Len(t, tr.at, 1)
	require.Equal(t, "half", w.Body.String())
	require.Equal(t, proxy.Failure, ev.next(t).Outcome)
}

// broken is a body that breaks.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestNoRepeatOfStreamedBodies: a streamed body can't be sent again.
func TestNoRepeatOfStreamedBodies(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]transport{"status": status(503), "no connection": fails(errDial)} {
		for limit, maxBody := range map[string]int64{"too long": 3, "never held": -1} {
			t.Run(name+", "+limit, func(t *testing.T) {
				t.Parallel()
				tr := &calls{next: next}
				p := newProxy(t, proxy.Config{Transport: tr, MaxBody: maxBody, Retry: proxy.Retry{Repeat: proxy.Always, Backoff: -1}})
				serve(p, request(t, http.MethodPut, strings.NewReader("long")))
				require.Len(t, tr.at, 1)
			})
		}
	}
}

// TestNoRepeatAfterTheClientLeft: neither at once nor after a wait.
func TestNoRepeatAfterTheClientLeft(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{"during the attempt": 0, "during the wait": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, leave := context.WithCancel(t.Context())
				tr := &calls{next: func(*http.Request) (*http.Response, error) {
					time.AfterFunc(wait/2, leave)
					synctest.Wait()
					if wait == 0 {
						<-ctx.Done()
					}
					return status(503, "Retry-After", "1")(nil)
				}}
				ev := newEvents()
				w := serve(newProxy(t, proxy.Config{Transport: tr, OnEvent: ev.on}), request(t, http.MethodGet, nil).WithContext(ctx))
				require.Len(t, tr.at, 1)
				got := ev.next(t)
				if wait > 0 {
					require.Equal(t, proxy.Canceled, got.Outcome)
					require.ErrorIs(t, got.Err, proxy.ErrClientClosed)
					require.Equal(t, apierror.StatusClientClosed, w.Code)
				}
			})
		})
	}
}

func TestIdempotent(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]bool{
		http.MethodGet: true, http.MethodHead: true, http.MethodOptions: true, http.MethodTrace: true, http.MethodPut: true,
		http.MethodDelete: true, http.MethodPost: false, http.MethodPatch: false, "LOCK": false,
	} {
		require.Equal(t, want, proxy.Idempotent(request(t, method, nil)), method)
		require.True(t, proxy.Always(request(t, method, nil)))
	}
}
