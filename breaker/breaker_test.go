package breaker_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// own is without hystrix's rates: a bubble can't replace their clock.
var own = breaker.Settings{FailurePercent: -1, Consecutive: 10}

// A total outage opens after ten failures. Recovery is a ramp if others can serve; it fails by
// the rate, and the next sleep is twice as long.
func TestOutageAndRamp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, seen := group(t, own)
		u := &upstream{respond: refused}
		rt := pooled{g.Transport(u)}
		assert.Equal(t, 10, many(rt, 100))
		_, err := send(t.Context(), rt)
		first := retry(t, err)
		assert.InDelta(t, 5*time.Second, first, float64(time.Second))
		time.Sleep(first - time.Millisecond)
		assert.Zero(t, many(rt, 100))
		time.Sleep(time.Millisecond)
		assert.Equal(t, 9, many(rt, 800), "one, and a hundredth")
		assert.Equal(t, breaker.HalfOpen, state(t, g).State)
		assert.Equal(t, 1, many(rt, 1000), "the tenth failure")
		assert.Equal(t, breaker.Open, state(t, g).State)
		_, err = send(t.Context(), rt)
		second := retry(t, err)
		assert.InDelta(t, 10*time.Second, second, float64(2*time.Second), "twice as long")
		u.set(good)
		time.Sleep(second)
		for _, want := range []int{1, 5, 25, 50, 100} { // of 100 in each second
			passed := 0
			for range 100 {
				passed += many(rt, 1)
				time.Sleep(10 * time.Millisecond)
			}
			assert.InDelta(t, want, passed, 2, "%d %%", want)
		}
		assert.Equal(t, breaker.Closed, state(t, g).State)
		assert.Equal(t, []string{"consecutive", "slept", "relapsed", "slept", "recovered"}, seen.reasons())
		u.set(refused)
		many(rt, 20)
		_, err = send(t.Context(), rt)
		assert.InDelta(t, 5*time.Second, retry(t, err), float64(time.Second), "and short again")
	})
}

// The rate of failures opens, even with successes among them. It is hystrix's.
func TestRate(t *testing.T) {
	t.Parallel()
	g, seen := group(t, breaker.Settings{Consecutive: -1})
	u := &upstream{}
	rt := g.Transport(u)
	n := 0
	require.Eventually(t, func() bool {
		n++
		u.set([]func(*http.Request) (*http.Response, error){bad, good}[n%2])
		_, err := send(t.Context(), rt)
		return errors.Is(err, breaker.ErrOpen)
	}, 10*time.Second, time.Millisecond)
	assert.Equal(t, []string{"failures"}, seen.reasons())
	assert.GreaterOrEqual(t, n, 10, "not before there are ten")

	other, quiet := group(t, breaker.Settings{Consecutive: -1})
	u.set(good)
	rt = other.Transport(u)
	for i := range 200 {
		u.set(good)
		if i%4 == 0 {
			u.set(bad)
		}
		_, err := send(t.Context(), rt)
		require.NoError(t, err)
	}
	assert.Empty(t, quiet.reasons(), "a quarter is not half")
}

// A recovered circuit is not opened again by earlier failures.
func TestOldFailuresDoNotReopen(t *testing.T) {
	t.Parallel()
	g, seen := group(t, breaker.Settings{Sleep: 20 * time.Millisecond, Step: 5 * time.Millisecond, Consecutive: -1})
	u := &upstream{respond: bad}
	rt := g.Transport(u)
	require.Eventually(t, func() bool { _, err := send(t.Context(), rt); return errors.Is(err, breaker.ErrOpen) }, 10*time.Second, time.Millisecond)
	u.set(good)
	require.Eventually(t, func() bool { many(rt, 1); return state(t, g).State == breaker.Closed }, 10*time.Second, time.Millisecond)
	for range 100 {
		_, err := send(t.Context(), rt)
		require.NoError(t, err)
	}
	assert.Equal(t, "recovered", seen.reasons()[len(seen.reasons())-1])
}

const (
	text  = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
	last  = "data: [DONE]\n\n"
	fault = "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n"
	vague = "data: {\"error\":{\"message\":\"x\"}}\n\n"
	spent = "data: {\"error\":{\"message\":\"x\",\"code\":\"insufficient_quota\"}}\n\n"
)

func reading(contentType string, r io.Reader) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(r), ContentLength: -1}, nil
	}
}

// The results that are failures, and those that count neither way.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	const stream = "text/event-stream"
	cut := func(s string) io.Reader {
		return io.MultiReader(strings.NewReader(s), iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	for name, tt := range map[string]struct {
		respond func(*http.Request) (*http.Response, error)
		stream  string // without a response
		opens   bool
	}{
		"refused":                   {refused, "", true},
		"500":                       {bad, "", true},
		"529":                       {overloaded, "", true},
		"404":                       {missing, "", false},
		"429":                       {limited, "", false},
		"200":                       {good, "", false},
		"a stream":                  {nil, text + last, false},
		"a stream without an end":   {nil, text, true},
		"a stream of another kind":  {nil, "data: tick\n\n", false},
		"a stream with an error":    {nil, text + fault, true},
		"a stream that is cut":      {func(r *http.Request) (*http.Response, error) { return reading(stream, cut(text))(r) }, "", true},
		"JSON that is cut":          {func(r *http.Request) (*http.Response, error) { return reading("application/json", cut("{"))(r) }, "", true},
		"an error event and an end": {nil, fault + last, true},
		"an error of unknown kind":  {nil, text + vague, false},
		"a spent quota":             {nil, spent, false},
		"a quota that ends":         {nil, text + spent, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, own)
			u := &upstream{respond: tt.respond}
			if u.respond == nil {
				u.respond = respondWith(200, stream, tt.stream) //nolint:bodyclose // send closes it
			}
			many(g.Transport(u), 20)
			assert.Equal(t, tt.opens, state(t, g).State == breaker.Open, name)
			assert.Zero(t, state(t, g).Inflight, name)
		})
	}
}

// A client disconnect counts neither way, before and during a response.
func TestClientsThatLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		u := &upstream{respond: func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}}
		rt := g.Transport(u)
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			_, err := send(ctx, rt)
			require.ErrorIs(t, err, context.Canceled)
		}
		assert.Equal(t, breaker.Closed, state(t, g).State)
		for range 20 { // a passed deadline is the endpoint's fault
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, _ = send(ctx, rt)
			cancel()
		}
		assert.Equal(t, breaker.Open, state(t, g).State)
		assert.Zero(t, state(t, g).Inflight)
	})
}

// An exchange that began before a circuit opened neither closes it nor counts.
func TestStaleSuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, seen := group(t, own)
		u := &upstream{respond: func(*http.Request) (*http.Response, error) { time.Sleep(time.Second); return good(nil) }}
		rt := g.Transport(u)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { _, _ = send(t.Context(), rt) })
		}
		synctest.Wait()
		u.set(refused)
		many(rt, 20)
		wg.Wait()
		assert.Equal(t, breaker.Open, state(t, g).State)
		assert.Equal(t, []string{"consecutive"}, seen.reasons())
	})
}

// An endless stream that began well closes the circuit.
func TestProbeThatStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		u := &upstream{respond: refused}
		rt := g.Transport(u)
		many(rt, 20)
		r, w := io.Pipe()
		u.set(reading("text/event-stream", r)) //nolint:bodyclose // closed below
		time.Sleep(6 * time.Second)
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/", nil)
		res, err := rt.RoundTrip(req)
		require.NoError(t, err)
		go func() { _, _ = io.WriteString(w, text) }()
		_, err = res.Body.Read(make([]byte, 10))
		require.NoError(t, err)
		u.set(good)
		for range 500 {
			many(rt, 1)
			time.Sleep(10 * time.Millisecond)
		}
		assert.Equal(t, breaker.Closed, state(t, g).State)
		assert.Equal(t, 1, state(t, g).Inflight)
		require.NoError(t, w.Close())
		require.NoError(t, res.Body.Close())
		assert.Zero(t, state(t, g).Inflight)
	})
}

// A probe without a result does not keep the circuit open for ever.
func TestProbeThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		u := &upstream{respond: refused}
		rt := g.Transport(u)
		many(rt, 20)
		hang := make(chan struct{})
		u.set(func(*http.Request) (*http.Response, error) { <-hang; return good(nil) })
		time.Sleep(6 * time.Second)
		go func() { _, _ = send(t.Context(), rt) }()
		synctest.Wait()
		u.set(good)
		assert.Zero(t, many(rt, 50))
		time.Sleep(500 * time.Millisecond)
		assert.Equal(t, 50, many(rt, 50), "another one succeeds")
		assert.Equal(t, breaker.Closed, state(t, g).State)
		close(hang)
	})
}

func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, seen := group(t, breaker.Settings{FailurePercent: -1, SlowFirstByte: time.Second, SlowPercent: 50})
		u := &upstream{respond: good}
		rt := g.Transport(u)
		many(rt, 10)
		u.set(func(*http.Request) (*http.Response, error) { time.Sleep(time.Second); return good(nil) })
		many(rt, 9)
		assert.Empty(t, seen.reasons(), "9 of 19")
		many(rt, 1)
		assert.Equal(t, []string{"slow"}, seen.reasons())
	})
}

// A 429 starts a cooldown for its Retry-After, and is no failure.
func TestRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, seen := group(t, own)
		u := &upstream{respond: respondWith(429, "application/json", "", "Retry-After", "7")} //nolint:bodyclose // send closes it
		rt := g.Transport(u)
		code, err := send(t.Context(), rt)
		require.NoError(t, err)
		assert.Equal(t, 429, code)
		_, err = send(t.Context(), rt)
		require.ErrorIs(t, err, breaker.ErrCoolingDown)
		assert.Equal(t, 7*time.Second, retry(t, err))
		assert.False(t, state(t, g).CoolingUntil.IsZero())
		u.set(respondWith(429, "application/json", "", "Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))) //nolint:bodyclose // send closes it
		time.Sleep(7 * time.Second)
		_, err = send(t.Context(), rt)
		require.NoError(t, err)
		_, err = send(t.Context(), rt)
		assert.Equal(t, time.Minute, retry(t, err), "no longer than MaxCooldown")
		assert.Empty(t, seen.reasons())
		assert.Equal(t, 2, u.count())
	})
}

func TestBulkhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, breaker.Settings{FailurePercent: -1, MaxConcurrent: 3})
		rt := g.Transport(&upstream{respond: func(*http.Request) (*http.Response, error) { time.Sleep(time.Second); return good(nil) }})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _, err := send(t.Context(), rt); assert.NoError(t, err) })
		}
		synctest.Wait()
		_, err := send(t.Context(), rt)
		require.ErrorIs(t, err, breaker.ErrFull)
		wg.Wait()
		_, err = send(t.Context(), rt)
		require.NoError(t, err)
		assert.Equal(t, breaker.Closed, state(t, g).State, "being full is no failure")
	})
}

// A transport that panics frees its place. The fault is the gateway's, and does not count
// against the endpoint.
func TestPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		rt := g.Transport(&upstream{respond: func(*http.Request) (*http.Response, error) { panic("x") }})
		for range 10 {
			assert.Panics(t, func() { _, _ = send(t.Context(), rt) })
		}
		assert.Equal(t, breaker.Closed, state(t, g).State)
		assert.Zero(t, state(t, g).Inflight)
	})
}

func TestByHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, seen := group(t, own)
		u := &upstream{respond: good}
		rt := g.Transport(u)
		require.NoError(t, g.Force("a.example", breaker.Open))
		assert.Zero(t, many(rt, 10))
		time.Sleep(time.Hour)
		assert.Zero(t, many(rt, 10))
		assert.True(t, state(t, g).Forced)
		require.NoError(t, g.Unforce("a.example"))
		assert.Equal(t, 2, many(rt, 2), "it is used at once")
		require.NoError(t, g.Force("a.example", breaker.Closed))
		u.set(refused)
		assert.Equal(t, 100, many(rt, 100))
		assert.Equal(t, []string{"by hand", "slept", "by hand"}, seen.reasons())
		require.Error(t, g.Force("a.example", breaker.HalfOpen))
	})
}

// Settings change while it runs.
func TestUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, own)
		rt := g.Transport(&upstream{respond: refused})
		assert.Equal(t, 3, many(rt, 3))
		require.NoError(t, g.Update(breaker.Settings{FailurePercent: -1, Consecutive: 5}))
		assert.Equal(t, 2, many(rt, 100))
		require.Error(t, g.Update(breaker.Settings{Sleep: -1}))
	})
}

// Keys beyond the limit share a circuit, and hystrix's circuits are reused.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	before := breaker.Made()
	for range 3 {
		g, err := breaker.New(breaker.Config{MaxCircuits: 5, Key: func(r *http.Request) string { return r.URL.Path }})
		require.NoError(t, err)
		rt := g.Transport(&upstream{respond: good})
		for i := range 100 {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a/"+strings.Repeat("x", i), nil)
			res, err := rt.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
		}
		assert.Len(t, g.Status(), 6)
		g.Close()
	}
	assert.Equal(t, before, breaker.Made(), "earlier ones are reused")
}

// The counts of a closed group don't apply to the next one.
func TestCountsAreOnesOwn(t *testing.T) {
	t.Parallel()
	for range 20 {
		g, err := breaker.New(breaker.Config{Settings: breaker.Settings{Consecutive: -1, Volume: 10}})
		require.NoError(t, err)
		rt := g.Transport(&upstream{respond: bad})
		for range 9 {
			res, err := rt.RoundTrip(httptest.NewRequest(http.MethodGet, "http://a/", nil))
			require.NoError(t, err, "nine are too few")
			require.NoError(t, res.Body.Close())
		}
		g.Close()
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, s := range []breaker.Settings{{Volume: -1}, {FailurePercent: 101}, {SlowPercent: 101}, {Sleep: -1}, {Step: -1}, {Sleep: time.Hour, MaxSleep: time.Minute}} {
		_, err := breaker.New(breaker.Config{Settings: s})
		require.Error(t, err, "%+v", s)
	}
	_, err := breaker.New(breaker.Config{MaxCircuits: -1})
	require.Error(t, err)
	assert.Equal(t, "half-open", breaker.HalfOpen.String())
}
