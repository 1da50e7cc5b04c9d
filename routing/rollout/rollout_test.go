package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/stretchr/testify/require"
)

const rolloutTable = `{"salt":"s","routes":[
	{"model":"m","version":"new","conditions":{"headers":{"beta":"1"}}},
	{"model":"m","version":"old","weight":90},
	{"model":"m","version":"new","weight":10,"fallback":["old"]}]}`

// release is a router with a running rollout, in a synctest bubble.
type release struct {
	*rollout.Rollout

	t      *testing.T
	router *routing.Router
	old    http.RoundTripper
	canary http.RoundTripper

	mu     sync.Mutex
	events []string
	seen   map[string]string // version by user
	users  int
}

// startRelease runs a rollout between versions that respond after 100 ms.
func startRelease(t *testing.T, cfg rollout.Config) *release {
	t.Helper()
	r := newRelease(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return r
}

func newRelease(t *testing.T, cfg rollout.Config) *release {
	t.Helper()
	r := &release{t: t, seen: map[string]string{}, old: after(100*time.Millisecond, routetest.Serves("old", 200)), canary: after(100*time.Millisecond, routetest.Serves("new", 200))}
	cfg.Model, cfg.Stable, cfg.Canary = "m", "old", "new"
	cfg.OnEvent = func(_ context.Context, e rollout.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if e.Err != nil {
			r.events = append(r.events, "error")
			return
		}
		r.events = append(r.events, fmt.Sprintf("%v %v", e.State, e.Share))
	}
	var err error
	r.Rollout, err = rollout.New(cfg)
	require.NoError(t, err)
	r.router = routetest.New(t, routing.Config{Table: routetest.Table(t, rolloutTable), StickyHeader: "User", Rollouts: []*rollout.Rollout{r.Rollout}, Upstreams: map[string]http.RoundTripper{
		"old": routetest.Upstream(func(req *http.Request) (*http.Response, error) { return r.old.RoundTrip(req) }),
		"new": routetest.Upstream(func(req *http.Request) (*http.Response, error) { return r.canary.RoundTrip(req) }),
	}})
	return r
}

func after(d time.Duration, next http.RoundTripper) http.RoundTripper {
	return routetest.Upstream(func(req *http.Request) (*http.Response, error) {
		time.Sleep(d)
		return next.RoundTrip(req)
	})
}

// breaks responds with a body that ends in an error.
func breaks(err error) http.RoundTripper {
	return routetest.Upstream(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader("x"), failingReader{err}))}, nil
	})
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// ask sends a user's request and returns the version of its decision.
func (r *release) ask(user string, headers ...string) string {
	req := routetest.Decided(r.t, r.router, routetest.Post(`{"model":"m"}`, append(headers, "User", user)...))
	d, _ := routing.FromContext(req.Context())
	_, _ = sent(r.router, req)
	return d.Version
}

// serve sends requests of new users, ten a second, until the rollout leaves its step.
func (r *release) serve(most int) {
	step := r.Status().Step
	for range most {
		if s := r.Status(); s.Step != step || s.State != rollout.Running {
			return
		}
		r.users++
		r.ask("u" + strconv.Itoa(r.users))
	}
}

func (r *release) reported() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}

// A canary that is no worse gets all requests step by step, and no user loses it on the
// way.
func TestGoodVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, rollout.Config{Steps: []float64{0.05, 0.2, 1}, MinKeys: 100})
		had := map[string]bool{}
		for step := range 2 {
			require.Equal(t, step, r.Status().Step)
			begun := time.Now()
			for i := range 3000 {
				user := strconv.Itoa(i)
				if version := r.ask(user); version == "new" {
					had[user] = true
				} else {
					require.False(t, had[user], "user %s lost the new version", user)
				}
			}
			require.InDelta(t, 3000*r.Status().Steps[step], len(had), 60)
			r.serve(20_000)
			require.GreaterOrEqual(t, time.Since(begun), 10*time.Minute-time.Second)
		}
		synctest.Wait()
		r.serve(2)
		time.Sleep(time.Minute)
		require.Equal(t, "new", r.ask("a user"))
		require.Equal(t, []string{"running 0.2", "running 1", "done 1"}, r.reported())
		require.NoError(t, r.RollBack(t.Context()))
		require.Equal(t, "old", r.ask("a user"))
		require.NoError(t, r.Restart(t.Context()))
		require.Zero(t, r.Status().Checks[0].CanaryKeys)
		require.InDelta(t, 0.05, r.Status().Share, 1e-9)
	})
}

func TestBadVersion(t *testing.T) {
	t.Parallel()
	failsEvery := func(n int, bad http.RoundTripper) http.RoundTripper {
		requests := 0
		return after(100*time.Millisecond, routetest.Upstream(func(req *http.Request) (*http.Response, error) {
			if requests++; requests%n == 0 {
				return bad.RoundTrip(req)
			}
			return routetest.Serves("new", 200).RoundTrip(req)
		}))
	}
	for name, c := range map[string]struct {
		canary http.RoundTripper
		reason string
	}{
		"refuses connections":  {routetest.Upstream(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }), "failures: 4 of 4 users"},
		"not found":            {routetest.Serves("new", 404), "failures: 4 of 4 users"},
		"fails now and then":   {failsEvery(5, routetest.Serves("new", 503)), "failures: "},
		"breaks off":           {failsEvery(5, breaks(io.ErrUnexpectedEOF)), "failures: "},
		"refuses what old can": {failsEvery(4, routetest.Serves("new", 400)), "failures: "},
		"is slow":              {after(time.Second, routetest.Serves("new", 200)), "latency: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := startRelease(t, rollout.Config{Steps: []float64{0.05, 1}})
				r.canary = c.canary
				r.serve(6000)
				require.Len(t, r.reported(), 1)
				require.Equal(t, "rolled_back 0", r.reported()[0])
				s := r.Status()
				require.Contains(t, s.Reason, c.reason)
				t.Logf("%d users: %s", r.users, s.Reason)
				for i := range 200 {
					require.Equal(t, "old", r.ask(strconv.Itoa(i)))
				}
				require.Equal(t, "new", r.ask("tester", "Beta", "1"), "conditions still apply")
			})
		})
	}
}

// No evidence: an outage of both versions, client disconnects, requests routed by a
// condition, a user of bad requests only.
func TestNoEvidence(t *testing.T) {
	t.Parallel()
	t.Run("outage", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, rollout.Config{Steps: []float64{0.05, 1}})
			r.serve(1000)
			r.old, r.canary = after(time.Second, routetest.Serves("old", 503)), after(time.Second, routetest.Serves("new", 503))
			r.serve(1000)
			require.Empty(t, r.reported())
		})
	})
	t.Run("clients disconnect", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, rollout.Config{Steps: []float64{0.5, 1}})
			r.canary = routetest.Upstream(func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
			for i := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				req := routetest.Decided(t, r.router, routetest.Post(`{"model":"m"}`, "User", strconv.Itoa(i)).WithContext(ctx))
				time.AfterFunc(90*time.Millisecond, cancel) // not so late that it is slow
				_, _ = sent(r.router, req)
			}
			require.Empty(t, r.reported())
			require.Zero(t, r.Status().Checks[0].CanaryKeys)
		})
	})
	t.Run("clients disconnect after the whole response", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, rollout.Config{Steps: []float64{0.5, 1}})
			for i := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				res, err := r.router.Transport().RoundTrip(routetest.Decided(t, r.router, routetest.Post(`{"model":"m"}`, "User", strconv.Itoa(i)).WithContext(ctx)))
				require.NoError(t, err)
				_, _ = io.Copy(io.Discard, res.Body)
				cancel()
				_ = res.Body.Close()
			}
			c := r.Status().Checks[0]
			require.Equal(t, 200, c.StableKeys+c.CanaryKeys)
			require.Zero(t, c.StableBad+c.CanaryBad)
		})
	})
	t.Run("by a condition", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, rollout.Config{Steps: []float64{0.05, 1}})
			r.canary = routetest.Serves("new", 500)
			for i := range 200 {
				r.ask(strconv.Itoa(i), "Beta", "1")
			}
			require.Empty(t, r.reported())
		})
	})
	t.Run("a user of bad requests", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, rollout.Config{Steps: []float64{0.5, 1}})
			r.old, r.canary = routetest.Serves("old", 422), routetest.Serves("new", 422)
			user := 0
			for r.ask(strconv.Itoa(user)) != "new" {
				user++
			}
			for range 500 {
				r.ask(strconv.Itoa(user))
			}
			require.Empty(t, r.reported())
		})
	})
}

// A canary that always fails is rolled back also with a single user.
func TestSingleUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, rollout.Config{Steps: []float64{0.5, 1}})
		r.canary = routetest.Serves("new", 500)
		user := 0
		for r.ask(strconv.Itoa(user)) != "new" {
			user++
		}
		for range 29 { // and once above
			require.Empty(t, r.reported())
			r.ask(strconv.Itoa(user))
		}
		require.Equal(t, []string{"rolled_back 0"}, r.reported())
		require.Contains(t, r.Status().Reason, "the last 30 responses")
	})
}

func TestOperator(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, rollout.Config{Steps: []float64{0.1, 0.5, 1}, Patience: time.Hour})
		ctx := t.Context()
		time.Sleep(61 * time.Minute)
		require.Equal(t, rollout.Held, r.Status().State, "there were no requests")
		require.ErrorIs(t, r.Restart(ctx), rollout.ErrState)
		require.NoError(t, r.Resume(ctx))
		require.ErrorIs(t, r.Resume(ctx), rollout.ErrState)
		require.NoError(t, r.Pause(ctx))
		time.Sleep(3 * time.Hour)
		require.Equal(t, rollout.Paused, r.Status().State)
		require.NoError(t, r.Promote(ctx))
		require.InDelta(t, 0.5, r.Status().Share, 0)
		require.NoError(t, r.Promote(ctx))
		synctest.Wait()
		require.Equal(t, rollout.Done, r.Status().State)
		require.ErrorIs(t, r.Promote(ctx), rollout.ErrState)
		require.NoError(t, r.RollBack(ctx))
		require.ErrorIs(t, r.RollBack(ctx), rollout.ErrState)
		require.NoError(t, r.Restart(ctx))
		require.Equal(t, 0, r.Status().Step)
	})
}

// Bad verdicts count like failures, also those of a later request.
func TestJudge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, rollout.Config{Steps: []float64{0.2, 1}})
		judged := 0
		for i := range 500 {
			user := strconv.Itoa(i)
			version := r.ask(user)
			later := routetest.Decided(t, r.router, routetest.Post(`{"model":"m","good":false}`, "User", user))
			if rollout.Judge(later.Context(), version == "old" || i%2 == 0) {
				judged++
			}
		}
		require.Positive(t, judged)
		require.Equal(t, []string{"rolled_back 0"}, r.reported())
		require.Contains(t, r.Status().Reason, "quality: ")
		require.False(t, rollout.Judge(routetest.Decided(t, r.router, routetest.Post(`{"model":"m"}`, "Beta", "1")).Context(), true))
		require.False(t, rollout.Judge(t.Context(), true))
	})
}

func TestAwaitQuality(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, rollout.Config{Steps: []float64{0.5, 1}, MinKeys: 50, AwaitQuality: true, Patience: -1})
		r.serve(8000)
		require.Empty(t, r.reported())
		for i := range 1000 {
			rollout.Judge(routetest.Decided(t, r.router, routetest.Post(`{"model":"m"}`, "User", strconv.Itoa(i))).Context(), true)
		}
		time.Sleep(time.Minute)
		require.Equal(t, []string{"running 1", "done 1"}, r.reported())
	})
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := rollout.New(rollout.Config{Steps: []float64{0.1, 0.1, 2}, Risk: 0.9, Margin: 0.5, Slow: math.NaN(), Dwell: -1})
	for _, part := range []string{"Stable and Canary", "Steps[1]", "Steps[2]", "Risk", "Margin: 0.5", "Slow: NaN", "Dwell"} {
		require.ErrorContains(t, err, part)
	}
}

func TestStateText(t *testing.T) {
	t.Parallel()
	for s := rollout.Running; s <= rollout.Done; s++ {
		text, err := s.MarshalText()
		require.NoError(t, err)
		var back rollout.State
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, s, back)
	}
	require.Equal(t, "State(9)", rollout.State(9).String())
	require.ErrorIs(t, new(rollout.State).UnmarshalText([]byte("x")), rollout.ErrState)
}
