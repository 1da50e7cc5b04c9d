package routing_test

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
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/require"
)

const token = `data: {"choices":[{"index":0,"delta":{"content":"a"}}]}` + "\n\n"

// script is a body of parts, each after a while; its context ends it. The last part may be
// an error.
type script struct {
	ctx   context.Context //nolint:containedctx // as above
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

// answers gives every request the same.
func answers(status int, kind string, every time.Duration, err error, parts ...string) http.RoundTripper {
	return upstream(func(r *http.Request) (*http.Response, error) {
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

// What each way to end through the proxy says of the canary: good, bad, slow or nothing.
func TestAttackRolloutVerdicts(t *testing.T) {
	t.Parallel()
	const stream, jsonType = "text/event-stream", "application/json"
	second := time.Second
	for name, c := range map[string]struct {
		canary   http.RoundTripper
		method   string
		headers  []string
		leave    time.Duration // of the client
		patience string        // of the canary's route
		want     string
	}{
		"a stream":                     {canary: answers(200, stream, second, io.EOF, token, "data: [DONE]\n\n"), want: "good"},
		"a stream that is cut":         {canary: answers(200, stream, second, io.EOF, token), want: "bad"},
		"a stream that breaks":         {canary: answers(200, stream, second, io.ErrUnexpectedEOF, token), want: "bad"},
		"a stream that says it failed": {canary: answers(200, stream, second, io.EOF, token, `data: {"error":{"message":"x"}}`+"\n\n", "data: [DONE]\n\n"), want: "bad"},
		"an empty stream":              {canary: answers(200, stream, second, io.EOF), want: "bad"},
		"a stream that stalls":         {canary: answers(200, stream, time.Hour, io.EOF, token), want: "bad"},
		"JSON":                         {canary: answers(200, jsonType, second, io.EOF, `{"a":1}`), want: "good"},
		"JSON that is cut":             {canary: answers(200, jsonType, second, io.EOF, `{"a":`), want: "bad"},
		"nothing":                      {canary: answers(204, "", 0, io.EOF), want: "good"},
		"nothing at all": {canary: upstream(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}}, nil
		}), want: "good"},
		"HEAD": {canary: upstream(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: 9, Body: http.NoBody}, nil
		}), method: http.MethodHead, want: "good"},
		"a refusal":                    {canary: answers(400, jsonType, 0, io.EOF, `{}`), want: "bad"},
		"hangs":                        {canary: upstream(hangs), want: "bad"},
		"hangs beyond its patience":    {canary: upstream(hangs), patience: `,"fallback_after":"5s"`, want: "bad"},
		"hangs, the client leaves":     {canary: upstream(hangs), leave: 100 * time.Millisecond, want: "nothing"},
		"hangs, the client has waited": {canary: upstream(hangs), leave: 20 * second, want: "slow"},
		"hangs, the client said so":    {canary: upstream(hangs), headers: []string{"X-Request-Timeout", "20"}, want: "slow"},
		"hangs, it said too little":    {canary: upstream(hangs), headers: []string{"X-Request-Timeout", "0.1"}, want: "nothing"},
		"504 for too little time":      {canary: answers(504, "", 0, io.EOF), headers: []string{"X-Request-Timeout", "20"}, want: "nothing"},
		"left in the middle":           {canary: answers(200, stream, 3*second, io.EOF, token, token, token), leave: 5 * second, want: "slow"},
		"fails, and falls back":        {canary: answers(503, "", 0, io.EOF), patience: `,"fallback_after":"5s"`, want: "bad"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newRelay(t, c.canary, c.patience)
				for asked := 0; asked < 100; g.user++ { // the stable version's pace
					if g.version() == "old" {
						g.ask(http.MethodPost, 0)
						asked++
					}
				}
				for g.version() != "new" {
					g.user++
				}
				g.ask(cmp.Or(c.method, http.MethodPost), c.leave, c.headers...)
				require.Equal(t, c.want, g.verdict())
			})
		})
	}
}

// relay is a whole gateway with a rollout.
type relay struct {
	*routing.Rollout

	t      *testing.T
	router *routing.Router
	engine *gin.Engine
	user   int
}

func newRelay(t *testing.T, canary http.RoundTripper, patience string) *relay {
	t.Helper()
	r, err := routing.NewRollout(routing.RolloutConfig{Stable: "old", Canary: "new", Steps: []float64{0.5, 1}})
	require.NoError(t, err)
	text := `{"routes":[{"version":"old","weight":1},{"version":"new","weight":1,"fallback":["old"]` + patience + `}]}`
	router := newRouter(t, routing.Config{Table: table(t, text), StickyHeader: "User", Rollouts: []*routing.Rollout{r}, Upstreams: map[string]http.RoundTripper{
		"old": answers(200, "text/event-stream", time.Second/2, io.EOF, token, "data: [DONE]\n\n"), "new": canary,
	}})
	p, err := proxy.New(proxy.Config{Transport: router.Transport()})
	require.NoError(t, err)
	e := gin.New()
	e.NoRoute(router.Middleware(), p.Handler())
	return &relay{Rollout: r, t: t, router: router, engine: e}
}

func (g *relay) version() string {
	d, _ := decide(g.router, post(`{}`, "User", strconv.Itoa(g.user)))
	return d.Version
}

// ask has the user send a request, and leave.
func (g *relay) ask(method string, leave time.Duration, headers ...string) {
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	if leave > 0 {
		defer time.AfterFunc(leave, cancel).Stop()
	}
	req := post(`{"model":"m","stream":true}`, append(headers, "User", strconv.Itoa(g.user))...)
	if req.Method = method; method == http.MethodHead {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	defer func() { _ = recover() }() // an answer that is cut
	g.engine.ServeHTTP(httptest.NewRecorder(), req.WithContext(ctx))
}

// verdict is what was found out about the canary's one request.
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
