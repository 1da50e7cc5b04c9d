package routing_test

import (
	"strconv"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/stretchr/testify/require"
)

const rolloutTable = `{"routes":[
	{"model":"m","version":"new","conditions":{"headers":{"beta":"1"}}},
	{"model":"m","version":"old","weight":90},
	{"model":"m","version":"new","weight":10,"fallback":["old"]}]}`

func newRollout(t *testing.T) *rollout.Rollout {
	t.Helper()
	r, err := rollout.New(rollout.Config{Model: "m", Stable: "old", Canary: "new", Steps: []float64{0.2, 0.5, 1}})
	require.NoError(t, err)
	return r
}

// A rollout divides the weights of its two routes by its present step.
func TestRolloutDividesWeights(t *testing.T) {
	t.Parallel()
	r := newRollout(t)
	router := routetest.New(t, routing.Config{Table: routetest.Table(t, rolloutTable), StickyHeader: "User", Rollouts: []*rollout.Rollout{r}, Upstreams: routetest.Upstreams("old", "new")})
	canary := func() (users int) {
		for i := range 1000 {
			got := relayed(t, router, routetest.Post(`{"model":"m"}`, "User", strconv.Itoa(i)))
			if got.version == "new" {
				users++
			}
		}
		return users
	}
	require.InDelta(t, 200, canary(), 40)
	checks := r.Status().Checks
	require.Equal(t, 1000, checks[0].StableKeys+checks[0].CanaryKeys, "every request is measured")
	require.NoError(t, r.Promote(t.Context()))
	require.InDelta(t, 500, canary(), 50)
	require.NoError(t, r.RollBack(t.Context()))
	require.Zero(t, canary())
	require.Equal(t, "new", relayed(t, router, routetest.Post(`{"model":"m"}`, "Beta", "1")).version, "conditions still apply")
	require.InDelta(t, 90, *router.Table().Routes[1].Weight, 0, "the table keeps its own weights")
}

// A rollout needs two routes that differ by chance only.
func TestRolloutFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ table, want string }{
		"no weight":        {`{"routes":[{"model":"m","version":"old"}]}`, `no route of model "m" gives version "old" a weight`},
		"other conditions": {`{"routes":[{"model":"m","version":"old","weight":9,"conditions":{"tags":["x"]}},{"model":"m","version":"new","weight":1}]}`, "the same conditions"},
		"not the first":    {`{"routes":[{"model":"m","version":"new","weight":1},{"model":"m","version":"old","weight":9}]}`, "must come before"},
		"third before":     {`{"routes":[{"version":"third","weight":1},{"model":"m","version":"old","weight":9},{"model":"m","version":"new","weight":9}]}`, "must come before"},
		"nothing to share": {`{"routes":[{"model":"m","version":"old","weight":0},{"model":"m","version":"new","weight":0},{"version":"third","weight":1}]}`, "sum up to 0"},
		"twice": {`{"routes":[{"model":"m","version":"old","weight":1},{"model":"m","version":"new","weight":1},
			{"model":"m","version":"new","weight":1,"conditions":{"tags":["x"]}}]}`, `both give "new" a weight`},
	} {
		_, err := routing.New(routing.Config{Table: routetest.Table(t, c.table), Upstreams: routetest.Upstreams("old", "new", "third"), Rollouts: []*rollout.Rollout{newRollout(t)}})
		require.ErrorContains(t, err, c.want, name)
	}
	one := newRollout(t)
	_, err := routing.New(routing.Config{Table: routetest.Table(t, rolloutTable), Upstreams: routetest.Upstreams("old", "new"), Rollouts: []*rollout.Rollout{one, one, nil}})
	require.ErrorContains(t, err, "also in rollout")
	require.ErrorContains(t, err, "Rollouts[2] is nil")
}
