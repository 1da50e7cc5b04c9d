package balance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/balance"
	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// full plays all scenes, and with more requests: GINFER_SIMULATION=full.
var full = os.Getenv("GINFER_SIMULATION") == "full"

// capacity is the number of responses of 100 tokens that an engine can write per second.
const capacity = 3.2

// scene is a set of engines behind gateways, and their clients.
type scene struct {
	policy   func() balance.Policy
	hedge    bool // second attempts at another engine, by the proxy
	engines  int  // default: 16
	gateways int
	rate     float64 // requests per second
	requests int     // default: 2,000, or 8,000 of the full simulation
	bursts   bool
	cache    int     // tokens that an engine caches
	stalls   bool    // each engine is slow for 3 s per minute, on average
	failing  float64 // the part of requests that every engine fails
	ask      func(r *rand.Rand) *question
}

// result is the outcome of a scene.
type result struct {
	ttft  []float64 // seconds until the first token of a response that did not fail, sorted
	hit   float64   // the part of prompts that engines had cached
	most  int       // requests in progress at one engine
	extra float64   // attempts beyond the first, by request
}

func (r result) at(share float64) float64 { return r.ttft[int(share*float64(len(r.ttft)-1))] }

func (r result) String() string {
	return fmt.Sprintf("p50 %5.2f  p99 %6.2f  p99.9 %6.2f  hit %.2f  most %3d  extra %.3f", r.at(.5), r.at(.99), r.at(.999), r.hit, r.most, r.extra)
}

// play runs a scene in virtual time.
func (s scene) play(t *testing.T) (out result) {
	t.Helper()
	if s.requests == 0 {
		s.requests = 2000
		if full {
			s.requests = 8000
		}
	}
	if s.engines == 0 {
		s.engines = 16
	}
	synctest.Test(t, func(t *testing.T) { out = s.run(t) })
	return out
}

func (s scene) run(t *testing.T) result {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	engines, gateways, attempts := s.start(t)
	done := make(chan struct{})
	var stalls, users sync.WaitGroup
	if s.stalls {
		for _, e := range engines {
			seed := r.Uint64()
			stalls.Go(func() { e.stalling(rand.New(rand.NewPCG(seed, 3)), done) })
		}
	}
	questions, start := make([]*question, s.requests), time.Now()
	for i := range questions {
		<-time.After(arrivals(r, s.rate, s.bursts, time.Since(start)))
		q, g := s.ask(r), gateways[r.IntN(len(gateways))]
		q.failed = r.Float64() < s.failing
		questions[i] = q
		users.Go(func() { q.send(t, g) })
	}
	users.Wait()
	close(done)
	stalls.Wait()
	out := result{extra: float64(attempts())/float64(len(questions)) - 1}
	for _, e := range engines {
		out.most = max(out.most, e.most)
	}
	warm := questions[len(questions)/5:] // caches are warm, queues at their length
	for _, q := range warm {
		out.hit += float64(q.cached.Load()) / float64(max(1, q.prompt)) / float64(len(warm))
		if !q.failed {
			out.ttft = append(out.ttft, q.ttft.Seconds())
		}
	}
	slices.Sort(out.ttft)
	return out
}

// start returns the engines, and gateways before them: pools, or proxies with pools.
func (s scene) start(t *testing.T) (engines []*engine, gateways []http.RoundTripper, attempts func() int64) {
	t.Helper()
	list, byHost := endpoints(s.engines), map[string]*engine{}
	for i, e := range list {
		made := newEngine([]float64{1, .8, .6}[i%3], s.cache)
		engines, byHost[e.Name+".test"] = append(engines, made), made
	}
	serve := transport(func(req *http.Request) (*http.Response, error) {
		q, _ := req.Context().Value(questionKey{}).(*question)
		if q.failed {
			return response(http.StatusInternalServerError, ""), nil
		}
		return byHost[req.URL.Hostname()].serve(req.Context(), q)
	})
	var pools []*balance.Pool
	for range s.gateways {
		p := newPool(t, balance.Config{Endpoints: list, Policy: s.policy(), Transport: serve, Outlier: balance.Outlier{MaxEjected: -1}})
		pools = append(pools, p)
		if !s.hedge {
			gateways = append(gateways, p)
			continue
		}
		g, err := proxy.New(proxy.Config{Transport: p, Hedge: &proxy.Hedge{}, Retry: proxy.Retry{Repeat: proxy.Always}})
		require.NoError(t, err)
		gateways = append(gateways, proxied{g})
	}
	return engines, gateways, func() (n int64) {
		for _, p := range pools {
			for _, e := range p.Status() {
				n += e.Requests
			}
		}
		return n
	}
}

type questionKey struct{}

// send sends the question and reads the response.
func (q *question) send(t *testing.T, gateway http.RoundTripper) {
	t.Helper()
	q.start = time.Now()
	res, err := gateway.RoundTrip(q.request(t))
	if err != nil {
		t.Error(err)
		return
	}
	_, err = io.Copy(&clock{q: q}, res.Body)
	require.NoError(t, errors.Join(err, res.Body.Close()))
}

func (q *question) request(t *testing.T) *http.Request {
	t.Helper()
	body := fmt.Sprintf(`{"model":"m","stream":true,"messages":[{"role":"system","content":%q},{"role":"user","content":%q}]}`, q.system, q.first)
	req, err := http.NewRequestWithContext(context.WithValue(t.Context(), questionKey{}, q), http.MethodPost, "http://any/v1/chat/completions", http.NoBody)
	require.NoError(t, err)
	bodies.Set(req, []byte(body))
	return req
}

// clock is the client: it notes the time of its first byte.
type clock struct {
	q      *question
	header http.Header
}

func (c *clock) Write(p []byte) (int, error) {
	if c.q.ttft == 0 {
		c.q.ttft = time.Since(c.q.start)
	}
	return len(p), nil
}

func (c *clock) Header() http.Header { return c.header }
func (*clock) WriteHeader(int)       {}
func (*clock) Flush()                {}

// proxied is a gateway's proxy, which writes to the client itself.
type proxied struct{ *proxy.Proxy }

func (p proxied) RoundTrip(req *http.Request) (*http.Response, error) {
	q, _ := req.Context().Value(questionKey{}).(*question)
	req.Header.Set("Content-Type", "application/json")
	c, _ := gin.CreateTestContext(&clock{q: q, header: http.Header{}})
	c.Request = req
	p.Handler()(c)
	return response(c.Writer.Status(), ""), nil
}
