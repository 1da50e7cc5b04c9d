package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginfer/ginfer/routing/rollout"
)

// Rollout raises the share of a new version step by step while it is measured to be no
// worse than the old one, and takes all back when it is.
type Rollout struct {
	// Name tells it from others. Default: model and canary, as "demo:v1.3".
	Name string `json:"name,omitempty"`
	// Model of the two routes, as the table has it.
	Model string `json:"model,omitempty"`
	// Stable is the version that users have, Canary the one that they are to get. Both
	// have a weight in the table; the rollout divides what the two add up to.
	Stable string `json:"stable"`
	Canary string `json:"canary"`
	// Steps are the canary's shares in percent. Default 1, 5, 20, 100.
	Steps []float64 `json:"steps,omitempty"`
	// Dwell is the least time at a step. Default 10m.
	Dwell Duration `json:"dwell,omitempty"`
	// Interval is how often it is decided about going on. Default 10s.
	Interval Duration `json:"interval,omitempty"`
	// MinUsers of the canary must have been seen at a step. Default 500; -1: any number.
	MinUsers int `json:"min_users,omitempty"`
	// Patience is how long a step may take before somebody must decide. Default 2h; "off".
	Patience Duration `json:"patience,omitempty"`
	// Risk of rolling back a canary that is no worse. Default 0.01.
	Risk float64 `json:"risk,omitempty"`
	// Margin is by how much more often it may fail and still go on. Default 1.25.
	Margin float64 `json:"margin,omitempty"`
	// Tolerance is the same as a difference of shares. Default 0.02.
	Tolerance float64 `json:"tolerance,omitempty"`
	// Slow is an answer that begins so many times later than 95 % of the stable version's. Default 1.2.
	Slow float64 `json:"slow,omitempty"`
	// AwaitQuality waits at each step for enough verdicts at GROUP/feedback. Default false.
	AwaitQuality bool `json:"await_quality,omitempty"`
}

func (cfg *Rollout) name() string {
	if cfg.Name != "" {
		return cfg.Name
	}
	return cfg.Model + ":" + cfg.Canary
}

// library is the rollout as package rollout takes it.
func (cfg *Rollout) library() rollout.Config {
	steps := make([]float64, len(cfg.Steps))
	for i, percent := range cfg.Steps {
		steps[i] = percent / 100
	}
	return rollout.Config{
		Name: cfg.name(), Model: cfg.Model, Stable: cfg.Stable, Canary: cfg.Canary, Steps: steps,
		Dwell: time.Duration(cfg.Dwell), Interval: time.Duration(cfg.Interval), MinKeys: cfg.MinUsers, Patience: time.Duration(cfg.Patience), Risk: cfg.Risk,
		Margin: cfg.Margin, Tolerance: cfg.Tolerance, Slow: cfg.Slow, AwaitQuality: cfg.AwaitQuality,
	}
}

// rollout adds the faults that the library finds, by the names that they have here.
func (k *checker) rollout(at string, err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return // there is none
	}
	for _, one := range joined.Unwrap() {
		k.add(at, "%s", strings.ToLower(strings.TrimPrefix(one.Error(), "rollout: Config.")))
	}
}

// rollouts checks what can be told without the tables.
func (k *checker) rollouts(c *Config) {
	if c.RolloutDir == "" {
		c.RolloutDir = "rollouts"
	}
	var names []string
	for i := range c.Groups {
		g := &c.Groups[i]
		if !g.has(stageRouting) || g.Routing == nil {
			continue
		}
		for j := range g.Routing.Rollouts {
			r := &g.Routing.Rollouts[j]
			at := fmt.Sprintf("groups[%d].routing.rollouts[%d]", i, j)
			if slices.Contains(names, r.name()) {
				k.add(at+".name", "%q is another rollout's too", r.name())
			}
			names = append(names, r.name())
			_, err := rollout.New(r.library())
			k.rollout(at, err)
		}
	}
}
