package rollout_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// server is a version behind a real connection.
type server struct {
	canary bool
	delay  func(n int64) time.Duration // of its n-th response
	accept time.Duration               // the first read of a connection
	bad    float64                     // responses with status 500
	served atomic.Int64
	halt   *sync.RWMutex // held during a pause of the machine
}

func (s *server) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	n := s.served.Add(1)
	time.Sleep(s.delay(n))
	s.halt.RLock()
	defer s.halt.RUnlock()
	if rand.Float64() < s.bad {
		w.WriteHeader(http.StatusInternalServerError)
	}
	_, _ = io.WriteString(w, "x")
}

// start returns the server's URL.
func (s *server) start(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(s)
	server.Listener = slowListener{server.Listener, s.accept}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// slowListener delays each connection.
type slowListener struct {
	net.Listener

	by time.Duration
}

func (l slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &slowConn{Conn: c, by: l.by}, err
}

type slowConn struct {
	net.Conn

	once sync.Once
	by   time.Duration
}

func (c *slowConn) Read(p []byte) (int, error) {
	c.once.Do(func() { time.Sleep(c.by) })
	return c.Conn.Read(p)
}

// pair is an experiment with two versions.
type pair struct {
	delay    func(s *server, n int64) time.Duration
	accept   time.Duration
	bad      float64
	times    float64 // as many failures of the canary; 0: 1
	dominant float64 // requests of a single caller
	bursts   bool
	halts    bool          // 150 ms twice a second
	standard bool          // http.Transport instead of the proxy's
	within   time.Duration // of the experiment; 0: 4 s
}

func constant(d time.Duration) func(*server, int64) time.Duration {
	return func(*server, int64) time.Duration { return d }
}

// try releases the canary to many users until it is decided or the time is over, and returns
// the state.
func (p pair) try(t *testing.T) rollout.Status {
	t.Helper()
	r, err := rollout.New(rollout.Config{Stable: "old", Canary: "new", Steps: []float64{0.05, 0.2, 0.5, 1}, Dwell: time.Second, Interval: 100 * time.Millisecond, MinKeys: 20, Tolerance: 0.5})
	require.NoError(t, err)
	halt := new(sync.RWMutex)
	old, canary := &server{halt: halt, bad: p.bad, accept: p.accept}, &server{halt: halt, bad: p.bad * max(p.times, 1), accept: p.accept, canary: true}
	for _, s := range []*server{old, canary} {
		s.delay = func(n int64) time.Duration { return p.delay(s, n) }
	}
	urls := map[string]string{"old": old.start(t), "new": canary.start(t)}
	upstreams := map[string]http.RoundTripper{"old": p.transport(t, urls["old"]), "new": p.transport(t, urls["new"])}
	router := routetest.New(t, routing.Config{
		Table:        routetest.Table(t, `{"routes":[{"version":"old","weight":1},{"version":"new","weight":1}]}`),
		StickyHeader: "User", Rollouts: []*rollout.Rollout{r}, Upstreams: upstreams,
	})
	ctx, cancel := context.WithCancel(t.Context())
	var loop, clients sync.WaitGroup
	loop.Go(func() { p.pause(ctx, halt) })
	loop.Go(func() { _ = r.Run(ctx) })
	for i := range 8 {
		clients.Go(func() {
			for end := time.Now().Add(cmp.Or(p.within, 4*time.Second)); time.Now().Before(end) && r.Status().State == rollout.Running; {
				p.send(t, router)
				if p.bursts {
					time.Sleep(time.Until(time.Now().Truncate(200 * time.Millisecond).Add(200 * time.Millisecond)))
				}
				time.Sleep(time.Duration(i) * time.Millisecond)
			}
		})
	}
	clients.Wait()
	cancel()
	loop.Wait()
	return r.Status()
}

// transport returns a transport for one version.
func (p pair) transport(t *testing.T, url string) http.RoundTripper {
	t.Helper()
	own, err := proxy.NewTransport(proxy.TransportConfig{})
	require.NoError(t, err)
	standard := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(own.CloseIdleConnections)
	t.Cleanup(standard.CloseIdleConnections)
	var next http.RoundTripper = own
	if p.standard {
		next = standard
	}
	return routetest.Upstream(func(req *http.Request) (*http.Response, error) {
		req = req.Clone(req.Context())
		req.URL.Scheme, req.URL.Host, req.RequestURI = "http", strings.TrimPrefix(url, "http://"), ""
		return next.RoundTrip(req)
	})
}

// send sends one request of some user.
func (p pair) send(t *testing.T, router *routing.Router) {
	t.Helper()
	user := strconv.Itoa(rand.IntN(100_000))
	if rand.Float64() < p.dominant {
		user = "dominant"
	}
	_, _ = sent(router, routetest.Decided(t, router, routetest.Post(`{"model":"m"}`, "User", user)))
}

// pause halts both versions now and then, as a garbage collection does.
func (p pair) pause(ctx context.Context, halt *sync.RWMutex) {
	for p.halts && ctx.Err() == nil {
		time.Sleep(350 * time.Millisecond)
		halt.Lock()
		time.Sleep(150 * time.Millisecond)
		halt.Unlock()
	}
}

// identical returns pairs of versions that are alike.
func identical() map[string]pair {
	out := map[string]pair{
		"1 % errors":    {delay: constant(time.Millisecond), bad: 0.01},
		"5 % errors":    {delay: constant(5 * time.Millisecond), bad: 0.05},
		"30 % errors":   {delay: constant(time.Millisecond), bad: 0.3},
		"slow connects": {delay: constant(time.Millisecond), accept: 50 * time.Millisecond},
		"slow connects, http.Transport": {
			delay: constant(time.Millisecond), accept: 50 * time.Millisecond, standard: true,
		},
		"bimodal": {delay: func(_ *server, n int64) time.Duration {
			return time.Millisecond + time.Duration(n%20/19)*40*time.Millisecond
		}},
		"long first content": {delay: func(*server, int64) time.Duration { return 100*time.Millisecond + rand.N(300*time.Millisecond) }},
		"one caller":         {delay: constant(time.Millisecond), dominant: 0.9, bad: 0.01},
		"bursts":             {delay: constant(time.Millisecond), bursts: true},
		"pauses of both":     {delay: constant(time.Millisecond), halts: true},
		"cold caches at first": {delay: func(s *server, n int64) time.Duration {
			if s.canary && n <= 10 {
				return 60 * time.Millisecond
			}
			return 2 * time.Millisecond
		}},
	}
	for _, d := range []time.Duration{500 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		out[d.String()] = pair{delay: constant(d)}
		out[d.String()+", http.Transport"] = pair{delay: constant(d), standard: true}
	}
	return out
}

// A version that is released beside an identical one is not rolled back, over real
// connections.
func TestNeighbourIdenticalVersionsStay(t *testing.T) {
	t.Parallel()
	for name, p := range identical() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := p.try(t)
			require.NotEqual(t, rollout.RolledBack, s.State, s.Reason)
		})
	}
}

func TestNeighbourIdenticalVersionsStayInFiftyTrials(t *testing.T) {
	need.Minutes(t)
	for name, p := range identical() {
		t.Run(name, func(t *testing.T) {
			var wrong atomic.Int64
			var trials sync.WaitGroup
			for range 10 {
				trials.Go(func() {
					for i := range 5 {
						if s := p.try(t); s.State == rollout.RolledBack {
							wrong.Add(1)
							t.Logf("trial %d: %s", i, s.Reason)
						}
					}
				})
			}
			trials.Wait()
			assert.Zero(t, wrong.Load())
		})
	}
}

// A version that is worse is rolled back.
func TestNeighbourWorseVersionIsFound(t *testing.T) {
	t.Parallel()
	slower := func(base, of time.Duration) func(*server, int64) time.Duration {
		return func(s *server, _ int64) time.Duration {
			if s.canary {
				return of
			}
			return base
		}
	}
	for name, c := range map[string]struct {
		pair
		reason string
	}{
		"fails":                    {pair{delay: constant(time.Millisecond), bad: 0.05, times: 20}, "failures: "},
		"fails six times as often": {pair{delay: constant(time.Millisecond), bad: 0.1, times: 6}, "failures: "},
		"5 to 300 ms":              {pair{delay: slower(5*time.Millisecond, 300*time.Millisecond)}, "latency: "},
		"5 to 50 ms":               {pair{delay: slower(5*time.Millisecond, 50*time.Millisecond)}, "latency: "},
		"20 to 500 ms":             {pair{delay: slower(20*time.Millisecond, 500*time.Millisecond)}, "latency: "},
		"20 to 100 ms":             {pair{delay: slower(20*time.Millisecond, 100*time.Millisecond)}, "latency: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A busy machine sends fewer requests a second. The verdict needs a number of them.
			c.within = 40 * time.Second
			s := c.try(t)
			require.Equal(t, rollout.RolledBack, s.State, fmt.Sprint(s.Checks))
			require.Contains(t, s.Reason, c.reason)
		})
	}
}
