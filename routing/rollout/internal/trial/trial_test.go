package trial_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ginfer/ginfer/routing/rollout/internal/trial"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// evidence is a Trial with shorter calls.
type evidence struct{ *trial.Trial }

// newEvidence returns a Trial with the defaults of a rollout.
func newEvidence(cfg trial.Config) evidence {
	cfg.Dwell, cfg.MinKeys, cfg.Replicas = 10*time.Minute, 500, 1
	cfg.Risk, cfg.Margin, cfg.Tolerance, cfg.Slow = 0.01, 1.25, 0.02, cmp.Or(cfg.Slow, 1.2)
	return evidence{trial.New(cfg)}
}

// Failed adds a failed or whole response to a user.
func (e evidence) Failed(key uint64, canary, bad bool) string {
	return e.Add(key, canary, trial.Finding{Check: trial.Failures, Bad: bad})
}

// A simulated hour: 200 users a second with one request each, a twentieth of them on the
// canary, and one failure in a hundred.
const (
	simRate, simShare, simBad = 200., 0.05, 0.01
	simHour                   = 3600.
)

// failing simulates up to an hour in which the canary fails ratio times as often. It
// returns the seconds until the rollback, or false when there was none.
func failing(t *testing.T, rng *rand.Rand, ratio float64) (float64, bool) {
	t.Helper()
	e := newEvidence(trial.Config{Steps: []float64{simShare, 1}})
	stable, canary := simRate*(1-simShare)*simBad, simRate*simShare*simBad*ratio
	for now := 0.0; ; {
		now += rng.ExpFloat64() / (stable + canary)
		if now > simHour {
			return 0, false
		}
		if e.Failed(rng.Uint64(), rng.Float64() < canary/(stable+canary), true) != "" {
			return now, true
		}
		e.Failed(rng.Uint64(), true, false) // most responses succeed: it is not dead
	}
}

// A canary that is no worse is rarely rolled back, however often it is checked; a worse one
// is soon. The targets: one in a hundred per hour; 60 s for three times as many failures.
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

// Users with many requests, some of which fail far more often than others, are no evidence
// against their version.
func TestEvidenceOfUsersThatAlwaysFail(t *testing.T) {
	t.Parallel()
	const users, poisoned = 2000, 100
	wrong, runs := 0, 200
	for run := range runs {
		rng := rand.New(rand.NewPCG(3, uint64(run)))
		e := newEvidence(trial.Config{Steps: []float64{simShare, 1}})
		rolledBack := false
		for i := range 50_000 {
			if i%5_000 == 4_999 {
				e.Open()
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

// The same over the steps of a rollout, at which users of the canary keep it.
func TestEvidenceOverSteps(t *testing.T) {
	t.Parallel()
	steps := []float64{0.01, 0.05, 0.2, 0.5}
	wrong, runs := 0, 300
	for run := range runs {
		rng := rand.New(rand.NewPCG(4, uint64(run)))
		e := newEvidence(trial.Config{Steps: steps})
		rolledBack := false
		for step, share := range steps {
			e.Begin(step, false)
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
		e := newEvidence(trial.Config{Steps: []float64{simShare, 1}})
		for i := range 60_000 {
			canary := rng.Float64() < simShare
			if e.FirstByte(rng.Uint64(), canary, slowness(rng, canary, factor)) != "" {
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

// A canary that is as good advances after enough users, one that is a little worse than
// tolerated does not.
func TestEvidenceToAdvance(t *testing.T) {
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
		e := newEvidence(trial.Config{Steps: []float64{0.2, 1}})
		for range c.users * 5 {
			key, canary := rng.Uint64(), rng.Float64() < 0.2
			share := c.stable
			if canary {
				share = c.canary
			}
			e.Failed(key, canary, rng.Float64() < share)
			e.FirstByte(key, canary, time.Second)
		}
		assert.Equal(t, c.want, e.Enough(), "%s: %+v", name, e.Counts())
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	t.Parallel()
	e := newEvidence(trial.Config{Steps: []float64{0.5, 1}})
	rng := rand.New(rand.NewPCG(8, 9))
	for range 400_000 {
		e.Failed(rng.Uint64(), rng.Float64() < 0.5, false)
	}
	require.LessOrEqual(t, e.Users(), 1<<17)
	c := e.Counts()[0]
	require.Equal(t, e.Users(), c.StableKeys+c.CanaryKeys)
	require.InEpsilon(t, c.StableKeys, c.CanaryKeys, 0.05)
}

// Many requests of one user among others are no reason to roll back.
func TestEvidenceOfOneUserAmongMany(t *testing.T) {
	t.Parallel()
	e := newEvidence(trial.Config{Steps: []float64{0.05, 1}})
	for i := range uint64(200) {
		require.Empty(t, e.Failed(i, i%20 == 0, false))
	}
	for range 40 {
		require.Empty(t, e.Failed(100, true, true))
		require.Empty(t, e.Failed(7, false, false))
	}
}

// An outage of both versions is no reason to roll back, also when the canary has nearly all
// users.
func TestEvidenceOfAnOutageOfBoth(t *testing.T) {
	t.Parallel()
	wrong := 0
	for run := range uint64(200) {
		rng := rand.New(rand.NewPCG(11, run))
		e := newEvidence(trial.Config{Steps: []float64{0.9, 1}})
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

// A canary that fails after a long healthy time is detected soon, if not as soon as a new
// one: half a window before is in its favor.
func TestEvidenceOfALateFailure(t *testing.T) {
	t.Parallel()
	const share = 0.2
	users := func(healthy int) (failed int) {
		rng := rand.New(rand.NewPCG(12, 13))
		e := newEvidence(trial.Config{Steps: []float64{share, 1}})
		for i := range healthy {
			if i%1000 == 500 {
				e.Open()
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
	t.Logf("users with failures before the rollback: %d at once, %d late", early, late)
	assert.LessOrEqual(t, late, 10*early)
}

// With a Slow that no response reaches, no response is slow.
func TestEvidenceWithAHugeSlow(t *testing.T) {
	t.Parallel()
	e := newEvidence(trial.Config{Steps: []float64{0.5, 1}, Slow: 1e12})
	for i := range uint64(300) {
		require.Empty(t, e.FirstByte(i, i%2 == 0, time.Minute))
	}
	require.Zero(t, e.Counts()[1].CanaryBad)
}

// A canary is detected also when it turns bad after each of its users has failed once at
// the step, as all users with many requests soon have.
func TestEvidenceAfterEveryUserFailedOnce(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(14, 15))
	e := newEvidence(trial.Config{Steps: []float64{0.2, 1}})
	reason := ""
	for i := range 1_000_000 {
		if i%50_000 == 0 {
			e.Open()
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
