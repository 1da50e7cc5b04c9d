package routing_test

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

	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/require"
)

const rolloutTable = `{"salt":"s","routes":[
	{"model":"m","version":"new","conditions":{"headers":{"beta":"1"}}},
	{"model":"m","version":"old","weight":90},
	{"model":"m","version":"new","weight":10,"fallback":["old"]}]}`

// release is a router whose rollout is run, in a synctest bubble.
type release struct {
	*routing.Rollout

	t      *testing.T
	router *routing.Router
	old    http.RoundTripper
	canary http.RoundTripper

	mu     sync.Mutex
	events []string
	seen   map[string]string // version by user
	users  int
}

// startRelease runs a rollout between versions that answer after 100 ms.
func startRelease(t *testing.T, cfg routing.RolloutConfig) *release {
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

func newRelease(t *testing.T, cfg routing.RolloutConfig) *release {
	t.Helper()
	r := &release{t: t, seen: map[string]string{}, old: after(100*time.Millisecond, says("old", 200)), canary: after(100*time.Millisecond, says("new", 200))}
	cfg.Model, cfg.Stable, cfg.Canary = "m", "old", "new"
	cfg.OnEvent = func(_ context.Context, e routing.RolloutEvent) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if e.Err != nil {
			r.events = append(r.events, "error")
			return
		}
		r.events = append(r.events, fmt.Sprintf("%v %v", e.State, e.Share))
	}
	var err error
	r.Rollout, err = routing.NewRollout(cfg)
	require.NoError(t, err)
	r.router = newRouter(t, routing.Config{Table: table(t, rolloutTable), StickyHeader: "User", Rollouts: []*routing.Rollout{r.Rollout}, Upstreams: map[string]http.RoundTripper{
		"old": upstream(func(req *http.Request) (*http.Response, error) { return r.old.RoundTrip(req) }),
		"new": upstream(func(req *http.Request) (*http.Response, error) { return r.canary.RoundTrip(req) }),
	}})
	return r
}

func after(d time.Duration, next http.RoundTripper) http.RoundTripper {
	return upstream(func(req *http.Request) (*http.Response, error) {
		time.Sleep(d)
		return next.RoundTrip(req)
	})
}

// breaks answers with a body that ends in an error.
func breaks(err error) http.RoundTripper {
	return upstream(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader("x"), failingReader{err}))}, nil
	})
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// ask sends a user's request and returns the version that it was decided on.
func (r *release) ask(user string, headers ...string) string {
	req := decided(r.t, r.router, post(`{"model":"m"}`, append(headers, "User", user)...))
	d, _ := routing.FromContext(req.Context())
	_, _ = sent(r.router, req)
	return d.Version
}

// serve has so many new users ask, ten a second, until the rollout is done with its step.
func (r *release) serve(most int) {
	step := r.Status().Step
	for range most {
		if s := r.Status(); s.Step != step || s.State != routing.Running {
			return
		}
		r.users++
		r.ask("u" + strconv.Itoa(r.users))
	}
}

func (r *release) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}

// A version that is as good as the one before gets everything, step by step, and no user
// who had it loses it on the way.
func TestRolloutOfAGoodVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.05, 0.2, 1}, MinKeys: 100})
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
		require.Equal(t, "new", r.ask("anybody"))
		require.Equal(t, []string{"running 0.2", "running 1", "done 1"}, r.told())
		require.NoError(t, r.RollBack(t.Context()))
		require.Equal(t, "old", r.ask("anybody"))
		require.NoError(t, r.Restart(t.Context()))
		require.Zero(t, r.Status().Checks[0].CanaryKeys)
		require.InDelta(t, 0.05, r.Status().Share, 1e-9)
	})
}

func TestRolloutOfABadVersion(t *testing.T) {
	t.Parallel()
	failsEvery := func(n int, bad http.RoundTripper) http.RoundTripper {
		count := 0
		return after(100*time.Millisecond, upstream(func(req *http.Request) (*http.Response, error) {
			if count++; count%n == 0 {
				return bad.RoundTrip(req)
			}
			return says("new", 200).RoundTrip(req)
		}))
	}
	for name, c := range map[string]struct {
		canary http.RoundTripper
		reason string
	}{
		"answers nobody":       {upstream(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }), "failures: 4 of 4 users"},
		"is not there":         {says("new", 404), "failures: 4 of 4 users"},
		"fails now and then":   {failsEvery(5, says("new", 503)), "failures: "},
		"breaks off":           {failsEvery(5, breaks(io.ErrUnexpectedEOF)), "failures: "},
		"refuses what old can": {failsEvery(4, says("new", 400)), "failures: "},
		"is slow":              {after(time.Second, says("new", 200)), "latency: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.05, 1}})
				r.canary = c.canary
				r.serve(6000)
				require.Len(t, r.told(), 1)
				require.Equal(t, "rolled_back 0", r.told()[0])
				s := r.Status()
				require.Contains(t, s.Reason, c.reason)
				t.Logf("%d users: %s", r.users, s.Reason)
				for i := range 200 {
					require.Equal(t, "old", r.ask(strconv.Itoa(i)))
				}
				require.Equal(t, "new", r.ask("tester", "Beta", "1"), "conditions hold on")
			})
		})
	}
}

// What says nothing of a version: an outage of both, clients that leave, a user whom a
// condition gave it, one of whom all requests fail.
func TestRolloutIsNotTakenIn(t *testing.T) {
	t.Parallel()
	t.Run("outage", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.05, 1}})
			r.serve(1000)
			r.old, r.canary = after(time.Second, says("old", 503)), after(time.Second, says("new", 503))
			r.serve(1000)
			require.Empty(t, r.told())
		})
	})
	t.Run("clients leave", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}})
			r.canary = upstream(func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
			for i := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				req := decided(t, r.router, post(`{"model":"m"}`, "User", strconv.Itoa(i)).WithContext(ctx))
				time.AfterFunc(90*time.Millisecond, cancel) // not so late that it is slow
				_, _ = sent(r.router, req)
			}
			require.Empty(t, r.told())
			require.Zero(t, r.Status().Checks[0].CanaryKeys)
		})
	})
	t.Run("clients leave with the whole answer", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}})
			for i := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				res, err := r.router.Transport().RoundTrip(decided(t, r.router, post(`{"model":"m"}`, "User", strconv.Itoa(i)).WithContext(ctx)))
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
			r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.05, 1}})
			r.canary = says("new", 500)
			for i := range 200 {
				r.ask(strconv.Itoa(i), "Beta", "1")
			}
			require.Empty(t, r.told())
		})
	})
	t.Run("a user of bad requests", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}})
			r.old, r.canary = says("old", 422), says("new", 422)
			user := 0
			for r.ask(strconv.Itoa(user)) != "new" {
				user++
			}
			for range 500 {
				r.ask(strconv.Itoa(user))
			}
			require.Empty(t, r.told())
		})
	})
}

// A user alone with a version that never answers is rolled back too.
func TestRolloutWithOneUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}})
		r.canary = says("new", 500)
		user := 0
		for r.ask(strconv.Itoa(user)) != "new" {
			user++
		}
		for range 29 { // and once above
			require.Empty(t, r.told())
			r.ask(strconv.Itoa(user))
		}
		require.Equal(t, []string{"rolled_back 0"}, r.told())
		require.Contains(t, r.Status().Reason, "the last 30 answers")
	})
}

func TestRolloutByHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.1, 0.5, 1}, Patience: time.Hour})
		ctx := t.Context()
		time.Sleep(61 * time.Minute)
		require.Equal(t, routing.Held, r.Status().State, "nobody came")
		require.ErrorIs(t, r.Restart(ctx), routing.ErrRollout)
		require.NoError(t, r.Resume(ctx))
		require.ErrorIs(t, r.Resume(ctx), routing.ErrRollout)
		require.NoError(t, r.Pause(ctx))
		time.Sleep(3 * time.Hour)
		require.Equal(t, routing.Paused, r.Status().State)
		require.NoError(t, r.Promote(ctx))
		require.InDelta(t, 0.5, r.Status().Share, 0)
		require.NoError(t, r.Promote(ctx))
		synctest.Wait()
		require.Equal(t, routing.Done, r.Status().State)
		require.ErrorIs(t, r.Promote(ctx), routing.ErrRollout)
		require.NoError(t, r.RollBack(ctx))
		require.ErrorIs(t, r.RollBack(ctx), routing.ErrRollout)
		require.NoError(t, r.Restart(ctx))
		require.Equal(t, 0, r.Status().Step)
	})
}

// Verdicts of whoever can judge count like failures, also those that come later.
func TestJudge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.2, 1}})
		judged := 0
		for i := range 500 {
			user := strconv.Itoa(i)
			version := r.ask(user)
			later := decided(t, r.router, post(`{"model":"m","good":false}`, "User", user))
			if routing.Judge(later.Context(), version == "old" || i%2 == 0) {
				judged++
			}
		}
		require.Positive(t, judged)
		require.Equal(t, []string{"rolled_back 0"}, r.told())
		require.Contains(t, r.Status().Reason, "quality: ")
		require.False(t, routing.Judge(decided(t, r.router, post(`{"model":"m"}`, "Beta", "1")).Context(), true))
		require.False(t, routing.Judge(t.Context(), true))
	})
}

func TestRolloutAwaitsQuality(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}, MinKeys: 50, AwaitQuality: true, Patience: -1})
		r.serve(8000)
		require.Empty(t, r.told())
		for i := range 1000 {
			routing.Judge(decided(t, r.router, post(`{"model":"m"}`, "User", strconv.Itoa(i))).Context(), true)
		}
		time.Sleep(time.Minute)
		require.Equal(t, []string{"running 1", "done 1"}, r.told())
	})
}

func TestRolloutFaults(t *testing.T) {
	t.Parallel()
	_, err := routing.NewRollout(routing.RolloutConfig{Steps: []float64{0.1, 0.1, 2}, Risk: 0.9, Margin: 0.5, Slow: math.NaN(), Dwell: -1})
	for _, part := range []string{"Stable and Canary", "Steps[1]", "Steps[2]", "Risk", "Margin: 0.5", "Slow: NaN", "Dwell"} {
		require.ErrorContains(t, err, part)
	}
	for name, c := range map[string]struct{ table, want string }{
		"no weight":        {`{"routes":[{"model":"m","version":"old"}]}`, `no route of model "m" gives version "old" a weight`},
		"other conditions": {`{"routes":[{"model":"m","version":"old","weight":9,"conditions":{"tags":["x"]}},{"model":"m","version":"new","weight":1}]}`, "the same conditions"},
		"not the first":    {`{"routes":[{"model":"m","version":"new","weight":1},{"model":"m","version":"old","weight":9}]}`, "must come before"},
		"third before":     {`{"routes":[{"version":"third","weight":1},{"model":"m","version":"old","weight":9},{"model":"m","version":"new","weight":9}]}`, "must come before"},
		"nothing to share": {`{"routes":[{"model":"m","version":"old","weight":0},{"model":"m","version":"new","weight":0},{"version":"third","weight":1}]}`, "sum up to 0"},
		"twice": {`{"routes":[{"model":"m","version":"old","weight":1},{"model":"m","version":"new","weight":1},
			{"model":"m","version":"new","weight":1,"conditions":{"tags":["x"]}}]}`, `both give "new" a weight`},
	} {
		rollout, err := routing.NewRollout(routing.RolloutConfig{Model: "m", Stable: "old", Canary: "new"})
		require.NoError(t, err)
		_, err = routing.New(routing.Config{Table: table(t, c.table), Upstreams: upstreams("old", "new", "third"), Rollouts: []*routing.Rollout{rollout}})
		require.ErrorContains(t, err, c.want, name)
	}
	one, _ := routing.NewRollout(routing.RolloutConfig{Model: "m", Stable: "old", Canary: "new"})
	_, err = routing.New(routing.Config{Table: table(t, rolloutTable), Upstreams: upstreams("old", "new"), Rollouts: []*routing.Rollout{one, one, nil}})
	require.ErrorContains(t, err, "also in rollout")
	require.ErrorContains(t, err, "Rollouts[2] is nil")
}

func TestRolloutStateText(t *testing.T) {
	t.Parallel()
	for s := routing.Running; s <= routing.Done; s++ {
		text, err := s.MarshalText()
		require.NoError(t, err)
		var back routing.RolloutState
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, s, back)
	}
	require.Equal(t, "RolloutState(9)", routing.RolloutState(9).String())
	require.ErrorIs(t, new(routing.RolloutState).UnmarshalText([]byte("x")), routing.ErrRollout)
}
