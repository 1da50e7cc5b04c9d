package routing

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/routing/rollout"
)

// arm is a route's part in a rollout. The zero arm has none.
type arm struct {
	step   *rollout.Step
	canary bool
}

// sample returns the sample of a request with a drawn user, or nil when no rollout
// measures it.
func (a arm) sample(drawn uint64) *rollout.Sample {
	if a.step == nil || drawn == 0 {
		return nil
	}
	return a.step.Sample(drawn, a.canary)
}

func stepsOf(rollouts []*rollout.Rollout) []*rollout.Step {
	steps := make([]*rollout.Step, len(rollouts))
	for i, r := range rollouts {
		steps[i] = r.Step()
	}
	return steps
}

// isCurrent reports whether all rollouts are still at the compiled steps.
func (c *compiled) isCurrent(rollouts []*rollout.Rollout) bool {
	for i, r := range rollouts {
		if r.Step() != c.steps[i] {
			return false
		}
	}
	return true
}

// divide gives the canary its share of the two routes' weights, and the stable version the
// rest.
func divide(s *rollout.Step, entries []*entry) {
	var stable, canary *entry
	for _, e := range entries {
		switch {
		case e.route.Weight == nil || e.route.Model != s.Model:
		case e.route.Version == s.Stable:
			stable = e
		case e.route.Version == s.Canary:
			canary = e
		}
	}
	total := stable.weight + canary.weight // checkRollouts found both
	canary.weight = total * s.Share
	stable.weight = total - canary.weight
	stable.arm, canary.arm = arm{s, false}, arm{s, true}
}

// checkRollouts reports rollouts with two routes that differ by more than chance, or do not
// exist.
func (t *Table) checkRollouts(rollouts []*rollout.Rollout) error {
	var faults []error
	taken := make(map[int]string)
	for i, r := range rollouts {
		if r == nil {
			faults = append(faults, fmt.Errorf("routing: Config.Rollouts[%d] is nil", i))
			continue
		}
		name := r.Status().Name
		for _, reason := range t.unfit(name, r.Step(), taken) {
			faults = append(faults, &FaultError{Reason: fmt.Sprintf("rollout %q: %s", name, reason)})
		}
	}
	return fault.Join(faults...)
}

// unfit returns the reasons why a rollout can't divide its two routes. The taken routes
// belong to other rollouts.
func (t *Table) unfit(name string, s *rollout.Step, taken map[int]string) (reasons []string) {
	stable, err := t.weighted(s.Model, s.Stable)
	canary, err2 := t.weighted(s.Model, s.Canary)
	for _, err := range [...]error{err, err2} {
		if err != nil {
			reasons = append(reasons, err.Error())
		}
	}
	if reasons != nil {
		return reasons
	}
	if first := t.firstWeighted(s.Model); first != stable {
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
		taken[i] = name
	}
	return reasons
}

// weighted returns the one route of a model's version that has a weight.
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

// firstWeighted returns the first route with a weight that may match the model's requests.
func (t *Table) firstWeighted(model string) int {
	return slices.IndexFunc(t.Routes, func(r Route) bool {
		return r.Weight != nil && (covers(r.Model, model) || covers(model, r.Model))
	})
}

func (c *Conditions) same(other *Conditions) bool {
	return c.Path == other.Path && slices.Equal(c.Methods, other.Methods) && slices.Equal(c.Tags, other.Tags) &&
		slices.Equal(c.Devices, other.Devices) && maps.Equal(c.Headers, other.Headers) && maps.Equal(c.Cookies, other.Cookies)
}
