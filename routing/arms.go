package routing

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// arm is what a rollout measures at a route. The zero arm is of none.
type arm struct {
	stage  *stage
	canary bool
}

// sample is what a rollout learns from a request whose user was drawn; nil if nothing.
func (a arm) sample(drawn uint64) *sample {
	if a.stage == nil || drawn == 0 {
		return nil
	}
	return &sample{stage: a.stage, key: drawn, canary: a.canary}
}

func stagesOf(rollouts []*Rollout) []*stage {
	stages := make([]*stage, len(rollouts))
	for i, r := range rollouts {
		stages[i] = r.current.Load()
	}
	return stages
}

// isCurrent reports whether all rollouts are where they were.
func (c *compiled) isCurrent(rollouts []*Rollout) bool {
	for i, r := range rollouts {
		if r.current.Load() != c.stages[i] {
			return false
		}
	}
	return true
}

// divide gives the canary its share of the two routes' weights, and the stable version
// what is left.
func (s *stage) divide(entries []*entry) {
	var stable, canary *entry
	for _, e := range entries {
		switch {
		case e.route.Weight == nil || e.route.Model != s.rollout.cfg.Model:
		case e.route.Version == s.rollout.cfg.Stable:
			stable = e
		case e.route.Version == s.rollout.cfg.Canary:
			canary = e
		}
	}
	total := stable.weight + canary.weight // tables are checked for both
	canary.weight = total * s.share
	stable.weight = total - canary.weight
	stable.arm, canary.arm = arm{s, false}, arm{s, true}
}

// checkRollouts finds rollouts whose routes are not such that they can be told apart
// by chance alone.
func (t *Table) checkRollouts(rollouts []*Rollout) error {
	var faults []error
	taken := make(map[int]string)
	for i, r := range rollouts {
		if r == nil {
			faults = append(faults, fmt.Errorf("routing: Config.Rollouts[%d] is nil", i))
			continue
		}
		for _, reason := range t.unfit(&r.cfg, taken) {
			faults = append(faults, &FaultError{Reason: fmt.Sprintf("rollout %q: %s", r.cfg.Name, reason)})
		}
	}
	return errors.Join(faults...)
}

// unfit says why a rollout can't divide its two routes. taken are those of others.
func (t *Table) unfit(cfg *RolloutConfig, taken map[int]string) (reasons []string) {
	stable, err := t.weighted(cfg.Model, cfg.Stable)
	canary, err2 := t.weighted(cfg.Model, cfg.Canary)
	for _, err := range [...]error{err, err2} {
		if err != nil {
			reasons = append(reasons, err.Error())
		}
	}
	if reasons != nil {
		return reasons
	}
	if first := t.firstWeighted(cfg.Model); first != stable {
		reasons = append(reasons, fmt.Sprintf("routes[%d], the stable version's, must come before all others with a weight, but routes[%d] does", stable, first))
	}
	if !t.Routes[stable].Conditions.same(&t.Routes[canary].Conditions) {
		reasons = append(reasons, fmt.Sprintf("routes[%d] and routes[%d] must have the same conditions", stable, canary))
	}
	if *t.Routes[stable].Weight+*t.Routes[canary].Weight == 0 {
		reasons = append(reasons, fmt.Sprintf("the weights of routes[%d] and routes[%d] sum up to 0", stable, canary))
	}
	for _, i := range [...]int{stable, canary} {
		if other, ok := taken[i]; ok {
			reasons = append(reasons, fmt.Sprintf("routes[%d] is also in rollout %q", i, other))
		}
		taken[i] = cfg.Name
	}
	return reasons
}

// weighted finds the one route with a weight of a model's version.
func (t *Table) weighted(model, version string) (index int, err error) {
	index = -1
	for i := range t.Routes {
		r := &t.Routes[i]
		if r.Model != model || r.Version != version || r.Weight == nil {
			continue
		}
		if index >= 0 {
			return 0, fmt.Errorf("routes[%d] and routes[%d] both give %q a weight", index, i, version)
		}
		index = i
	}
	if index < 0 {
		return 0, fmt.Errorf("no route of model %q gives version %q a weight", model, version)
	}
	return index, nil
}

// firstWeighted is the first route with a weight that a model's requests may meet.
func (t *Table) firstWeighted(model string) int {
	return slices.IndexFunc(t.Routes, func(r Route) bool {
		return r.Weight != nil && (covers(r.Model, model) || covers(model, r.Model))
	})
}

func (c *Conditions) same(other *Conditions) bool {
	return c.Path == other.Path && slices.Equal(c.Methods, other.Methods) && slices.Equal(c.Tags, other.Tags) &&
		slices.Equal(c.Devices, other.Devices) && maps.Equal(c.Headers, other.Headers) && maps.Equal(c.Cookies, other.Cookies)
}
