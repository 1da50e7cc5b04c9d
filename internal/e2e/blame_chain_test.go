package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Bounds of a chain, small so that a test reaches them.
const (
	chainReplayed = 16 << 10 // a longer body is streamed
	chainRead     = 32 << 10 // a longer one is refused where routing needs the model
	chainTimeout  = 500 * time.Millisecond
)

// chainSetup describes a chain. The zero value has one endpoint, no retries and the
// defaults of the packages.
type chainSetup struct {
	urls     []string // of the endpoints
	retry    bool
	protocol string // towards the endpoints; see proxy.TransportConfig
	maxBody  int64  // 0: chainReplayed
	settings breaker.Settings
	timeouts proxy.Timeouts
	held     proxy.BodiesConfig // the zero value: chainRead
	outer    gin.HandlersChain  // before every other stage
}

// chain is a gateway made of the library's packages, with the stages of the reference
// gateway in their order. Under /v1 requests are routed by model; under /raw no stage reads
// their bodies.
type chain struct {
	*httptest.Server

	circuits *breaker.Group
	pool     *balance.Pool
	router   *routing.Router
	streams  *stream.Streams
	proxies  []*proxy.Proxy
	calls    counted

	entered, finished, attempts atomic.Int64
	mu                          sync.Mutex
	events                      []proxy.Event
}

// anyCaller accepts any bearer token as the caller's name.
type anyCaller struct{}

func (anyCaller) Verify(r *http.Request) (*auth.Identity, error) {
	name, err := auth.Bearer(r)
	if err != nil {
		return nil, err
	}
	return &auth.Identity{Subject: name, Issuer: "test", Method: "apikey"}, nil
}

func (s chainSetup) start(t *testing.T) *chain {
	t.Helper()
	g := new(chain)
	transport := newTransport(t, proxy.TransportConfig{Protocol: s.protocol})
	g.calls.next = transport
	g.circuits = newCircuits(t, breaker.Config{Settings: s.settings})
	var endpoints []balance.Endpoint
	for _, u := range s.urls {
		endpoints = append(endpoints, balance.Endpoint{URL: u})
	}
	g.pool = newPool(t, balance.Config{Endpoints: endpoints, Policy: balance.RoundRobin(), Transport: g.circuits.Transport(&g.calls)})
	meter, err := stream.NewMeter(stream.MeterConfig{OnUsage: func(context.Context, stream.Usage) {}})
	require.NoError(t, err)
	provider := sdktrace.NewTracerProvider()
	tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: provider})
	require.NoError(t, err)
	upstream := tracing.Transport(meter.Transport(g.pool))
	g.router, err = routing.New(routing.Config{
		Table:     routing.Table{Routes: []routing.Route{{Model: "m", Version: "v1", Upstream: "a"}}},
		Upstreams: map[string]http.RoundTripper{"a": upstream},
	})
	require.NoError(t, err)
	g.streams, err = stream.New(stream.Config{WriteTimeout: chainTimeout})
	require.NoError(t, err)
	g.serve(t, s.groups(t, g, tracing, upstream))
	return g
}

// groups returns the handler of /v1 and /raw.
func (s chainSetup) groups(t *testing.T, g *chain, tracing *observe.Tracing, upstream http.RoundTripper) http.Handler {
	t.Helper()
	access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	s.held.Limit = cmp.Or(s.held.Limit, int64(chainRead))
	held, err := proxy.NewBodies(s.held)
	require.NoError(t, err)
	gate := gin.HandlersChain{held.Middleware(), access.Middleware(), tracing.Middleware(), apierror.Recovery(func(*gin.Context, any, []byte) {})}
	gate = append(gate, s.outer...)
	gate = append(gate, auth.Middleware(auth.Config{Verifiers: []auth.Verifier{anyCaller{}}}))
	models := engine(slices.Concat(gate, gin.HandlersChain{g.router.Middleware(), g.streams.Middleware(), g.relay(t, s, g.router.Transport())}))
	raw := engine(slices.Concat(gate, gin.HandlersChain{g.streams.Middleware(), g.relay(t, s, upstream)}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			models.ServeHTTP(w, r)
			return
		}
		raw.ServeHTTP(w, r)
	})
}

// engine serves every path and method with one chain of stages.
func engine(stages gin.HandlersChain) *gin.Engine {
	r := gin.New()
	r.Any("/*path", stages...)
	r.NoRoute(stages...) // for any other method
	return r
}

// relay is the last stage.
func (g *chain) relay(t *testing.T, s chainSetup, transport http.RoundTripper) gin.HandlerFunc {
	t.Helper()
	retry := proxy.Retry{Attempts: -1}
	if s.retry {
		retry = proxy.Retry{Repeat: proxy.Always, Backoff: time.Millisecond, BudgetRatio: 1, BudgetReserve: 1000}
	}
	maxBody := s.maxBody
	if maxBody == 0 {
		maxBody = chainReplayed
	}
	p, err := proxy.New(proxy.Config{Transport: transport, MaxBody: maxBody, Retry: retry, Timeouts: s.timeouts, OnEvent: g.on})
	require.NoError(t, err)
	g.proxies = append(g.proxies, p)
	handle := p.Handler()
	return func(c *gin.Context) {
		g.entered.Add(1)
		handle(c)
	}
}

func (g *chain) on(_ context.Context, e proxy.Event) {
	if e.Kind == proxy.Finished {
		g.finished.Add(1)
	} else {
		g.attempts.Add(1)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, e)
}

// serve opens a port for HTTP/1.1 and for HTTP/2 without TLS, with the reference gateway's
// timeouts for clients that neither send nor read.
func (g *chain) serve(t *testing.T, h http.Handler) {
	t.Helper()
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		switch {
		case r.ProtoMajor == 2:
			defer func() { _ = rc.SetWriteDeadline(time.Now().Add(chainTimeout)) }()
		case r.ContentLength != 0:
			_ = rc.SetReadDeadline(time.Now().Add(chainTimeout))
		}
		h.ServeHTTP(w, r)
	}))
	g.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.Config.Protocols = new(http.Protocols)
	g.Config.Protocols.SetHTTP1(true)
	g.Config.Protocols.SetUnencryptedHTTP2(true)
	g.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 1 << 20}
	g.Config.MaxHeaderBytes = 64 << 10
	g.Start()
	t.Cleanup(g.Close)
}

// addr is the listener's address.
func (g *chain) addr() string { return g.Listener.Addr().String() }

// unsettled lists what is still in flight. It is empty when every attempt that started has
// ended once.
func (g *chain) unsettled() []string {
	list := inFlight([]*breaker.Group{g.circuits}, []*balance.Pool{g.pool})
	for what, n := range map[string]int64{
		"requests that the proxy did not finish": g.entered.Load() - g.finished.Load(),
		"calls that did not end":                 g.calls.started.Load() - g.calls.ended.Load(),
		"open streams":                           int64(g.streams.Open()),
	} {
		if n != 0 {
			list = append(list, fmt.Sprintf("%s: %d", what, n))
		}
	}
	return list
}

// awaitIdle waits until nothing is in flight, and returns what never ended.
func (g *chain) awaitIdle() []string { return awaitNone(g.unsettled) }

// blamed lists the endpoints that were found at fault.
func (g *chain) blamed() (list []string) {
	for _, s := range g.circuits.Status() {
		if s.State != breaker.Closed {
			list = append(list, "the circuit of the endpoint is "+s.State.String())
		}
	}
	for _, s := range g.pool.Status() {
		if !s.EjectedUntil.IsZero() {
			list = append(list, "the endpoint is ejected")
		}
		if s.Failures > 0 {
			list = append(list, fmt.Sprintf("the endpoint is charged with %d failures", s.Failures))
		}
	}
	return list
}

// counted counts the calls of endpoints that started and that ended.
type counted struct {
	next           http.RoundTripper
	started, ended atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (c *counted) RoundTrip(req *http.Request) (*http.Response, error) {
	c.started.Add(1)
	res, err := c.next.RoundTrip(req)
	if err != nil {
		c.ended.Add(1)
		return nil, err
	}
	body := &countedBody{ReadCloser: res.Body, end: sync.OnceFunc(func() { c.ended.Add(1) })}
	res.Body = body
	if w, ok := body.ReadCloser.(io.Writer); ok {
		res.Body = countedDuplex{body, w}
	}
	return res, nil
}

// countedBody ends a call when it is closed.
type countedBody struct {
	io.ReadCloser
	end func()
}

// Close implements io.Closer.
func (b *countedBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// countedDuplex is the body of an upgraded connection.
type countedDuplex struct {
	*countedBody
	io.Writer
}

// CloseWrite ends one direction.
func (b countedDuplex) CloseWrite() error {
	if c, ok := b.Writer.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// dialed opens a connection to a chain with a deadline.
func dialed(ctx context.Context, addr string) (*net.TCPConn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.New("no TCP connection")
	}
	return tcp, tcp.SetDeadline(time.Now().Add(20 * time.Second))
}
