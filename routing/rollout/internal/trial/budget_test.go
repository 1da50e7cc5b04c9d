package trial_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/ginfer/ginfer/routing/rollout/internal/trial"
	"github.com/stretchr/testify/require"
)

// world is the traffic of a rollout in virtual time: users who arrive at random, each with a
// session of requests.
type world struct {
	share   float64       // of the canary
	every   time.Duration // between two users, on average
	session int           // requests of a user, on average
	pause   time.Duration // between two requests of a user
	stuck   float64       // users whose every request fails
	errors  float64       // requests of the others that fail
	outage  float64       // minutes of a day in which everything fails, as a part
	dead    bool          // the canary fails every request
}

// run simulates a rollout. It returns the reason of the rollback, and its time.
func (w world) run(rng *rand.Rand, length time.Duration) (reason string, after time.Duration) {
	e := newEvidence(trial.Config{Steps: []float64{w.share, 1}})
	begun := time.Now()
	out := make([]bool, length/time.Minute+1)
	for i := range out {
		out[i] = rng.Float64() < w.outage
	}
	for time.Since(begun) < length {
		time.Sleep(time.Duration(rng.ExpFloat64() * float64(w.every)))
		key, canary, stuck := rng.Uint64(), rng.Float64() < w.share, rng.Float64() < w.stuck
		for range 1 + int(rng.ExpFloat64()*float64(w.session)) {
			outage := out[min(int(time.Since(begun)/time.Minute), len(out)-1)]
			bad := stuck || outage || rng.Float64() < w.errors || w.dead && canary
			if reason = e.Failed(key, canary, bad); reason != "" {
				return reason, time.Since(begun)
			}
			time.Sleep(w.pause)
		}
	}
	return "", 0
}

// worlds are those in which the canary is no worse. At a half, 5 % of stuck users would exceed
// the risk (13 of 600 days): before the third stable request there is nothing to compare with.
func worlds() map[string]world {
	const every = 30 * time.Second // two users a minute
	return map[string]world{
		"nothing fails":                {share: 0.01, every: every, session: 10},
		"stuck users":                  {share: 0.01, every: every, session: 40, stuck: 0.05},
		"many stuck users":             {share: 0.01, every: every, session: 100, stuck: 0.3},
		"stuck users at the next step": {share: 0.05, every: every, session: 40, stuck: 0.05},
		"stuck users at a fifth":       {share: 0.2, every: every, session: 40, stuck: 0.05},
		"slow sessions at a half":      {share: 0.5, every: every, session: 40, stuck: 0.02, pause: time.Second},
		"errors":                       {share: 0.05, every: every, session: 40, stuck: 0.01, errors: 0.3},
		"outages":                      {share: 0.2, every: every, session: 20, outage: 0.01, pause: time.Second, errors: 0.01},
		"outages at a half":            {share: 0.5, every: every, session: 20, outage: 0.01, pause: time.Second, errors: 0.05},
	}
}

// falseRollbacks returns how many of the simulated days end in a rollback.
func falseRollbacks(t *testing.T, w world, seed uint64, days int) (wrong int) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		for day := range uint64(days) {
			if reason, _ := w.run(rand.New(rand.NewPCG(seed, day)), 24*time.Hour); reason != "" {
				wrong++
			}
		}
	})
	return wrong
}

// With little traffic a canary that is no worse stays within the risk of 1 %, over a day at one
// step.
func TestTinyTrafficStaysWithinTheRisk(t *testing.T) {
	t.Parallel()
	for name, w := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const days = 25
			wrong := falseRollbacks(t, w, 21, days)
			t.Logf("%d of %d days", wrong, days)
			require.LessOrEqual(t, wrong, 3) // at 1 % more are found once in 1,000 runs
		})
	}
}

func TestNeighbourTinyTrafficOverThousandsOfDays(t *testing.T) {
	t.Parallel()
	need.Minutes(t)
	for name, w := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const days = 1000
			wrong := falseRollbacks(t, w, 22, days)
			t.Logf("%d of %d days", wrong, days)
			require.LessOrEqual(t, wrong, days/100)
		})
	}
}

// A canary that fails every request is found after few of its users.
func TestDeadCanaryIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world

		within time.Duration // the median
	}{
		"little traffic":           {world{share: 0.01, every: 30 * time.Second, session: 40}, 4 * time.Hour},
		"little traffic at a half": {world{share: 0.5, every: 30 * time.Second, session: 40}, 8 * time.Minute},
		"much traffic":             {world{share: 0.01, every: 100 * time.Millisecond}, 40 * time.Second},
		"much traffic at a half":   {world{share: 0.5, every: 100 * time.Millisecond}, 3 * time.Second},
		"the stable version fades": {world{share: 0.9, every: 100 * time.Millisecond}, 5 * time.Second},
		"beside errors":            {world{share: 0.2, every: 100 * time.Millisecond, errors: 0.3}, 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := c.world
			w.dead = true
			synctest.Test(t, func(t *testing.T) {
				var delays []time.Duration
				for run := range uint64(99) {
					reason, after := w.run(rand.New(rand.NewPCG(23, run)), 20*24*time.Hour)
					require.NotEmpty(t, reason)
					delays = append(delays, after)
				}
				slices.Sort(delays)
				t.Logf("rolled back after %v (median), %v (95 %%)", delays[49].Round(time.Millisecond), delays[94].Round(time.Millisecond))
				require.Less(t, delays[49], c.within)
			})
		})
	}
}
