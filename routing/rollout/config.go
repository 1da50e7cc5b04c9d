package rollout

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/routing/rollout/internal/trial"
)

// maxSteps bounds Config.Steps; the trial keeps a user's step in a byte.
const maxSteps = 100

// Config configures a Rollout. Stable and Canary are required.
type Config struct {
	// Name identifies the rollout in events and, with both versions, in Store. Default:
	// model and canary, as "demo:v1.3".
	Name string
	// Model, Stable and Canary are those of two routes of the table, as written there.
	// Both routes have a weight and the same conditions, and the stable one comes first.
	// The rollout divides the sum of the two weights.
	Model, Stable, Canary string
	// Steps are the canary's shares of the requests of both routes, in ascending order.
	// Default: 0.01, 0.05, 0.2, 1.
	Steps []float64
	// Dwell is the least time at a step, measured by this replica. It should be longer
	// than responses take: one that ends at a later step does not count. Default: 10
	// minutes.
	Dwell time.Duration
	// MinKeys is how many users of the canary must be seen at a step before the next.
	// Default: 500; -1: no minimum.
	MinKeys int
	// Patience is how long a step may take, measured as Dwell. After that a rollout without
	// a certain result is held until an operator decides. Default: 2 hours; -1: no limit.
	Patience time.Duration
	// Risk is the probability that a canary which is no worse is rolled back, over the
	// whole rollout and however often it is checked. It does not cover a canary that gets the
	// first requests of all, 30 of which fail in a row: then there is nothing to compare with.
	// Default: 0.01.
	Risk float64
	// Margin is the tolerated ratio of the canary's failures to the stable version's. A
	// canary that is certainly below it may advance. Default: 1.25.
	Margin float64
	// Tolerance is the tolerated difference of the shares of users with failures, for
	// failures that are rare. A canary that is certainly below it may advance. Default:
	// 0.02.
	Tolerance float64
	// Slow is the factor above which a response is slow: its first byte took longer than
	// Slow times the 95th percentile of the stable version's last 512 responses, also if
	// the client disconnected before. A response on a new connection is compared with those
	// on new connections. Default: 1.2.
	Slow float64
	// SlowBy is the least difference to that percentile above which a response is slow: the
	// times of versions that respond within milliseconds differ by more than Slow for no
	// reason. Default: 10 milliseconds; -1: none.
	SlowBy time.Duration
	// Warmup is the time after the canary's first response at a step, and at least for 20 of
	// its responses, in which slow ones do not count, as its caches are cold, unless they take
	// a second longer than the limit and four times as long. Default: a tenth of Dwell, at
	// most a minute; -1: none.
	Warmup time.Duration
	// AwaitQuality requires enough calls of [Judge] at every step. Default: false; bad
	// verdicts roll back, but a step does not wait for good ones.
	AwaitQuality bool
	// Interval is the time between two decisions to advance, and between two reads of
	// Store. A rollback does not wait for it. Default: 10 seconds.
	Interval time.Duration
	// Store keeps the progress for the next start and for other replicas, all of which
	// are then at the same step. Default: none; a restart begins at the first step.
	Store Store
	// Replicas is the number of gateways that share Store. Each judges by its own
	// measurements, and Risk is divided among them. Default: 1.
	Replicas int
	// OnEvent is called with every change. Optional.
	OnEvent func(context.Context, Event)
}

func (cfg *Config) check() error {
	var faults []error
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf("rollout: Config."+format, args...))
		}
	}
	add(cfg.Stable == "" || cfg.Canary == "" || cfg.Stable == cfg.Canary, "Stable and Canary are required, and must differ")
	add(len(cfg.Steps) > maxSteps, "Steps: %d are more than %d", len(cfg.Steps), maxSteps)
	before := 0.0
	for i, share := range cfg.Steps {
		add(!(share > before && share <= 1), "Steps[%d]: %v is not above the one before and within 0 and 1", i, share)
		before = share
	}
	for _, f := range [...]struct {
		name     string
		v, least float64
	}{{"Risk", cfg.Risk, 0}, {"Margin", cfg.Margin, 1}, {"Tolerance", cfg.Tolerance, 0}, {"Slow", cfg.Slow, 1}} {
		add(f.v != 0 && !(f.v > f.least && f.v <= math.MaxFloat64), "%s: %v is not a number above %v", f.name, f.v, f.least)
	}
	add(cfg.Risk > 0.5 || cfg.Tolerance > 1, "Risk is at most 0.5, and Tolerance at most 1")
	add(cfg.Dwell < 0 || cfg.Interval < 0 || cfg.Replicas < 0, "Dwell, Interval and Replicas must not be negative")
	return fault.Join(faults...)
}

func (cfg *Config) setDefaults() {
	cfg.Name = cmp.Or(cfg.Name, cfg.Model+":"+cfg.Canary)
	if len(cfg.Steps) == 0 {
		cfg.Steps = []float64{0.01, 0.05, 0.2, 1}
	}
	cfg.Steps = slices.Clone(cfg.Steps)
	cfg.Dwell = cmp.Or(cfg.Dwell, 10*time.Minute)
	cfg.MinKeys = cmp.Or(cfg.MinKeys, 500)
	cfg.Patience = cmp.Or(cfg.Patience, 2*time.Hour)
	cfg.Risk = cmp.Or(cfg.Risk, 0.01)
	cfg.Margin = cmp.Or(cfg.Margin, 1.25)
	cfg.Tolerance = cmp.Or(cfg.Tolerance, 0.02)
	cfg.Slow = cmp.Or(cfg.Slow, 1.2)
	cfg.SlowBy = max(cmp.Or(cfg.SlowBy, 10*time.Millisecond), 0)
	cfg.Warmup = max(cmp.Or(cfg.Warmup, min(cfg.Dwell/10, time.Minute)), 0)
	cfg.Interval = cmp.Or(cfg.Interval, 10*time.Second)
	cfg.Replicas = cmp.Or(cfg.Replicas, 1)
}

func (cfg *Config) trial() *trial.Trial {
	return trial.New(trial.Config{
		Steps: cfg.Steps, Dwell: cfg.Dwell, MinKeys: cfg.MinKeys, Risk: cfg.Risk, Margin: cfg.Margin,
		Tolerance: cfg.Tolerance, Slow: cfg.Slow, SlowBy: cfg.SlowBy, Warmup: cfg.Warmup, AwaitQuality: cfg.AwaitQuality, Replicas: cfg.Replicas,
	})
}
