package rollout_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A canary that hangs is slow, also when all clients disconnect before it responds.
func TestClientsDisconnectFromASlowCanary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, rollout.Config{Steps: []float64{0.2, 1}})
		r.canary = routetest.Upstream(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		for i := range 500 {
			ctx, cancel := context.WithCancel(t.Context())
			req := routetest.Decided(t, r.router, routetest.Post(`{"model":"m"}`, "User", strconv.Itoa(i)).WithContext(ctx))
			stop := time.AfterFunc(5*time.Second, cancel)
			_, _ = sent(r.router, req)
			stop.Stop()
			cancel()
		}
		require.Equal(t, []string{"rolled_back 0"}, r.reported())
		require.Contains(t, r.Status().Reason, "latency: ")
	})
}

// An upgraded connection is closed by one goroutine while another reads.
func TestUpgradeClosedWhileRead(t *testing.T) {
	t.Parallel()
	r := newRelease(t, rollout.Config{Steps: []float64{0.5, 1}})
	r.old = routetest.Upstream(func(*http.Request) (*http.Response, error) {
		in, out := io.Pipe()
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: http.Header{}, Body: struct {
			io.ReadCloser
			io.Writer
		}{in, out}}, nil
	})
	r.canary = r.old
	for i := range 50 {
		res, err := r.router.Transport().RoundTrip(routetest.Decided(t, r.router, routetest.Post(`{"model":"m"}`, "User", strconv.Itoa(i))))
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

// A panic of the canary is a failure.
func TestCanaryPanics(t *testing.T) {
	t.Parallel()
	r := newRelease(t, rollout.Config{Steps: []float64{0.5, 1}})
	r.old = routetest.Serves("old", 200)
	r.canary = routetest.Upstream(func(*http.Request) (*http.Response, error) { panic(http.ErrAbortHandler) })
	for i := range 100 {
		req := routetest.Decided(t, r.router, routetest.Post(`{"model":"m"}`, "User", strconv.Itoa(i)))
		func() {
			defer func() { _ = recover() }()
			_, _ = sent(r.router, req)
		}()
	}
	require.Equal(t, rollout.RolledBack, r.Status().State)
}

// Judge returns false for a verdict that comes after the rollback.
func TestJudgeAfterRollback(t *testing.T) {
	t.Parallel()
	r := newRelease(t, rollout.Config{Steps: []float64{0.5, 1}})
	req := routetest.Decided(t, r.router, routetest.Post(`{"model":"m"}`, "User", "u"))
	require.True(t, rollout.Judge(req.Context(), true))
	require.NoError(t, r.RollBack(t.Context()))
	require.False(t, rollout.Judge(req.Context(), true))
}

// The context of an event outlives the request that caused it.
func TestEventOutlivesTheRequest(t *testing.T) {
	t.Parallel()
	var ended error
	r, err := rollout.New(rollout.Config{Stable: "a", Canary: "b", OnEvent: func(ctx context.Context, _ rollout.Event) { ended = ctx.Err() }})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, r.RollBack(ctx))
	require.NoError(t, ended)
}

func TestStatusIsACopy(t *testing.T) {
	t.Parallel()
	r, err := rollout.New(rollout.Config{Stable: "a", Canary: "b"})
	require.NoError(t, err)
	r.Status().Steps[0] = 1
	require.InDelta(t, 0.01, r.Status().Share, 1e-9)
	require.InDelta(t, 0.01, r.Status().Steps[0], 1e-9)
}

// Requests, verdicts, new tables and operators act concurrently. After the rollback all
// users have the stable version, also at another router.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	r := newRelease(t, rollout.Config{Steps: []float64{0.3, 0.6, 1}, Store: newMemory(), Interval: time.Millisecond, Dwell: time.Millisecond, MinKeys: 20})
	r.old, r.canary = routetest.Serves("old", 200), routetest.Serves("new", 200)
	other := routetest.New(t, routing.Config{Table: routetest.Table(t, rolloutTable), StickyHeader: "User", Rollouts: []*rollout.Rollout{r.Rollout}, Upstreams: routetest.Upstreams("old", "new")})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	require.Eventually(t, func() bool { return r.Status().Share > 0 }, 10*time.Second, time.Millisecond)
	send := func(g, i int) {
		router := [...]*routing.Router{r.router, other}[i%2]
		req := routetest.Decided(t, router, routetest.Post(`{"model":"m"}`, "User", strconv.Itoa(i*8+g)))
		_, _ = sent(router, req)
		rollout.Judge(req.Context(), i%5 > 0)
	}
	meddle := func(g, i int) {
		switch {
		case g == 0 && i == 75:
			_ = r.RollBack(ctx)
		case g == 1 && i%20 == 0:
			if err := r.router.SetTable(routetest.Table(t, rolloutTable)); err != nil { //nolint:contextcheck // it has none
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
				send(g, i)
				meddle(g, i)
			}
		})
	}
	wg.Wait()
	_ = r.RollBack(ctx)
	for i := range 50 {
		assert.Equal(t, "old", r.ask(strconv.Itoa(i)))
		version, err := sent(other, routetest.Decided(t, other, routetest.Post(`{"model":"m"}`, "User", strconv.Itoa(i))))
		require.NoError(t, err)
		assert.Equal(t, "old", version)
	}
	cancel()
	require.NoError(t, <-done)
}

// A sample measures requests also outside a proxy.
func TestSampleOutsideAProxy(t *testing.T) {
	t.Parallel()
	r := newRelease(t, rollout.Config{Steps: []float64{0.5, 1}})
	s := r.Step().Sample(1, true)
	res, err := s.RoundTrip(routetest.Post(`{"model":"m"}`), routetest.Serves("new", http.StatusInternalServerError))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 1, r.Status().Checks[0].CanaryBad)
	require.True(t, rollout.Judge(s.NewContext(t.Context()), true))
}
