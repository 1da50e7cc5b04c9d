package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
)

// refusalTimer measures refusals within the gateway.
type refusalTimer struct {
	http.Handler

	mu   sync.Mutex
	took []measurement
}

func (t *refusalTimer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	s := &statusRecorder{ResponseWriter: w}
	t.Handler.ServeHTTP(s, r)
	if s.code == http.StatusServiceUnavailable || s.code == http.StatusTooManyRequests {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.took = append(t.took, measurement{total: time.Since(begin)})
	}
}

// statusRecorder records the status of a response.
type statusRecorder struct {
	http.ResponseWriter
	code int
}

// Flush is for gin, which does not unwrap.
func (s *statusRecorder) Flush() { _ = http.NewResponseController(s.ResponseWriter).Flush() }

func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *statusRecorder) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// overHTTP sends requests to a server over connections.
func overHTTP(client *http.Client, url string) func() measurement {
	return func() measurement {
		begin := time.Now()
		res, err := client.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","stream":true}`))
		if err != nil {
			return measurement{total: time.Since(begin)}
		}
		defer func() { _ = res.Body.Close() }()
		_, _ = res.Body.Read(make([]byte, 1))
		v := measurement{code: res.StatusCode, retryAfter: res.Header.Get("Retry-After"), first: time.Since(begin)}
		if _, err = io.Copy(io.Discard, res.Body); err != nil {
			v.code = 0
		}
		v.total = time.Since(begin)
		return v
	}
}

// BenchmarkOverload is TestOverload in real time over loopback: 30 seconds at twice the
// server's capacity, two with -short. Run it with -benchtime 1x.
func BenchmarkOverload(b *testing.B) {
	for _, one := range []struct {
		name string
		guards
		slows bool // to half the speed in the second half
	}{
		{"bulkhead", guards{bulkhead: slots * 3 / 2}, false},
		{"adaptive", guards{adaptive: &ratelimit.AdaptiveConfig{}}, false},
		{"both", guards{bulkhead: 2 * slots, adaptive: &ratelimit.AdaptiveConfig{}}, false},
		{"both, capacity loss", guards{bulkhead: 2 * slots, adaptive: &ratelimit.AdaptiveConfig{}}, true},
	} {
		b.Run(one.name, func(b *testing.B) {
			for b.Loop() {
				overloadOver(b, one.guards, one.slows)
			}
		})
	}
}

func overloadOver(b *testing.B, g guards, slows bool) {
	b.Helper()
	lasts, alone := 30*time.Second, 10*time.Second
	if testing.Short() { // a smoke test
		lasts, alone = 2*time.Second, time.Second
	}
	e := newInference(slots)
	upstream := newServer(b, e)
	transport := newTransport(b, proxy.TransportConfig{})
	h := guarded(b, g, transport, upstream.URL)
	gate := &refusalTimer{Handler: h}
	gateway := newServer(b, gate)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	defer client.CloseIdleConnections()
	ask := overHTTP(client, gateway.URL)
	light := offer(1, e.capacity()/5, alone, ask)
	offered := e.capacity()
	if slows {
		timer := time.AfterFunc(lasts/2, func() { e.slow.Store(2) })
		defer timer.Stop()
		offered *= 0.75 // on average
	}
	all := offer(2, 2*e.capacity(), lasts, ask)
	o := compare(light, all, offered, lasts, 1)
	b.ReportMetric(milliseconds(p99(light, total)), "unloaded-p99-ms")
	served, refused := split(all)
	b.ReportMetric(milliseconds(p99(served, total)), "accepted-p99-ms")
	b.ReportMetric(o.total, "p99-ratio")
	b.ReportMetric(o.first, "first-token-p99-ratio")
	b.ReportMetric(milliseconds(p99(gate.took, total)), "refusal-p99-ms")
	b.ReportMetric(milliseconds(p99(refused, total)), "refusal-at-client-p99-ms")
	b.ReportMetric(o.goodput, "goodput/capacity")
	b.ReportMetric(float64(o.unclear), "unclear-responses")
	b.ReportMetric(0, "ns/op")
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
