package routing_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A canary that lets everybody wait is slow, also if nobody waits until it answers.
func TestAttackRolloutClientsWhoLeaveASlowCanary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.2, 1}})
		r.canary = upstream(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		for i := range 500 {
			ctx, cancel := context.WithCancel(t.Context())
			req := decided(t, r.router, post(`{"model":"m"}`, "User", strconv.Itoa(i)).WithContext(ctx))
			stop := time.AfterFunc(5*time.Second, cancel)
			_, _ = sent(r.router, req)
			stop.Stop()
			cancel()
		}
		require.Equal(t, []string{"rolled_back 0"}, r.told())
		require.Contains(t, r.Status().Reason, "latency: ")
	})
}

// One user among others who tries again and again is no reason.
func TestAttackRolloutOneUserOfMany(t *testing.T) {
	t.Parallel()
	e := routing.NewEvidence(t, routing.RolloutConfig{Steps: []float64{0.05, 1}})
	for i := range uint64(200) {
		require.Empty(t, e.Failed(i, i%20 == 0, false))
	}
	for range 40 {
		require.Empty(t, e.Failed(100, true, true))
		require.Empty(t, e.Failed(7, false, false))
	}
}

// An outage of both is no reason, also when the canary has nearly everybody.
func TestAttackRolloutOutageOfBoth(t *testing.T) {
	t.Parallel()
	wrong := 0
	for run := range uint64(200) {
		rng := rand.New(rand.NewPCG(11, run))
		e := routing.NewEvidence(t, routing.RolloutConfig{Steps: []float64{0.9, 1}})
		reason := ""
		for i := range uint64(2000) {
			user := rng.Uint64N(1000)
			if r := e.Failed(user, user%10 != 0, i >= 1000); r != "" && reason == "" {
				reason = r
			}
		}
		if reason != "" {
			wrong++
		}
	}
	assert.LessOrEqual(t, wrong, 5)
}

// A canary that was well for long and then is not is found out soon, if not as soon as a
// new one: half a window before speaks for it.
func TestAttackRolloutFailsLate(t *testing.T) {
	t.Parallel()
	const share = 0.2
	users := func(healthy int) (failed int) {
		rng := rand.New(rand.NewPCG(12, 13))
		e := routing.NewEvidence(t, routing.RolloutConfig{Steps: []float64{share, 1}})
		for i := range healthy {
			if i%1000 == 500 {
				e.Window()
			}
			require.Empty(t, e.Failed(rng.Uint64(), rng.Float64() < share, true))
			e.Failed(rng.Uint64(), true, false)
			e.Failed(rng.Uint64(), false, false)
		}
		for {
			canary := rng.Float64() < 0.85 // of the failures, with 23 times as many as it had
			if canary {
				failed++
			}
			if e.Failed(rng.Uint64(), canary, true) != "" {
				return failed
			}
			e.Failed(rng.Uint64(), true, false)
			e.Failed(rng.Uint64(), false, false)
		}
	}
	early, late := users(0), users(5000)
	t.Logf("users who failed until it was rolled back: %d at once, %d late", early, late)
	assert.LessOrEqual(t, late, 10*early)
}

// A connection that was taken over is closed by one goroutine while another reads.
func TestAttackRolloutUpgradeIsClosed(t *testing.T) {
	t.Parallel()
	r := newRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}})
	r.old = upstream(func(*http.Request) (*http.Response, error) {
		in, out := io.Pipe()
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: http.Header{}, Body: struct {
			io.ReadCloser
			io.Writer
		}{in, out}}, nil
	})
	r.canary = r.old
	for i := range 50 {
		res, err := r.router.Transport().RoundTrip(decided(t, r.router, post(`{"model":"m"}`, "User", strconv.Itoa(i))))
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, res.Body) })
		wg.Go(func() { _ = res.Body.Close() })
		wg.Wait()
	}
	for _, c := range r.Status().Checks {
		require.Zero(t, c.StableBad+c.CanaryBad, c.Name)
	}
}

// A canary that panics has failed.
func TestAttackRolloutPanics(t *testing.T) {
	t.Parallel()
	r := newRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}})
	r.old = says("old", 200)
	r.canary = upstream(func(*http.Request) (*http.Response, error) { panic(http.ErrAbortHandler) })
	for i := range 100 {
		req := decided(t, r.router, post(`{"model":"m"}`, "User", strconv.Itoa(i)))
		func() {
			defer func() { _ = recover() }()
			_, _ = sent(r.router, req)
		}()
	}
	require.Equal(t, routing.RolledBack, r.Status().State)
}

// A Slow that no answer reaches makes none slow.
func TestAttackRolloutNothingIsSlow(t *testing.T) {
	t.Parallel()
	e := routing.NewEvidence(t, routing.RolloutConfig{Steps: []float64{0.5, 1}, Slow: 1e12})
	for i := range uint64(300) {
		require.Empty(t, e.Began(i, i%2 == 0, time.Minute))
	}
	require.Zero(t, e.Checks()[1].CanaryBad)
}

// Judge says false of a verdict that nobody counts any more.
func TestAttackRolloutJudgeTooLate(t *testing.T) {
	t.Parallel()
	r := newRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}})
	req := decided(t, r.router, post(`{"model":"m"}`, "User", "u"))
	require.True(t, routing.Judge(req.Context(), true))
	require.NoError(t, r.RollBack(t.Context()))
	require.False(t, routing.Judge(req.Context(), true))
}

// Who is told of a rollback may still do something: it is not about the one request.
func TestAttackRolloutEventOutlivesTheRequest(t *testing.T) {
	t.Parallel()
	var told error
	r, err := routing.NewRollout(routing.RolloutConfig{Stable: "a", Canary: "b", OnEvent: func(ctx context.Context, _ routing.RolloutEvent) { told = ctx.Err() }})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, r.RollBack(ctx))
	require.NoError(t, told)
}

func TestAttackRolloutStatusIsACopy(t *testing.T) {
	t.Parallel()
	r, err := routing.NewRollout(routing.RolloutConfig{Stable: "a", Canary: "b"})
	require.NoError(t, err)
	r.Status().Steps[0] = 1
	require.InDelta(t, 0.01, r.Status().Share, 1e-9)
	require.InDelta(t, 0.01, r.Status().Steps[0], 1e-9)
}

// Requests, verdicts, other tables and people, all at once; then all is taken back, for
// everybody, also at another router.
func TestAttackRolloutAllAtOnce(t *testing.T) {
	t.Parallel()
	r := newRelease(t, routing.RolloutConfig{Steps: []float64{0.3, 0.6, 1}, Store: newMemory(), Interval: time.Millisecond, Dwell: time.Millisecond, MinKeys: 20})
	r.old, r.canary = says("old", 200), says("new", 200)
	other := newRouter(t, routing.Config{Table: table(t, rolloutTable), StickyHeader: "User", Rollouts: []*routing.Rollout{r.Rollout}, Upstreams: upstreams("old", "new")})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	require.Eventually(t, func() bool { return r.Status().Share > 0 }, 10*time.Second, time.Millisecond)
	ask := func(g, i int) {
		router := [...]*routing.Router{r.router, other}[i%2]
		req := decided(t, router, post(`{"model":"m"}`, "User", strconv.Itoa(i*8+g)))
		_, _ = sent(router, req)
		routing.Judge(req.Context(), i%5 > 0)
	}
	meddle := func(g, i int) {
		switch {
		case g == 0 && i == 75:
			_ = r.RollBack(ctx)
		case g == 1 && i%20 == 0:
			if err := r.router.SetTable(table(t, rolloutTable)); err != nil { //nolint:contextcheck // it has none
				t.Error(err)
			}
		case g == 2 && i%20 == 0:
			r.Status()
			_ = r.Pause(ctx)
			_ = r.Resume(ctx)
		}
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 150 {
				ask(g, i)
				meddle(g, i)
			}
		})
	}
	wg.Wait()
	_ = r.RollBack(ctx)
	for i := range 50 {
		assert.Equal(t, "old", r.ask(strconv.Itoa(i)))
		assert.Equal(t, "old", relayed(t, other, post(`{"model":"m"}`, "User", strconv.Itoa(i))).version)
	}
	cancel()
	require.NoError(t, <-done)
}

// A canary that begins to fail when each of its users has failed once at the step, as all
// with many requests soon have, is found out.
func TestAttackRolloutUsersWhoFailedOnce(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(14, 15))
	e := routing.NewEvidence(t, routing.RolloutConfig{Steps: []float64{0.2, 1}})
	reason := ""
	for i := range 1_000_000 {
		if i%50_000 == 0 {
			e.Window()
		}
		user := rng.Uint64N(1000)
		canary, share := user%5 == 0, 0.01
		if canary && i > 500_000 {
			share = 0.4
		}
		if r := e.Failed(user, canary, rng.Float64() < share); r != "" {
			reason = r
		}
	}
	require.NotEmpty(t, reason)
	require.False(t, e.Enough())
}
