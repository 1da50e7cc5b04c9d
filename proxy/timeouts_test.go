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
	"github.com/stretchr/testify/require"
)

// silent is an upstream that never responds.
func silent(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// dripping responds with one byte per pause, n times, and then ends.
func dripping(pause time.Duration, n int) transport {
	return func(req *http.Request) (*http.Response, error) {
		res := newResponse(200, "")
		res.ContentLength = -1
		res.Body = io.NopCloser(&drip{req.Context(), pause, n})
		return res, nil
	}
}

type drip struct {
	ctx   context.Context //nolint:containedctx // a body has no other way to end with its request
	pause time.Duration
	n     int
}

func (d *drip) Read(p []byte) (int, error) {
	if d.n == 0 {
		return 0, io.EOF
	}
	d.n--
	timer := time.NewTimer(d.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		p[0] = 'x'
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

// TestTimeouts in the bubble's time: which limit ends an exchange, when, and with which error.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for name, c := range map[string]struct {
		next     transport
		timeouts proxy.Timeouts
		attempts int
		after    time.Duration
		status   int
		body     string
		err      error
	}{
		"first byte, default":      {next: silent, after: 120 * s, status: 504, body: "no response began in time", err: proxy.ErrTimeout},
		"first byte":               {next: silent, timeouts: proxy.Timeouts{FirstByte: s}, after: s, status: 504, body: "no response began in time", err: proxy.ErrTimeout},
		"first byte, each attempt": {next: silent, timeouts: proxy.Timeouts{FirstByte: s}, attempts: 3, after: 3 * s, status: 504, body: "no response began in time", err: proxy.ErrTimeout},
		"total before first byte":  {next: silent, timeouts: proxy.Timeouts{Total: 5 * s}, attempts: 3, after: 5 * s, status: 504, body: "the whole took too long", err: proxy.ErrTimeout},
		"total over all attempts":  {next: silent, timeouts: proxy.Timeouts{FirstByte: 2 * s, Total: 5 * s}, attempts: 9, after: 5 * s, status: 504, body: "the whole took too long", err: proxy.ErrTimeout},
		"total without others":     {next: silent, timeouts: proxy.Timeouts{FirstByte: -1, Total: 5 * s}, after: 5 * s, status: 504, body: "the whole took too long", err: proxy.ErrTimeout},
		"total, default":           {next: silent, timeouts: proxy.Timeouts{FirstByte: -1}, after: time.Hour, status: 504, body: "the whole took too long", err: proxy.ErrTimeout},
		"total in the body":        {next: dripping(s, 100), timeouts: proxy.Timeouts{Total: 5*s + s/2}, after: 5*s + s/2, status: 200, body: "xxxxx", err: proxy.ErrTimeout},
		"idle, default":            {next: dripping(301*s, 3), after: 300 * s, status: 200, err: proxy.ErrTimeout},
		"idle":                     {next: dripping(3*s, 3), timeouts: proxy.Timeouts{Idle: 2 * s}, after: 2 * s, status: 200, err: proxy.ErrTimeout},
		"slow but steady":          {next: dripping(59*s, 50), after: 59 * 50 * s, status: 200, body: strings.Repeat("x", 50)},
		"no idle limit":            {next: dripping(30*time.Minute, 1), timeouts: proxy.Timeouts{Idle: -1}, after: 30 * time.Minute, status: 200, body: "x"},
		"no limits":                {next: dripping(24*time.Hour, 3), timeouts: proxy.Timeouts{FirstByte: -1, Idle: -1, Total: -1}, after: 72 * time.Hour, status: 200, body: "xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ev := newEvents()
				retry := proxy.Retry{Attempts: max(c.attempts, 1), Backoff: -1}
				p := newProxy(t, proxy.Config{Transport: c.next, Timeouts: c.timeouts, Retry: retry, OnEvent: ev.on})
				start := time.Now()
				w := serve(p, request(t, http.MethodGet, nil))
				require.Equal(t, c.after, time.Since(start))
				require.Equal(t, c.status, w.Code)
				if c.status != 200 {
					require.Contains(t, w.Body.String(), `"code":"upstream_timeout"`)
					require.Contains(t, w.Body.String(), c.body)
				} else {
					require.Equal(t, c.body, w.Body.String())
				}
				requireEnd(t, ev.next(t), c.err)
			})
		})
	}
}

func requireEnd(t *testing.T, ev proxy.Event, err error) {
	t.Helper()
	require.ErrorIs(t, ev.Err, err)
	if err == nil {
		require.Equal(t, proxy.Success, ev.Outcome)
		return
	}
	require.Equal(t, proxy.Failure, ev.Outcome)
}

// TestSlowClientIsNotIdleUpstream: time spent on a client that does not read does not count
// against the upstream.
func TestSlowClientIsNotIdleUpstream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, proxy.Config{Transport: dripping(time.Second, 5), Timeouts: proxy.Timeouts{Idle: 2 * time.Second}})
		start := time.Now()
		w := serve(p, request(t, http.MethodGet, nil), func(c *gin.Context) { c.Writer = slow{c.Writer} })
		require.Equal(t, "xxxxx", w.Body.String())
		require.Equal(t, 5*time.Second+5*time.Minute, time.Since(start))
	})
}

// slow is a client that takes a minute for every piece.
type slow struct{ gin.ResponseWriter }

func (w slow) Write(p []byte) (int, error) {
	<-time.After(time.Minute)
	return w.ResponseWriter.Write(p)
}

// TestDeadlineOfAMiddleware: an earlier handler's own limit is a timeout, not a client disconnect.
func TestDeadlineOfAMiddleware(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ev := newEvents()
		p := newProxy(t, proxy.Config{Transport: transport(silent), OnEvent: ev.on})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		w := serve(p, request(t, http.MethodGet, nil).WithContext(ctx))
		require.Equal(t, 504, w.Code)
		require.Contains(t, w.Body.String(), `"code":"timeout"`)
		got := ev.next(t)
		require.Equal(t, proxy.Failure, got.Outcome)
		require.ErrorIs(t, got.Err, proxy.ErrTimeout)
	})
}

// TestSetTimeouts: exchanges that begin later have the new limits, those in progress keep theirs.
func TestSetTimeouts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, proxy.Config{Transport: transport(silent), Timeouts: proxy.Timeouts{FirstByte: 10 * time.Second}, Retry: proxy.Retry{Attempts: 1}})
		took := func() time.Duration {
			start := time.Now()
			serve(p, request(t, http.MethodGet, nil))
			return time.Since(start)
		}
		old := make(chan time.Duration, 1)
		go func() { old <- took() }()
		synctest.Wait()
		require.NoError(t, p.SetTimeouts(proxy.Timeouts{FirstByte: time.Second, Connect: -1}))
		require.Equal(t, time.Second, took())
		require.Equal(t, 10*time.Second, <-old)
		want := proxy.Timeouts{Connect: -1, FirstByte: time.Second, FirstContent: 5 * time.Minute, Idle: 5 * time.Minute, Stall: time.Minute, Total: time.Hour, Tunnel: time.Hour}
		require.Equal(t, want, p.Timeouts())

		require.ErrorContains(t, p.SetTimeouts(proxy.Timeouts{FirstByte: 5, Idle: 7}), "Timeouts.FirstByte")
		require.Equal(t, want, p.Timeouts(), "a bad change changes nothing")
	})
}

// TestConnectTimeoutReachesTheTransport: through the context, with its default.
func TestConnectTimeoutReachesTheTransport(t *testing.T) {
	t.Parallel()
	for set, want := range map[time.Duration]time.Duration{0: 5 * time.Second, time.Second: time.Second, -1: -1} {
		var got time.Duration
		p := newProxy(t, proxy.Config{Timeouts: proxy.Timeouts{Connect: set}, Transport: transport(func(req *http.Request) (*http.Response, error) {
			got = exchange.Current(req.Context()).ConnectTimeout()
			return newResponse(200, ""), nil
		})})
		serve(p, request(t, http.MethodGet, nil))
		require.Equal(t, want, got)
	}
}

// TestTimeoutIsNoAbandonment: layers below must be able to distinguish a limit from a client
// disconnect.
func TestTimeoutIsNoAbandonment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cause error
		p := newProxy(t, proxy.Config{Retry: proxy.Retry{Attempts: 1}, Transport: transport(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			cause = context.Cause(req.Context())
			return nil, req.Context().Err()
		})})
		require.Equal(t, 504, serve(p, request(t, http.MethodGet, nil)).Code)
		require.ErrorIs(t, cause, proxy.ErrTimeout)
	})
}
