package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withoutHystrix disables hystrix's rates: their clock does not work in a bubble. Consecutive
// failures open the circuit.
var withoutHystrix = breaker.Settings{FailurePercent: -1, Consecutive: 10}

// ignoringAborts calls a handler, and recovers from its abort.
func ignoringAborts(h http.Handler) func() {
	return func() {
		defer func() { _ = recover() }() // from http.ErrAbortHandler
		h.ServeHTTP(httptest.NewRecorder(), chatRequest())
	}
}

// A total outage at a hundred requests a second opens the circuit within a second in every
// mode, and few requests reach the upstream. A success that began before does not close it.
// The recovery is fast, because there is no other endpoint.
func TestOutageVirtual(t *testing.T) {
	t.Parallel()
	for _, asMiddleware := range []bool{false, true} {
		for _, way := range []string{refusing, status500, cutStream, inStreamError} {
			for _, takes := range []time.Duration{50 * time.Millisecond, 3 * time.Second} {
				if asMiddleware && takes < time.Second {
					continue // takes long enough without
				}
				name := map[bool]string{true: "middleware", false: "transport"}[asMiddleware] + ", " + way + ", responses take " + takes.String()
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { outage(t, asMiddleware, way, takes) })
				})
			}
		}
	}
}

func outage(t *testing.T, asMiddleware bool, way string, takes time.Duration) {
	t.Helper()
	u := newFailingUpstream(takes)
	h, g, seen := behindBreaker(t, withoutHystrix, asMiddleware, u, "http://engine.example")
	var waits []func()
	load := func(d time.Duration) { waits = append(waits, atSteadyRate(d, ignoringAborts(h))) }

	load(10 * time.Second)
	require.Empty(t, seen.reasons(), "healthy")
	u.mode.Store(way)
	u.calls.Store(0)
	begin := time.Now()
	load(5 * time.Millisecond)
	time.Sleep(5 * time.Millisecond)
	load(takes + 500*time.Millisecond) // requests from before succeed meanwhile
	opened := seen.first(breaker.Open)
	require.False(t, opened.IsZero(), "it opens")
	t.Logf("opened %v after the first failure, %d came to the upstream", opened.Sub(begin), u.calls.Load())
	assert.LessOrEqual(t, opened.Sub(begin), time.Second)
	assert.LessOrEqual(t, u.calls.Load(), int64(50))
	assert.Equal(t, []string{"consecutive"}, seen.reasons(), "old successes do not close it")
	require.Equal(t, breaker.Open, g.Status()[0].State)

	u.mode.Store(healthy)
	u.takes = 50 * time.Millisecond
	time.Sleep(time.Until(g.Status()[0].Until))
	for _, want := range []int64{95, 100, 100} {
		u.calls.Store(0)
		load(time.Second)
		assert.InDelta(t, want, u.calls.Load(), 3, "%d %%: no other endpoint serves in the meantime", want)
	}
	load(time.Second)
	assert.Equal(t, []string{"consecutive", "slept", "recovered"}, seen.reasons())
	for _, wait := range waits {
		wait()
	}
	assert.Zero(t, g.Status()[0].Inflight)
}

// During a long outage probes become ever rarer, as many at a time as a rate needs, and
// clients are refused at once with Retry-After.
func TestOutageGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := newFailingUpstream(0)
		h, _, seen := behindBreaker(t, withoutHystrix, false, u, "http://engine.example")
		u.mode.Store(refusing)
		atSteadyRate(time.Second, ignoringAborts(h))()
		u.calls.Store(0)
		begin := time.Now()
		var mu sync.Mutex
		late, mute := 0, 0
		atSteadyRate(2*time.Minute, func() {
			at := time.Now()
			w := httptest.NewRecorder()
			h.ServeHTTP(w, chatRequest())
			mu.Lock()
			defer mu.Unlock()
			if time.Since(at) > 10*time.Millisecond {
				late++
			}
			if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
				mute++
			}
		})()
		t.Logf("%d probes in %v", u.calls.Load(), time.Since(begin))
		assert.InDelta(t, 4*10, u.calls.Load(), 10, "after about 5, 10, 20, 40 s")
		assert.Zero(t, late)
		assert.Zero(t, mute)
		assert.NotContains(t, seen.reasons(), "recovered")
	})
}
