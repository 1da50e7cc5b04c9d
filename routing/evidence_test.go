package routing_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rates at which the canary of a simulated hour has something bad happen to it:
// 200 users a second, each once, of whom it has a twentieth and one in a hundred fails.
const (
	simRate, simShare, simBad = 200., 0.05, 0.01
	simHour                   = 3600.
)

// failing simulates up to an hour in which the canary fails ratio times as often, and
// returns after how many seconds it was rolled back, or false.
func failing(t *testing.T, rng *rand.Rand, ratio float64) (float64, bool) {
	t.Helper()
	e := routing.NewEvidence(t, routing.RolloutConfig{Steps: []float64{simShare, 1}})
	stable, canary := simRate*(1-simShare)*simBad, simRate*simShare*simBad*ratio
	for now := 0.0; ; {
		now += rng.ExpFloat64() / (stable + canary)
		if now > simHour {
			return 0, false
		}
		if e.Failed(rng.Uint64(), rng.Float64() < canary/(stable+canary), true) != "" {
			return now, true
		}
		e.Failed(rng.Uint64(), true, false) // most answers are well: it is not dead
	}
}

// A canary that is no worse is seldom rolled back, however often it is looked at; a
// worse one soon is. The targets are: one in a hundred in an hour; 60 s for three times
// as many failures.
func TestEvidenceOfFailures(t *testing.T) {
	t.Parallel()
	runs := 300
	if testing.Short() {
		runs = 50
	}
	rng := rand.New(rand.NewPCG(1, 2))
	wrong := 0
	for range runs {
		if _, rolledBack := failing(t, rng, 1); rolledBack {
			wrong++
		}
	}
	t.Logf("no worse: %d of %d rolled back within an hour", wrong, runs)
	assert.LessOrEqual(t, wrong, runs/100+1) // 5 of 1000 when it was written
	for _, c := range []struct {
		ratio, target float64
	}{{2, 300}, {3, 60}, {5, 30}} {
		var delays []float64
		for range 100 {
			delay, rolledBack := failing(t, rng, c.ratio)
			require.True(t, rolledBack)
			delays = append(delays, delay)
		}
		slices.Sort(delays)
		t.Logf("%v times the failures: rolled back after %.0f s (median), %.0f s (95 %%)", c.ratio, delays[50], delays[95])
		assert.LessOrEqual(t, delays[50], c.target)
	}
}

// Users who come again and again, some of whom fail far more often than others, are no
// evidence against the version that they happen to have.
func TestEvidenceOfUsersWhoAlwaysFail(t *testing.T) {
	t.Parallel()
	const users, poisoned = 2000, 100
	wrong, runs := 0, 200
	for run := range runs {
		rng := rand.New(rand.NewPCG(3, uint64(run)))
		e := routing.NewEvidence(t, routing.RolloutConfig{Steps: []float64{simShare, 1}})
		rolledBack := false
		for i := range 50_000 {
			if i%5_000 == 4_999 {
				e.Window()
			}
			user := rng.Uint64N(users)
			canary := rand.New(rand.NewPCG(user, uint64(run))).Float64() < simShare
			bad := user < poisoned || rng.Float64() < 0.002
			rolledBack = rolledBack || e.Failed(user, canary, bad) != ""
		}
		if rolledBack {
			wrong++
		}
	}
	t.Logf("%d of %d rolled back", wrong, runs)
	assert.LessOrEqual(t, wrong, runs/50)
}

// The same at every step of a rollout: who had the canary before still has it.
func TestEvidenceOverSteps(t *testing.T) {
	t.Parallel()
	steps := []float64{0.01, 0.05, 0.2, 0.5}
	wrong, runs := 0, 300
	for run := range runs {
		rng := rand.New(rand.NewPCG(4, uint64(run)))
		e := routing.NewEvidence(t, routing.RolloutConfig{Steps: steps})
		rolledBack := false
		for step, share := range steps {
			e.Next(step)
			for range 5_000 {
				user := rng.Uint64N(1000)
				at := rand.New(rand.NewPCG(user, uint64(run))).Float64()
				bad := user%10 == 0 && rng.Float64() < 0.5
				rolledBack = rolledBack || e.Failed(user, at < share, bad) != ""
			}
		}
		if rolledBack {
			wrong++
		}
	}
	t.Logf("%d of %d rolled back", wrong, runs)
	assert.LessOrEqual(t, wrong, runs/50)
}

func TestEvidenceOfLatency(t *testing.T) {
	t.Parallel()
	slowness := func(rng *rand.Rand, canary bool, factor float64) time.Duration {
		d := 200 * (1 + rng.ExpFloat64())
		if canary {
			d *= factor
		}
		return time.Duration(d * float64(time.Millisecond))
	}
	hour := func(run int, factor float64) (rolledBack int) {
		rng := rand.New(rand.NewPCG(5, uint64(run)))
		e := routing.NewEvidence(t, routing.RolloutConfig{Steps: []float64{simShare, 1}})
		for i := range 60_000 {
			canary := rng.Float64() < simShare
			if e.Began(rng.Uint64(), canary, slowness(rng, canary, factor)) != "" {
				return i + 1
			}
		}
		return 0
	}
	wrong := 0
	for run := range 15 {
		if hour(run, 1) > 0 {
			wrong++
		}
		after := hour(run, 3)
		require.Positive(t, after, "three times as slow")
		require.Less(t, after, 10_000)
	}
	assert.LessOrEqual(t, wrong, 1)
}

// A canary that is as good goes on after enough users, one that is a little worse than
// it may be does not.
func TestEvidenceToGoOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stable, canary float64
		users          int
		want           bool
	}{
		"nothing fails":             {0, 0, 600, true},
		"too few users":             {0, 0, 400, false},
		"as seldom":                 {0.01, 0.01, 1500, true},
		"as often":                  {0.4, 0.4, 3000, true},
		"more often, but tolerable": {0, 0.005, 1500, true},
		"too often":                 {0.01, 0.04, 1500, false},
	} {
		rng := rand.New(rand.NewPCG(6, 7))
		e := routing.NewEvidence(t, routing.RolloutConfig{Steps: []float64{0.2, 1}})
		for range c.users * 5 {
			key, canary := rng.Uint64(), rng.Float64() < 0.2
			share := c.stable
			if canary {
				share = c.canary
			}
			e.Failed(key, canary, rng.Float64() < share)
			e.Began(key, canary, time.Second)
		}
		assert.Equal(t, c.want, e.Enough(), "%s: %+v", name, e.Checks())
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	t.Parallel()
	e := routing.NewEvidence(t, routing.RolloutConfig{Steps: []float64{0.5, 1}})
	rng := rand.New(rand.NewPCG(8, 9))
	for range 400_000 {
		e.Failed(rng.Uint64(), rng.Float64() < 0.5, false)
	}
	require.LessOrEqual(t, e.Users(), 1<<17)
	c := e.Checks()[0]
	require.Equal(t, e.Users(), c.StableKeys+c.CanaryKeys)
	require.InEpsilon(t, c.StableKeys, c.CanaryKeys, 0.05)
}
