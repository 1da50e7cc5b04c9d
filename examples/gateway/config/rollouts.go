package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginfer/ginfer/routing/rollout"
)

// Rollout raises the share of a new version step by step while measurements show that it is no
// worse than the old one, and rolls it back when it is.
type Rollout struct {
	// Name identifies the rollout. Default: model and canary, as "demo:v1.3".
	Name string `json:"name,omitempty"`
	// Model of the two routes, as in the table.
	Model string `json:"model,omitempty"`
	// Stable is the version in use, Canary the new one. Both need a weight in the table; the
	// rollout divides the sum of the two.
	Stable string `json:"stable"`
	Canary string `json:"canary"`
	// Steps are the canary's shares in percent. Default: 1, 5, 20, 100.
	Steps []float64 `json:"steps,omitempty"`
	// Dwell is the least time at a step. Default: 10m.
	Dwell Duration `json:"dwell,omitempty"`
	// Interval is the time between decisions. Default: 10s.
	Interval Duration `json:"interval,omitempty"`
	// MinUsers is how many users of the canary a step needs. Default: 500; -1: any number.
	MinUsers int `json:"min_users,omitempty"`
	// Patience is how long a step may take before the rollout waits for an operator. Default: 2h; "off".
	Patience Duration `json:"patience,omitempty"`
	// Risk is the probability of rolling back a canary that is no worse. Default: 0.01.
	Risk float64 `json:"risk,omitempty"`
	// Margin is the factor by which its failures may exceed the stable version's. Default: 1.25.
	Margin float64 `json:"margin,omitempty"`
	// Tolerance is the same as a difference of shares. Default: 0.02.
	Tolerance float64 `json:"tolerance,omitempty"`
	// Slow is the factor by which a slow response begins later than 95 % of the stable version's. Default: 1.2.
	Slow float64 `json:"slow,omitempty"`
	// SlowBy is how much later than those it begins at least. Default: 10ms; "off": any difference.
	SlowBy Duration `json:"slow_by,omitempty"`
	// Warmup is how long at a step slow responses of cold caches do not count. Default: a tenth of dwell, at most 1m; "off".
	Warmup Duration `json:"warmup,omitempty"`
	// AwaitQuality waits at each step for enough verdicts at GROUP/feedback. Default: false.
	AwaitQuality bool `json:"await_quality,omitempty"`
}

// ID returns the name, or the default of it.
func (cfg *Rollout) ID() string {
	if cfg.Name != "" {
		return cfg.Name
	}
	return cfg.Model + ":" + cfg.Canary
}

// Library returns the configuration for package rollout.
func (cfg *Rollout) Library() rollout.Config {
	steps := make([]float64, len(cfg.Steps))
	for i, percent := range cfg.Steps {
		steps[i] = percent / 100
	}
	return rollout.Config{
		Name: cfg.ID(), Model: cfg.Model, Stable: cfg.Stable, Canary: cfg.Canary, Steps: steps,
		Dwell: time.Duration(cfg.Dwell), Interval: time.Duration(cfg.Interval), MinKeys: cfg.MinUsers, Patience: time.Duration(cfg.Patience), Risk: cfg.Risk,
		Margin: cfg.Margin, Tolerance: cfg.Tolerance, Slow: cfg.Slow, SlowBy: time.Duration(cfg.SlowBy), Warmup: time.Duration(cfg.Warmup),
		AwaitQuality: cfg.AwaitQuality,
	}
}

// rollout adds the faults that the library finds, with the names of the fields here.
func (k *checker) rollout(at string, err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return // there is none
	}
	for _, one := range joined.Unwrap() {
		k.Add(at, "%s", strings.ToLower(strings.TrimPrefix(one.Error(), "rollout: Config.")))
	}
}

// rollouts checks what is visible without the tables.
func (k *checker) rollouts(c *Config) {
	if c.RolloutDir == "" {
		c.RolloutDir = "rollouts"
	}
	var names []string
	for i := range c.Groups {
		g := &c.Groups[i]
		if !g.Has(StageRouting) || g.Routing == nil {
			continue
		}
		for j := range g.Routing.Rollouts {
			r := &g.Routing.Rollouts[j]
			at := fmt.Sprintf("groups[%d].routing.rollouts[%d]", i, j)
			if slices.Contains(names, r.ID()) {
				k.Add(at+".name", "%q is another rollout's too", r.ID())
			}
			names = append(names, r.ID())
			_, err := rollout.New(r.Library())
			k.rollout(at, err)
		}
	}
}
