package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
)

// inProcess calls a handler without a network.
func inProcess(h http.Handler) func() measurement {
	return func() measurement {
		w := &clocked{ResponseRecorder: httptest.NewRecorder(), start: time.Now()}
		h.ServeHTTP(w, chatRequest())
		return measurement{code: w.Code, retryAfter: w.Header().Get("Retry-After"), first: w.first, total: time.Since(w.start)}
	}
}

// clocked records when the first byte of a body was written.
type clocked struct {
	*httptest.ResponseRecorder
	start time.Time
	first time.Duration
}

func (c *clocked) Write(p []byte) (int, error) {
	if c.Body.Len() == 0 {
		c.first = time.Since(c.start)
	}
	return c.ResponseRecorder.Write(p)
}

// overload compares a gateway under load with one without.
type overload struct {
	first, total     float64       // 99th percentiles of those served, to those without load
	refused          time.Duration // 99th percentile
	unclear          int           // neither served nor refused with Retry-After
	goodput          float64       // served requests / capacity
	served, rejected int
}

// compare summarizes a load; slower is the factor by which service times have grown.
func compare(light, all []measurement, capacity float64, d time.Duration, slower float64) overload {
	served, refused := split(all)
	o := overload{
		first: float64(p99(served, first)) / float64(p99(light, first)) / slower, total: float64(p99(served, total)) / float64(p99(light, total)) / slower,
		refused: p99(refused, total), goodput: float64(len(served)) / d.Seconds() / capacity * slower, served: len(served), rejected: len(refused),
	}
	for _, v := range refused {
		if v.retryAfter == "" || v.code != http.StatusTooManyRequests && v.code != http.StatusServiceUnavailable {
			o.unclear++
		}
	}
	return o
}

// assertBounds checks the bounds that hold in any overload.
func (o overload) assertBounds(t *testing.T) {
	t.Helper()
	t.Logf("p99 of first tokens %.2f, of responses %.2f times that without load; refusals within %v; goodput %.3f; %d served, %d refused", o.first, o.total, o.refused, o.goodput, o.served, o.rejected)
	assert.LessOrEqual(t, o.first, 3.0)
	assert.LessOrEqual(t, o.total, 3.0)
	assert.LessOrEqual(t, o.refused, 10*time.Millisecond)
	assert.Zero(t, o.unclear)
	assert.GreaterOrEqual(t, o.goodput, 0.85)
	assert.Greater(t, o.rejected, o.served/2, "it was an overload")
}

const slots = 12

// At twice the server's capacity for 30 seconds, accepted requests are about as fast as ever,
// and the others are refused at once.
func TestOverload(t *testing.T) {
	t.Parallel()
	defaults := &ratelimit.AdaptiveConfig{}
	for _, tt := range []struct {
		name string
		guards
		slots int
	}{
		{"a bulkhead", guards{bulkhead: slots * 3 / 2}, slots},
		{"an adaptive limit", guards{adaptive: defaults}, slots},
		{"an adaptive limit before a larger server", guards{adaptive: defaults}, 2 * slots},
		{"both", guards{bulkhead: 2 * slots, adaptive: defaults}, slots},
		{"both, and a short line", guards{bulkhead: 2 * slots, adaptive: &ratelimit.AdaptiveConfig{Wait: ratelimit.Wait{Max: 8 * time.Millisecond, Size: 4}}}, slots},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newInference(tt.slots)
				h := guarded(t, tt.guards, e, "http://engine.example")
				light := offer(1, e.capacity()/5, 10*time.Second, inProcess(h))
				all := offer(2, 2*e.capacity(), 30*time.Second, inProcess(h))
				compare(light, all, e.capacity(), 30*time.Second, 1).assertBounds(t)
			})
		})
	}
}

// Without guards the same load makes everything slow.
func TestOverloadWithoutGuards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newInference(slots)
		h := guarded(t, guards{}, e, "http://engine.example")
		all := offer(2, 2*e.capacity(), 10*time.Second, inProcess(h))
		assert.Greater(t, p99(all, total), 5*time.Second)
	})
}

// The adaptive limit follows a loss of half the slots or half the speed within seconds, and
// the recovery, too.
func TestOverloadCapacityLoss(t *testing.T) {
	t.Parallel()
	const each, settles = 25 * time.Second, 10 * time.Second
	for name, change := range map[string]struct {
		lose, regain func(*inference)
		slower       float64 // than before, without a queue
	}{
		"half the speed": {func(e *inference) { e.slow.Store(2) }, func(e *inference) { e.slow.Store(1) }, 2},
		"half the slots": {func(e *inference) { e.take(slots / 2) }, func(e *inference) { e.give(slots / 2) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newInference(slots)
				h := guarded(t, guards{adaptive: &ratelimit.AdaptiveConfig{}}, e, "http://engine.example")
				light := offer(1, e.capacity()/5, 10*time.Second, inProcess(h))
				time.AfterFunc(each, func() { change.lose(e) })
				time.AfterFunc(2*each, func() { change.regain(e) })
				all := offer(2, 2*e.capacity(), 3*each, inProcess(h))
				part := func(from time.Duration) []measurement { return between(all, from, from+each-settles) }
				t.Log("before")
				compare(light, part(settles), e.capacity(), each-settles, 1).assertBounds(t)
				t.Log("half of it is lost")
				compare(light, part(each+settles), e.capacity()/2*change.slower, each-settles, change.slower).assertBounds(t)
				t.Log("it is back")
				compare(light, part(2*each+settles), e.capacity(), each-settles, 1).assertBounds(t)
			})
		})
	}
}
