package breaker_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func serve(g *breaker.Group, cfg breaker.MiddlewareConfig, handlers ...gin.HandlerFunc) *gin.Engine {
	gin.SetMode(gin.TestMode)
	r := gin.New()
	r.Use(apierror.Recovery(func(*gin.Context, any, []byte) {}))
	r.GET("/*path", append([]gin.HandlerFunc{func(c *gin.Context) { c.Header("X-Before", "1") }, g.Middleware(cfg)}, handlers...)...)
	return r
}

func ask(ctx context.Context, h http.Handler) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	return w
}

func fallback(c *gin.Context) {
	c.Header("X-Reason", breaker.Reason(c.Request.Context()).Error())
	c.String(http.StatusOK, "instead")
}

// A failure is replaced completely; a response that was sent, and one that is no failure, are not.
func TestFallback(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handler gin.HandlerFunc
		body    string
		reason  error // nil: no fallback
	}{
		"good":          {func(c *gin.Context) { c.String(200, "good") }, "good", nil},
		"404":           {func(c *gin.Context) { c.String(404, "none") }, "none", nil},
		"500":           {func(c *gin.Context) { c.Header("Content-Length", "3"); c.Header("X-Inner", "1"); c.String(500, "bad") }, "instead", breaker.ErrFailed},
		"aborted":       {func(c *gin.Context) { apierror.Abort(c, errors.New("x")) }, "instead", breaker.ErrFailed},
		"only a status": {func(c *gin.Context) { c.Status(503) }, "instead", breaker.ErrFailed},
		"written in pieces": {func(c *gin.Context) {
			c.Status(502)
			for range 3 {
				_, _ = io.WriteString(c.Writer, "x")
				c.Writer.Flush()
			}
		}, "instead", breaker.ErrFailed},
		"broken while held": {func(c *gin.Context) {
			c.Status(502)
			_, _ = c.Writer.WriteString("x")
			apierror.Cut(c, errors.New("x"))
		}, "instead", breaker.ErrFailed},
		"broken when sent":      {func(c *gin.Context) { c.String(200, "half"); apierror.Abort(c, errors.New("x")) }, "half", nil},
		"too late":              {func(c *gin.Context) { <-c.Request.Context().Done() }, "instead", breaker.ErrTimeout},
		"too late, and says so": {func(c *gin.Context) { <-c.Request.Context().Done(); c.String(504, "late") }, "instead", breaker.ErrTimeout},
		"in time, and long": {func(c *gin.Context) {
			_, _ = c.Writer.WriteString("a")
			time.Sleep(time.Minute)
			_, _ = c.Writer.WriteString("b")
		}, "ab", nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, own)
			w := ask(t.Context(), serve(g, breaker.MiddlewareConfig{Timeout: time.Second, Fallback: fallback}, tt.handler))
			assert.Equal(t, tt.body, w.Body.String(), name)
			assert.Equal(t, "1", w.Header().Get("X-Before"), name)
			if tt.reason != nil {
				assert.Equal(t, 200, w.Code, name)
				assert.Contains(t, w.Header().Get("X-Reason"), tt.reason.Error(), name)
				assert.Empty(t, w.Header().Get("X-Inner")+w.Header().Get("Content-Length"), name)
			}
			assert.Zero(t, state(t, g).Inflight, name)
		})
	}
}

// Without a fallback the failure is the response, and an open circuit is 503.
func TestWithoutFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		h := serve(g, breaker.MiddlewareConfig{Timeout: time.Second}, func(c *gin.Context) { c.String(500, "bad") })
		for range 10 {
			w := ask(t.Context(), h)
			assert.Equal(t, 500, w.Code)
			assert.Equal(t, "bad", w.Body.String())
		}
		w := ask(t.Context(), h)
		assert.Equal(t, 503, w.Code)
		assert.NotEmpty(t, w.Header().Get("Retry-After"))
		assert.Contains(t, w.Body.String(), "circuit_open")
		late := serve(g, breaker.MiddlewareConfig{Timeout: time.Second, Key: func(*gin.Context) string { return "late" }}, func(c *gin.Context) { <-c.Request.Context().Done() })
		assert.Equal(t, 504, ask(t.Context(), late).Code)
	})
}

// streamed writes a stream, after its head.
func streamed(events string) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		c.Writer.Flush()
		_, _ = c.Writer.WriteString(events[:len(events)/2])
		_, _ = c.Writer.Write([]byte(events[len(events)/2:]))
	}
}

// Results that open: failures, panics, streams that fail; not client disconnects.
func TestMiddlewareOutcomes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handler gin.HandlerFunc
		leaves  bool
		opens   bool
	}{
		"good":                           {func(c *gin.Context) { c.Status(200) }, false, false},
		"404":                            {func(c *gin.Context) { c.Status(404) }, false, false},
		"500":                            {func(c *gin.Context) { c.Status(500) }, false, true},
		"panic":                          {func(*gin.Context) { panic("x") }, false, true},
		"a broken response":              {func(c *gin.Context) { c.String(200, "half"); apierror.Abort(c, &apierror.Error{Status: 502}) }, false, true},
		"a stream":                       {streamed(text + last), false, false},
		"a stream of no model":           {streamed("data: tick\n\n"), false, false},
		"a stream that lacks its end":    {streamed(text), false, true},
		"a stream with an error":         {streamed(text + fault), false, true},
		"an error event and an end":      {streamed(fault + last), false, true},
		"an error of unknown kind":       {streamed(text + vague), false, false},
		"a spent quota":                  {streamed(spent), false, false},
		"a limit within a stream":        {func(c *gin.Context) { streamed(text)(c); apierror.Abort(c, &apierror.Error{Status: 429}) }, false, false},
		"broken within a stream":         {func(c *gin.Context) { streamed(text)(c); apierror.Abort(c, &apierror.Error{Status: 502}) }, false, true},
		"a client leaves a stream":       {func(c *gin.Context) { streamed(text)(c); <-c.Request.Context().Done() }, true, false},
		"a client leaves after an error": {func(c *gin.Context) { streamed(fault)(c); <-c.Request.Context().Done() }, true, true},
		"the client's own":               {func(c *gin.Context) { c.String(200, "half"); apierror.Abort(c, &apierror.Error{Status: 499}) }, false, false},
		"a client leaves":                {func(c *gin.Context) { <-c.Request.Context().Done(); c.Status(500) }, true, false},
		"late":                           {func(c *gin.Context) { <-c.Request.Context().Done() }, false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, own)
			h := serve(g, breaker.MiddlewareConfig{Timeout: time.Second}, tt.handler)
			for range 12 {
				ctx, cancel := context.WithCancel(t.Context())
				if tt.leaves {
					time.AfterFunc(time.Millisecond, cancel)
				}
				ask(ctx, h)
				cancel()
			}
			assert.Equal(t, tt.opens, state(t, g).State == breaker.Open, name)
			assert.Zero(t, state(t, g).Inflight, name)
		})
	}
}

// An open circuit goes to the fallback, and the handlers do not run.
func TestFallbackWhileOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		ran := 0
		h := serve(g, breaker.MiddlewareConfig{Fallback: fallback}, func(c *gin.Context) { ran++; c.Status(500) })
		for range 20 {
			assert.Equal(t, "instead", ask(t.Context(), h).Body.String())
		}
		assert.Equal(t, 10, ran)
		assert.Contains(t, ask(t.Context(), h).Header().Get("X-Reason"), breaker.ErrOpen.Error())
		silent := serve(g, breaker.MiddlewareConfig{Fallback: func(*gin.Context) {}}, func(*gin.Context) {})
		assert.Equal(t, 503, ask(t.Context(), silent).Code, "a fallback that writes nothing is ignored")
	})
}

// Over a real connection: the fallback's response is complete, though the failure that it
// replaces was cut, and streams pass event by event.
func TestMiddlewareOverHTTP(t *testing.T) {
	t.Parallel()
	g, _ := group(t, own)
	next := make(chan struct{})
	r := serve(g, breaker.MiddlewareConfig{Timeout: time.Minute, Fallback: fallback}, func(c *gin.Context) {
		if c.Request.URL.Path == "/broken" {
			c.Status(502)
			_, _ = c.Writer.WriteString("x")
			apierror.Cut(c, errors.New("x"))
			return
		}
		c.Header("Content-Type", "text/event-stream")
		for range 2 {
			_, _ = c.Writer.WriteString("data: a\n\n")
			assert.NoError(t, http.NewResponseController(c.Writer).Flush())
			<-next
		}
	})
	srv := httptest.NewServer(r)
	defer srv.Close()
	get := func(path string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, nil)
		require.NoError(t, err)
		res, err := srv.Client().Do(req)
		require.NoError(t, err)
		return res
	}
	res := get("/broken")
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, "instead", string(body))
	res = get("/stream")
	for range 2 {
		_, err = io.ReadFull(res.Body, make([]byte, 9))
		require.NoError(t, err)
		next <- struct{}{}
	}
	require.NoError(t, res.Body.Close())
}

func TestMiddlewareConfig(t *testing.T) {
	t.Parallel()
	g, _ := group(t, own)
	assert.Panics(t, func() { g.Middleware(breaker.MiddlewareConfig{Timeout: -1}) })
	assert.NoError(t, breaker.Reason(t.Context()))
}

// If an attempt was made, its end counts, and nothing that was written.
func TestMiddlewareOutcomesOfAttempts(t *testing.T) {
	t.Parallel()
	type responses = []func(*http.Request) (*http.Response, error)
	for name, tt := range map[string]struct {
		upstream responses // of each attempt
		status   int       // that the handler sends
		opens    bool
	}{
		"good":                         {responses{good}, 200, false},
		"500":                          {responses{bad}, 500, true},
		"500, hidden":                  {responses{bad}, 200, true},
		"an error, then good":          {responses{refused, good}, 200, false},
		"404":                          {responses{missing}, 404, false},
		"a spent quota":                {responses{respondWith(503, "application/json", `{"error":{"code":"insufficient_quota"}}`)}, 503, false}, //nolint:bodyclose // the handler closes it
		"a stream that is cut":         {responses{respondWith(200, "text/event-stream", text)}, 200, true},                                      //nolint:bodyclose // as above
		"good, and the handler failed": {responses{good}, 500, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, own)
			h := serve(g, breaker.MiddlewareConfig{}, func(c *gin.Context) {
				for _, f := range tt.upstream {
					a, req := exchange.Start(httptest.NewRequestWithContext(c.Request.Context(), http.MethodPost, "/v1/chat/completions", http.NoBody))
					res, err := a.Do(req, &upstream{respond: f})
					if err == nil {
						_, _ = io.Copy(io.Discard, res.Body)
						_ = res.Body.Close()
					}
				}
				c.String(tt.status, "x")
			})
			for range 12 {
				ask(t.Context(), h)
			}
			assert.Equal(t, tt.opens, state(t, g).State == breaker.Open, name)
			assert.Zero(t, state(t, g).Inflight, name)
		})
	}
}
