package e2e_test

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

// A request takes 50 to 100 ms in its slot, half of it before the first token.
const (
	leastService = 50 * time.Millisecond
	meanService  = 75 * time.Millisecond
)

// inference is a model server with continuous batching: a request has a slot from its prefill
// to its last token; others wait in an unbounded queue. It is a transport and a handler.
type inference struct {
	slots chan struct{}
	slow  atomic.Int64 // the factor by which service times grow; 0: 1
}

func newInference(slots int) *inference { return &inference{slots: make(chan struct{}, slots)} }

// take occupies slots as they become free, and give frees them.
func (e *inference) take(n int) {
	for range n {
		e.slots <- struct{}{}
	}
}

func (e *inference) give(n int) {
	for range n {
		<-e.slots
	}
}

// capacity is the number of requests a second that it can serve.
func (e *inference) capacity() float64 { return float64(cap(e.slots)) / meanService.Seconds() }

// RoundTrip implements http.RoundTripper. It returns at the first token.
func (e *inference) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case e.slots <- struct{}{}:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	service := leastService + rand.N(2*(meanService-leastService))
	service *= time.Duration(max(e.slow.Load(), 1))
	time.Sleep(service / 2)
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
		Header: http.Header{"Content-Type": {"text/event-stream"}},
		Body:   &tokenBody{engine: e, rest: service / 2},
	}, nil
}

// ServeHTTP implements http.Handler.
func (e *inference) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	res, err := e.RoundTrip(r)
	if err != nil {
		return
	}
	defer func() { _ = res.Body.Close() }()
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	for p := make([]byte, 512); err == nil; {
		var n int
		n, err = res.Body.Read(p)
		_, _ = w.Write(p[:n])
		_ = http.NewResponseController(w).Flush()
	}
}

// tokenBody is the body of a response: a token, the rest of the service time, and the end.
type tokenBody struct {
	engine *inference
	rest   time.Duration
	reads  int
	once   sync.Once
}

func (t *tokenBody) Read(p []byte) (int, error) {
	switch t.reads++; t.reads {
	case 1:
		return copy(p, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"), nil
	case 2:
		time.Sleep(t.rest)
		return copy(p, "data: [DONE]\n\n"), nil
	}
	return 0, io.EOF
}

func (t *tokenBody) Close() error {
	t.once.Do(func() { <-t.engine.slots })
	return nil
}

// guards are the limits in front of the server.
type guards struct {
	bulkhead int                       // 0: none
	adaptive *ratelimit.AdaptiveConfig // nil: none
}

// guarded is a gateway with an adaptive limit, a proxy and a breaker over a transport.
func guarded(tb testing.TB, g guards, next http.RoundTripper, target string) http.Handler {
	tb.Helper()
	at, err := url.Parse(target)
	require.NoError(tb, err)
	circuits := newCircuits(tb, breaker.Config{Settings: breaker.Settings{FailurePercent: -1, MaxConcurrent: g.bulkhead}})
	p, err := proxy.New(proxy.Config{Transport: circuits.Transport(next), Target: at})
	require.NoError(tb, err)
	r := gin.New()
	if g.adaptive != nil {
		limit, err := ratelimit.NewAdaptive(*g.adaptive)
		require.NoError(tb, err)
		r.Use(limit.Middleware())
	}
	r.POST("/v1/chat/completions", p.Handler())
	return r
}

// measurement describes the response to a request.
type measurement struct {
	at           time.Duration // of the request, since the start of the load
	code         int
	retryAfter   string
	first, total time.Duration
}

// offer sends rate requests a second for d with random arrivals, without waiting for
// responses.
func offer(seed uint64, rate float64, d time.Duration, ask func() measurement) []measurement {
	random := rand.New(rand.NewPCG(seed, 1))
	begin := time.Now()
	var mu sync.Mutex
	var all []measurement
	var wg sync.WaitGroup
	for next := begin; ; {
		next = next.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
		if next.Sub(begin) >= d {
			break
		}
		time.Sleep(time.Until(next))
		wg.Go(func() {
			v := ask()
			v.at = next.Sub(begin)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, v)
		})
	}
	wg.Wait()
	return all
}

// split separates the served requests from the others.
func split(all []measurement) (served, refused []measurement) {
	for _, v := range all {
		if v.code == http.StatusOK {
			served = append(served, v)
		} else {
			refused = append(refused, v)
		}
	}
	return served, refused
}

// p99 is the 99th percentile of a time.
func p99(all []measurement, of func(measurement) time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	times := make([]time.Duration, len(all))
	for i, v := range all {
		times[i] = of(v)
	}
	slices.Sort(times)
	return times[(len(times)-1)*99/100]
}

func first(v measurement) time.Duration { return v.first }
func total(v measurement) time.Duration { return v.total }

// between returns the requests that arrived within a time span.
func between(all []measurement, from, to time.Duration) (out []measurement) {
	for _, v := range all {
		if v.at >= from && v.at < to {
			out = append(out, v)
		}
	}
	return out
}
