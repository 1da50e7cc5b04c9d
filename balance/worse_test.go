package balance_test

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/assert"
)

// load sends 100 requests per second for a minute, each of which takes half a second unless it
// fails at once, and returns the requests per endpoint and the most in flight at one.
func load(t *testing.T, policy balance.Policy, n int, failing func(endpoint int) float64) (got map[string]int, most int64) {
	t.Helper()
	got = map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, balance.Config{Endpoints: endpoints(n), Policy: policy, Outlier: balance.Outlier{MaxEjected: -1}, Transport: transport(func(req *http.Request) (*http.Response, error) {
			i, _ := strconv.Atoi(strings.Trim(req.URL.Hostname(), "e.ts"))
			if rand.Float64() < failing(i) {
				return response(http.StatusInternalServerError, ""), nil
			}
			<-time.After(500 * time.Millisecond)
			return response(http.StatusOK, "ok"), nil
		})})
		for range 6000 {
			<-time.After(10 * time.Millisecond)
			req := request(t, "")
			go func() { _, _ = send(t, p, req) }()
			for _, s := range p.Status() {
				most = max(most, s.Inflight)
			}
		}
		advance(time.Minute)
		for _, s := range p.Status() {
			got[s.Name] = int(s.Requests)
		}
	})
	return got, most
}

// meanOfThree returns the mean requests of each endpoint over three loads: those of one may be far
// from the mean by chance.
func meanOfThree(t *testing.T, policy balance.Policy, failing float64) map[string]int {
	t.Helper()
	sum := map[string]int{}
	for range 3 {
		got, most := load(t, policy, 8, func(int) float64 { return failing })
		assert.LessOrEqual(t, most, int64(8), "50 in flight at eight endpoints")
		for name, n := range got {
			sum[name] += n
		}
	}
	for name := range sum {
		sum[name] /= 3
	}
	return sum
}

// When all endpoints fail alike, the differences are chance, and nothing follows from them.
func TestFailuresOfAllAlike(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]balance.Policy{"least request": balance.LeastRequest(), "token rate": balance.TokenRate()} {
		for _, failing := range []float64{0, .3, .9} {
			t.Run(name+strconv.FormatFloat(failing, 'f', 1, 64), func(t *testing.T) {
				t.Parallel()
				for name, n := range meanOfThree(t, policy, failing) {
					assert.InDelta(t, 750, n, 150, name)
				}
			})
		}
	}
}

// An endpoint that is worse than the rest is avoided, whatever the rest does, and how many are
// worse.
func TestFailuresOfTheWorse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		worse           int // so many endpoints of eight
		rate, otherwise float64
		most            float64 // their part of the requests
	}{
		"one is broken":                        {1, 1, 0, .03},
		"one is broken, the rest fails a bit":  {1, 1, .1, .05},
		"one is broken, the rest fails often":  {1, 1, .5, .07},
		"one fails often":                      {1, .5, 0, .06},
		"one fails often, the rest fails less": {1, .7, .2, .10},
		"two are broken":                       {2, 1, 0, .05},
		"half are broken":                      {4, 1, 0, .10},
		"most are broken":                      {6, 1, 0, .15},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _ := load(t, balance.LeastRequest(), 8, func(i int) float64 {
				if i < tt.worse {
					return tt.rate
				}
				return tt.otherwise
			})
			sum := 0
			for i := range tt.worse {
				sum += got["e0"+strconv.Itoa(i)]
			}
			t.Logf("%.4f", float64(sum)/6000)
			assert.Less(t, float64(sum)/6000, tt.most)
		})
	}
}

// An endpoint that recovered gets its share again.
func TestFailuresAreForgotten(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	got, _ := load(t, balance.LeastRequest(), 4, func(i int) float64 {
		if k := n.Add(1); i == 0 && k < 1000 {
			return 1
		}
		return 0
	})
	assert.InDelta(t, 1250, got["e00"], 200, "a quarter of the last 5,000")
}
