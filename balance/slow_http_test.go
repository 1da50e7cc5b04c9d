package balance_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/stretchr/testify/assert"
)

// streaming is a model server over HTTP: 10 tokens, the first after 4 times the pace.
func streaming(pace func() time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for i := range 10 {
			wait := pace()
			if i == 0 {
				wait *= 4
			}
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
				return
			}
			_, _ = io.WriteString(w, tokenEvent)
			_ = rc.Flush()
		}
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}
}

// closed makes clients send requests one after the other until there were total, and returns
// the requests per endpoint and the times until the first token, sorted.
func closed(t *testing.T, p *balance.Pool, clients, total int) (got map[string]int, ttft []time.Duration) {
	t.Helper()
	before := map[string]int64{}
	for _, s := range p.Status() {
		before[s.Name] = s.Requests
	}
	var mu sync.Mutex
	var left atomic.Int64
	left.Store(int64(total))
	each(clients, func(int) {
		for left.Add(-1) >= 0 {
			start := time.Now()
			res, err := p.RoundTrip(streamRequest(t, streamed))
			if err != nil {
				t.Error(err)
				return
			}
			_, first := io.ReadFull(res.Body, make([]byte, 1))
			mu.Lock()
			ttft = append(ttft, time.Since(start))
			mu.Unlock()
			_, rest := io.Copy(io.Discard, res.Body)
			if err := errors.Join(first, rest, res.Body.Close()); err != nil {
				t.Error(err)
			}
		}
	})
	got = map[string]int{}
	for _, s := range p.Status() {
		got[s.Name] = int(s.Requests - before[s.Name])
	}
	slices.Sort(ttft)
	return got, ttft
}

// Of four servers over HTTP one is 30 times slower. It gets next to nothing while the others
// have room: at most 0.5 % of the requests, of which some find out whether it has recovered.
// When it has, it gets its share again.
func TestNeighbourSlowServer(t *testing.T) {
	t.Parallel()
	for _, clients := range []int{4, 8, 16} {
		t.Run(strconv.Itoa(clients), func(t *testing.T) {
			t.Parallel()
			need.Minutes(t)
			var fast atomic.Bool
			usual := func() time.Duration { return 4 * time.Millisecond }
			slow := func() time.Duration {
				if fast.Load() {
					return usual()
				}
				return 30 * usual()
			}
			list := servers(t, 4, func(i int) http.HandlerFunc {
				if i == 0 {
					return streaming(slow)
				}
				return streaming(usual)
			})
			p := httpPool(t, balance.Config{Endpoints: list, Policy: balance.TokenRate()})
			got, ttft := closed(t, p, clients, 2000)
			t.Logf("%v, p50 %v p99 %v p99.5 %v", got, at(ttft, .5), at(ttft, .99), at(ttft, .995))
			assert.LessOrEqual(t, got["0"], 10)
			assert.Greater(t, min(got["1"], got["2"], got["3"]), 400, "the others share the load")

			fast.Store(true)
			later := rediscovered(t, p, clients)
			t.Logf("it has its share %d requests later", later)
			assert.Less(t, later, 5000)
		})
	}
}

// The same in virtual time, for any number of clients and servers.
func TestASlowEndpointGetsNextToNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		clients, endpoints int
		pace               time.Duration
	}{
		"one client":      {1, 4, 5 * time.Millisecond},
		"few":             {4, 4, 5 * time.Millisecond},
		"some":            {16, 4, 20 * time.Millisecond},
		"many":            {48, 4, 50 * time.Millisecond},
		"a large pool":    {48, 20, 20 * time.Millisecond},
		"two endpoints":   {4, 2, 20 * time.Millisecond},
		"slow everywhere": {8, 4, 200 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fast := false
				p := newPool(t, balance.Config{Endpoints: endpoints(tt.endpoints), Policy: balance.TokenRate(), Outlier: balance.Outlier{MaxEjected: -1}, Transport: transport(func(req *http.Request) (*http.Response, error) {
					b := beating{first: 4 * tt.pace, every: tt.pace, left: 10, event: tokenEvent, ctx: req.Context()}
					if req.URL.Hostname() == "e00.test" && !fast {
						b.first, b.every = 30*b.first, 30*b.every
					}
					res := response(http.StatusOK, "")
					res.Header.Set("Content-Type", "text/event-stream")
					res.Body, res.ContentLength = &b, -1
					return res, nil
				})})
				got, _ := closed(t, p, tt.clients, 2000)
				unknown := 2 * tt.clients / tt.endpoints // until there are tokens
				assert.LessOrEqual(t, got["e00"], 10+unknown)
				assert.Positive(t, got["e00"], "it is tried")
				fast = true
				closed(t, p, tt.clients, 3000)
				got, _ = closed(t, p, tt.clients, 400*tt.endpoints)
				assert.InDelta(t, 400, got["e00"], 200, "%v", got)
			})
		})
	}
}

// rediscovered returns the number of requests until server 0 gets a fair share of 250.
func rediscovered(t *testing.T, p *balance.Pool, clients int) (later int) {
	t.Helper()
	for later < 5000 {
		got, _ := closed(t, p, clients, 250)
		if later += 250; got["0"] > 40 {
			break
		}
	}
	return later
}

func at(sorted []time.Duration, share float64) time.Duration {
	return sorted[int(share*float64(len(sorted)-1))]
}
