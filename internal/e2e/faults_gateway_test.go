package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// faultSetup describes a gateway in front of three servers.
type faultSetup struct {
	urls      []string // of the servers a, b and c
	timeouts  proxy.Timeouts
	settings  breaker.Settings
	noBreaker bool
}

// faultGateway is a running gateway.
type faultGateway struct {
	*httptest.Server

	hosts    []string
	circuits *breaker.Group
	pool     *balance.Pool

	mu     sync.Mutex
	events []proxy.Event
}

func (s faultSetup) start(t *testing.T) *faultGateway {
	t.Helper()
	g := new(faultGateway)
	transport := newTransport(t, proxy.TransportConfig{})
	g.circuits = newCircuits(t, breaker.Config{Settings: s.settings})
	var guarded http.RoundTripper = transport
	if !s.noBreaker {
		guarded = g.circuits.Transport(transport)
	}
	var endpoints []balance.Endpoint
	for i, u := range s.urls {
		parsed, err := url.Parse(u)
		require.NoError(t, err)
		g.hosts = append(g.hosts, parsed.Host)
		endpoints = append(endpoints, balance.Endpoint{Name: string(rune('a' + i)), URL: u})
	}
	// The first attempt goes to a, the next one to b.
	g.pool = newPool(t, balance.Config{Endpoints: endpoints, Policy: balance.RoundRobin(), Transport: guarded})
	p, err := proxy.New(proxy.Config{
		Transport: g.pool, OnEvent: g.on, Timeouts: s.timeouts,
		Retry: proxy.Retry{Repeat: proxy.Always, Backoff: time.Millisecond},
	})
	require.NoError(t, err)
	r := gin.New()
	r.Use(gin.RecoveryWithWriter(io.Discard))
	r.POST("/v1/chat/completions", p.Handler())
	g.Server = newQuietServer(t, r)
	return g
}

func (g *faultGateway) on(_ context.Context, e proxy.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, e)
}

// finished returns the attempts and the ends of all exchanges so far.
func (g *faultGateway) finished() (attempts, finished []proxy.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.events {
		if e.Kind == proxy.AttemptEnded {
			attempts = append(attempts, e)
		} else {
			finished = append(finished, e)
		}
	}
	return attempts, finished
}

// faultResponse is the response as the client saw it.
type faultResponse struct {
	status int
	header http.Header
	body   string
	err    error // of the body
}

// send sends a request for a stream or for JSON.
func (g *faultGateway) send(ctx context.Context, stream bool) (a faultResponse, err error) {
	body := `{"model":"m"}`
	if stream {
		body = `{"model":"m","stream":true}`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return a, err
	}
	res, err := g.Client().Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = res.Body.Close() }()
	all, err := io.ReadAll(res.Body)
	return faultResponse{res.StatusCode, res.Header, string(all), err}, nil
}

// awaitIdle waits until nothing is in flight and that many exchanges have ended.
func (g *faultGateway) awaitIdle(t *testing.T, exchanges int) {
	t.Helper()
	require.Empty(t, awaitNone(func() []string {
		list := inFlight([]*breaker.Group{g.circuits}, []*balance.Pool{g.pool})
		if _, finished := g.finished(); len(finished) != exchanges {
			list = append(list, fmt.Sprintf("%d of %d exchanges finished", len(finished), exchanges))
		}
		return list
	}))
}

// circuit returns the status of the circuit of endpoint i; nil: it received no request.
func (g *faultGateway) circuit(i int) *breaker.Status {
	for _, s := range g.circuits.Status() {
		if s.Circuit == g.hosts[i] {
			return &s
		}
	}
	return nil
}
