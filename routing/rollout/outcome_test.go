package rollout_test

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/stretchr/testify/require"
)

const token = `data: {"choices":[{"index":0,"delta":{"content":"a"}}]}` + "\n\n"

// script is a body that yields its parts at intervals, then err. Its context ends it.
type script struct {
	ctx   context.Context //nolint:containedctx // a body has no other way to end with its request
	every time.Duration
	parts []string
	err   error
}

func (s *script) Read(p []byte) (int, error) {
	select {
	case <-s.ctx.Done():
		return 0, context.Cause(s.ctx)
	case <-time.After(s.every):
	}
	if len(s.parts) == 0 {
		return 0, s.err
	}
	n := copy(p, s.parts[0])
	s.parts = s.parts[1:]
	return n, nil
}

func (*script) Close() error { return nil }

// responds returns the same response to every request.
func responds(status int, kind string, every time.Duration, err error, parts ...string) http.RoundTripper {
	return routetest.Upstream(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		body := &script{ctx: r.Context(), every: every, parts: parts, err: err}
		return &http.Response{StatusCode: status, ProtoMajor: 1, ContentLength: -1, Header: http.Header{"Content-Type": {kind}}, Body: body}, nil
	})
}

func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// The outcome of a request through the proxy is good, bad, slow or no evidence.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	const stream, jsonType = "text/event-stream", "application/json"
	second := time.Second
	for name, c := range map[string]struct {
		canary   http.RoundTripper
		method   string
		headers  []string
		leave    time.Duration // of the client, to disconnect
		patience string        // fallback_after of the canary's route
		want     string
	}{
		"a stream":                     {canary: responds(200, stream, second, io.EOF, token, "data: [DONE]\n\n"), want: "good"},
		"a stream that is cut":         {canary: responds(200, stream, second, io.EOF, token), want: "bad"},
		"a stream that breaks":         {canary: responds(200, stream, second, io.ErrUnexpectedEOF, token), want: "bad"},
		"a stream with an error event": {canary: responds(200, stream, second, io.EOF, token, `data: {"error":{"message":"x"}}`+"\n\n", "data: [DONE]\n\n"), want: "bad"},
		"an empty stream":              {canary: responds(200, stream, second, io.EOF), want: "bad"},
		"a stream that stalls":         {canary: responds(200, stream, time.Hour, io.EOF, token), want: "bad"},
		"JSON":                         {canary: responds(200, jsonType, second, io.EOF, `{"a":1}`), want: "good"},
		"JSON that is cut":             {canary: responds(200, jsonType, second, io.EOF, `{"a":`), want: "bad"},
		"nothing":                      {canary: responds(204, "", 0, io.EOF), want: "good"},
		"nothing at all": {canary: routetest.Upstream(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}}, nil
		}), want: "good"},
		"HEAD": {canary: routetest.Upstream(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: 9, Body: http.NoBody}, nil
		}), method: http.MethodHead, want: "good"},
		"a refusal":                     {canary: responds(400, jsonType, 0, io.EOF, `{}`), want: "bad"},
		"hangs":                         {canary: routetest.Upstream(hangs), want: "bad"},
		"hangs beyond its patience":     {canary: routetest.Upstream(hangs), patience: `,"fallback_after":"5s"`, want: "bad"},
		"hangs, the client disconnects": {canary: routetest.Upstream(hangs), leave: 100 * time.Millisecond, want: "nothing"},
		"hangs, the client has waited":  {canary: routetest.Upstream(hangs), leave: 20 * second, want: "slow"},
		"hangs, X-Request-Timeout":      {canary: routetest.Upstream(hangs), headers: []string{"X-Request-Timeout", "20"}, want: "slow"},
		"hangs, too short a timeout":    {canary: routetest.Upstream(hangs), headers: []string{"X-Request-Timeout", "0.1"}, want: "nothing"},
		"504 of too short a timeout":    {canary: responds(504, "", 0, io.EOF), headers: []string{"X-Request-Timeout", "20"}, want: "nothing"},
		"disconnect in the middle":      {canary: responds(200, stream, 3*second, io.EOF, token, token, token), leave: 5 * second, want: "slow"},
		"fails, and falls back":         {canary: responds(503, "", 0, io.EOF), patience: `,"fallback_after":"5s"`, want: "bad"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newRelay(t, c.canary, c.patience)
				for sent := 0; sent < 100; g.user++ { // enough for the stable version's percentile
					if g.version() == "old" {
						g.send(http.MethodPost, 0)
						sent++
					}
				}
				for g.version() != "new" {
					g.user++
				}
				g.send(cmp.Or(c.method, http.MethodPost), c.leave, c.headers...)
				require.Equal(t, c.want, g.verdict())
			})
		})
	}
}

// relay is a gateway with a rollout.
type relay struct {
	*rollout.Rollout

	t      *testing.T
	router *routing.Router
	engine *gin.Engine
	user   int
}

func newRelay(t *testing.T, canary http.RoundTripper, patience string) *relay {
	t.Helper()
	r, err := rollout.New(rollout.Config{Stable: "old", Canary: "new", Steps: []float64{0.5, 1}})
	require.NoError(t, err)
	text := `{"routes":[{"version":"old","weight":1},{"version":"new","weight":1,"fallback":["old"]` + patience + `}]}`
	router := routetest.New(t, routing.Config{Table: routetest.Table(t, text), StickyHeader: "User", Rollouts: []*rollout.Rollout{r}, Upstreams: map[string]http.RoundTripper{
		"old": responds(200, "text/event-stream", time.Second/2, io.EOF, token, "data: [DONE]\n\n"), "new": canary,
	}})
	p, err := proxy.New(proxy.Config{Transport: router.Transport()})
	require.NoError(t, err)
	e := gin.New()
	e.NoRoute(router.Middleware(), p.Handler())
	return &relay{Rollout: r, t: t, router: router, engine: e}
}

func (g *relay) version() string {
	d, _ := routing.FromContext(routetest.Decided(g.t, g.router, routetest.Post(`{}`, "User", strconv.Itoa(g.user))).Context())
	return d.Version
}

// send sends a request of the user. The client disconnects after leave.
func (g *relay) send(method string, leave time.Duration, headers ...string) {
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	if leave > 0 {
		defer time.AfterFunc(leave, cancel).Stop()
	}
	req := routetest.Post(`{"model":"m","stream":true}`, append(headers, "User", strconv.Itoa(g.user))...)
	if req.Method = method; method == http.MethodHead {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	defer func() { _ = recover() }() // a response that is cut
	g.engine.ServeHTTP(httptest.NewRecorder(), req.WithContext(ctx))
}

// verdict returns the evidence of the canary's one request.
func (g *relay) verdict() string {
	checks := g.Status().Checks
	failures, latency := checks[0], checks[1]
	require.Equal(g.t, 100, failures.StableKeys)
	require.Zero(g.t, failures.StableBad+latency.StableBad)
	switch {
	case failures.CanaryBad == 1:
		return "bad"
	case failures.CanaryKeys == 1:
		return "good"
	case latency.CanaryBad == 1:
		return "slow"
	}
	return "nothing"
}
