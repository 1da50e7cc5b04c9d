package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// warmBreakers creates hystrix circuits outside of any synctest bubble, in which their
// goroutines, which never end, can't start. Groups reuse them.
func warmBreakers() {
	g, err := breaker.New(breaker.Config{})
	if err != nil {
		fail(err)
	}
	for i := range 16 {
		if err := g.Force(strconv.Itoa(i), breaker.Open); err != nil {
			fail(err)
		}
	}
	g.Close()
}

// The modes of a total outage.
const (
	healthy       = "healthy"
	refusing      = "connections refused"
	status500     = "500"
	cutStream     = "streams cut"
	inStreamError = "streams with an error"
)

const (
	someText  = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
	someError = "data: {\"error\":{\"message\":\"the engine is dead\",\"type\":\"server_error\"}}\n\n"
	lastEvent = "data: [DONE]\n\n"
)

// failingUpstream is a model server that can fail in every mode. It is a transport and a
// handler, and counts its calls.
type failingUpstream struct {
	mode  atomic.Value // string
	takes time.Duration
	calls atomic.Int64
}

func newFailingUpstream(takes time.Duration) *failingUpstream {
	f := &failingUpstream{takes: takes}
	f.mode.Store(healthy)
	return f
}

// response returns the status, the body, and whether the connection then breaks.
func (f *failingUpstream) response() (status int, body string, cut bool) {
	f.calls.Add(1)
	switch f.mode.Load().(string) {
	case refusing:
		return 0, "", true
	case status500:
		return http.StatusInternalServerError, "{}", false
	case cutStream:
		return http.StatusOK, someText, true
	case inStreamError:
		return http.StatusOK, someText + someError, false
	}
	time.Sleep(f.takes)
	return http.StatusOK, someText + lastEvent, false
}

// RoundTrip implements http.RoundTripper.
func (f *failingUpstream) RoundTrip(*http.Request) (*http.Response, error) {
	status, text, cut := f.response()
	if status == 0 {
		return nil, fmt.Errorf("connection refused: %w", io.ErrUnexpectedEOF)
	}
	var body io.Reader = strings.NewReader(text)
	if cut {
		body = io.MultiReader(body, broken{})
	}
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(body)}, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// ServeHTTP implements http.Handler. A refused connection ends without a response.
func (f *failingUpstream) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	status, text, cut := f.response()
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
	if cut {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// stateLog records the state changes of circuits.
type stateLog struct {
	mu  sync.Mutex
	all []breaker.Event
	at  []time.Time
}

func (o *stateLog) on(_ context.Context, e breaker.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all, o.at = append(o.all, e), append(o.at, time.Now())
}

// first returns when a circuit first entered a state, or zero.
func (o *stateLog) first(s breaker.State) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, e := range o.all {
		if e.To == s {
			return o.at[i]
		}
	}
	return time.Time{}
}

func (o *stateLog) reasons() (out []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.all {
		out = append(out, e.Reason)
	}
	return out
}

// behindBreaker is a gateway with a circuit in front of an upstream: in its transport, or as
// middleware.
func behindBreaker(tb testing.TB, s breaker.Settings, asMiddleware bool, next http.RoundTripper, target string) (http.Handler, *breaker.Group, *stateLog) {
	tb.Helper()
	at, err := url.Parse(target)
	require.NoError(tb, err)
	seen := new(stateLog)
	g := newCircuits(tb, breaker.Config{Settings: s, OnEvent: seen.on})
	r := gin.New()
	r.Use(apierror.Recovery(func(*gin.Context, any, []byte) {}))
	if asMiddleware {
		r.Use(g.Middleware(breaker.MiddlewareConfig{}))
	} else {
		next = g.Transport(next)
	}
	p, err := proxy.New(proxy.Config{Transport: next, Target: at})
	require.NoError(tb, err)
	r.POST("/v1/chat/completions", p.Handler())
	return r, g, seen
}

// atSteadyRate sends a hundred requests a second for d without waiting for responses, and
// returns a function that waits for the last of them.
func atSteadyRate(d time.Duration, ask func()) (wait func()) {
	var wg sync.WaitGroup
	next := time.Now()
	for range int(d / (10 * time.Millisecond)) {
		next = next.Add(10 * time.Millisecond)
		time.Sleep(time.Until(next))
		wg.Go(ask)
	}
	return wg.Wait
}

func chatRequest() *http.Request {
	return httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"m","stream":true}`))
}
