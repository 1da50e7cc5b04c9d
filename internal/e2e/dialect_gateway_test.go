package e2e_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dialectLines is the transport and client that all gateways of a test share.
type dialectLines struct {
	transport *proxy.Transport
	client    *http.Client
}

func newDialectLines(t *testing.T) *dialectLines {
	t.Helper()
	transport := newTransport(t, proxy.TransportConfig{})
	own := &http.Transport{DisableCompression: true}
	t.Cleanup(own.CloseIdleConnections)
	return &dialectLines{transport, &http.Client{Transport: own, Timeout: patience}}
}

// dialectSetup describes a gateway made of the library's packages, in the order of
// examples/gateway. Stages that are off are not in the chain.
type dialectSetup struct {
	*dialectLines

	urls     []string // of the upstreams: the first is "a", the next one "b"
	timeouts proxy.Timeouts
	retry    proxy.Retry
	maxBody  int64
	settings breaker.Settings

	authn   gin.HandlersChain // authenticates the caller
	table   *routing.Table    // nil: every request goes to "a"
	cache   bool
	limits  bool
	burst   int64 // of the limit; default: unreachable
	meter   stream.MeterConfig
	noMeter bool              // no meter, despite limits
	keys    map[string]string // the operator's credentials, by upstream; else the client's own is forwarded
}

// dialectGateway is a running gateway.
type dialectGateway struct {
	*httptest.Server

	setup    *dialectSetup
	circuits map[string]*breaker.Group
	pools    []*balance.Pool
	lines    chan string // the outcome of each request in the access log

	mu       sync.Mutex
	finished []proxy.Event
	settled  []int64
	reserved []int64
}

func (s dialectSetup) start(t *testing.T) *dialectGateway {
	t.Helper()
	g := &dialectGateway{setup: &s, circuits: map[string]*breaker.Group{}, lines: make(chan string, 64)}
	chain, transport := g.chain(t)
	streams, err := stream.New(stream.Config{})
	require.NoError(t, err)
	retry := s.retry
	if retry.Attempts == 0 {
		retry = proxy.Retry{Attempts: 2, Repeat: proxy.Always, Backoff: -1, BudgetRatio: 1, BudgetReserve: 1e6}
	}
	p, err := proxy.New(proxy.Config{Transport: transport, Retry: retry, Timeouts: s.timeouts, MaxBody: s.maxBody, OnEvent: g.onProxy})
	require.NoError(t, err)
	access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: slog.New(outcomeLog{g})})
	require.NoError(t, err)

	r := gin.New()
	r.Use(access.Middleware(), gin.RecoveryWithWriter(io.Discard))
	r.Any("/*path", append(chain, streams.Middleware(), p.Handler())...)
	g.Server = newQuietServer(t, r)
	return g
}

// chain returns the stages in front of the proxy and the transport behind it.
func (g *dialectGateway) chain(t *testing.T) (chain gin.HandlersChain, transport http.RoundTripper) {
	t.Helper()
	s := g.setup
	chain = slices.Clone(s.authn)
	upstreams := map[string]http.RoundTripper{}
	for i, u := range s.urls {
		name := string(rune('a' + i))
		upstreams[name] = g.upstream(t, name, u)
	}
	transport = upstreams["a"]
	if s.table != nil {
		router, err := routing.New(routing.Config{Table: *s.table, Upstreams: upstreams, Cookie: "-", Usable: auth.MayUse})
		require.NoError(t, err)
		chain, transport = append(chain, router.Middleware()), router.Transport()
	}
	if s.limits {
		burst := s.burst
		if burst == 0 {
			burst = 1e12
		}
		tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Key: ratelimit.Global, Rate: 1, Burst: burst, OnEvent: g.onLimit})
		require.NoError(t, err)
		chain = append(chain, tokens.Middleware())
	}
	if s.cache {
		c, err := cache.New(cache.Config{Shared: true, LLM: cache.LLM{AllowNonZeroTemperature: true}})
		require.NoError(t, err)
		chain = append(chain, c.Middleware())
	}
	return chain, transport
}

// upstream returns a pool of one endpoint behind a circuit, as in the gateway.
func (g *dialectGateway) upstream(t *testing.T, name, target string) http.RoundTripper {
	t.Helper()
	s := g.setup
	circuits := newCircuits(t, breaker.Config{Settings: s.settings})
	g.circuits[name] = circuits
	pool := newPool(t, balance.Config{
		Endpoints: []balance.Endpoint{{Name: name, URL: target}}, Transport: circuits.Transport(s.transport),
		Health: balance.Health{Path: "-"}, Outlier: balance.Outlier{Consecutive: -1},
	})
	g.pools = append(g.pools, pool)
	var out http.RoundTripper = pool
	if key, ok := s.keys[name]; ok {
		out = operatorKey{out, key}
	}
	if !s.limits && s.meter.OnUsage == nil || s.noMeter {
		return out
	}
	meter := s.meter
	meter.Report = ratelimit.Report
	m, err := stream.NewMeter(meter)
	require.NoError(t, err)
	return m.Transport(out)
}

// operatorKey sends requests with the operator's credential.
type operatorKey struct {
	next http.RoundTripper
	key  string
}

// RoundTrip implements http.RoundTripper.
func (o operatorKey) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+o.key)
	return o.next.RoundTrip(req)
}

func (g *dialectGateway) onProxy(ctx context.Context, e proxy.Event) {
	events.Hooks{}.Proxy(ctx, e) // for the access log
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.Kind == proxy.Finished {
		g.finished = append(g.finished, e)
	}
}

func (g *dialectGateway) onLimit(_ context.Context, e ratelimit.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.Kind == ratelimit.Allowed {
		g.reserved = append(g.reserved, e.Tokens)
	}
	if e.Kind == ratelimit.Settled {
		g.settled = append(g.settled, e.Tokens)
	}
}

// charged returns the tokens charged for all requests so far.
func (g *dialectGateway) charged() (sum int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.settled {
		sum += n
	}
	return sum
}

// maxReserved returns the largest reservation of a request.
func (g *dialectGateway) maxReserved() (most int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.reserved {
		most = max(most, n)
	}
	return most
}

// outcomeLog receives the lines of the access log.
type outcomeLog struct{ g *dialectGateway }

func (outcomeLog) Enabled(context.Context, slog.Level) bool { return true }
func (o outcomeLog) WithAttrs([]slog.Attr) slog.Handler     { return o }
func (o outcomeLog) WithGroup(string) slog.Handler          { return o }

func (o outcomeLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "outcome" {
			return true
		}
		o.g.lines <- a.Value.String()
		return false
	})
	return nil
}

// dialectRequest is a client's request.
type dialectRequest struct {
	method, path string // default POST
	header       map[string]string
	body         string
}

// dialectResponse is the response as the client saw it.
type dialectResponse struct {
	status  int
	header  http.Header
	body    string
	err     error  // of the body
	outcome string // in the access log
}

// send sends a request, and waits for its line in the access log.
func (g *dialectGateway) send(t require.TestingT, q dialectRequest) (a dialectResponse) {
	if q.method == "" {
		q.method = http.MethodPost
	}
	req, err := http.NewRequest(q.method, g.URL+q.path, strings.NewReader(q.body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer sk-client")
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	res, err := g.setup.client.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer func() { _ = res.Body.Close() }()
	all, err := io.ReadAll(res.Body)
	a = dialectResponse{status: res.StatusCode, header: res.Header, body: string(all), err: err}
	select {
	case a.outcome = <-g.lines:
	case <-time.After(patience):
	}
	return a
}

// state returns the state of the circuit of an upstream.
func (g *dialectGateway) state(upstream string) breaker.State {
	state := breaker.Closed
	for _, s := range g.circuits[upstream].Status() {
		state = max(state, s.State)
	}
	return state
}

// reaches returns the state of the circuit of an upstream, once it is the wanted one: hystrix
// counts on goroutines of its own.
func (g *dialectGateway) reaches(upstream string, want breaker.State) breaker.State {
	assert.Eventually(new(discardT), func() bool { return g.state(upstream) == want }, 5*time.Second, 5*time.Millisecond)
	return g.state(upstream)
}

// inFlight lists what is in flight anywhere.
func (g *dialectGateway) inFlight() []string {
	return inFlight(slices.Collect(maps.Values(g.circuits)), g.pools)
}

// twoUpstreams starts an upstream for each plan.
func twoUpstreams(t *testing.T, a, b *faulty.Plan) []string {
	t.Helper()
	return []string{faulty.Start(t, "a", a).URL, faulty.Start(t, "b", b).URL}
}

// dialectFallback routes everything to "a", with a fallback to "b".
func dialectFallback() *routing.Table {
	return &routing.Table{Routes: []routing.Route{
		{Version: "one", Upstream: "a", Fallback: []string{"two"}},
		{Version: "two", Upstream: "b", Conditions: routing.Conditions{Headers: map[string]string{"X-Never": "1"}}},
	}}
}

// hostOf is the host of a URL.
func hostOf(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u.Host
}
