package rollout

import (
	"fmt"
	"slices"
	"time"
)

// State is the state of a rollout.
type State int

// The states of a rollout.
const (
	// Running: the rollout advances by itself.
	Running State = iota
	// Paused: an operator stopped it at its step. It is still rolled back when it fails.
	Paused
	// Held: the patience of its step ended, and an operator must decide. It is still rolled
	// back when it fails.
	Held
	// RolledBack: the canary gets no requests.
	RolledBack
	// Done: the last step was reached, which has no Dwell. The canary keeps its share until
	// RollBack; nothing is measured any more, and nothing rolls it back by itself.
	Done
)

var states = [...]string{"running", "paused", "held", "rolled_back", "done"} //nolint:gochecknoglobals // a constant

// String returns running, paused, held, rolled_back or done.
func (s State) String() string {
	if s < 0 || int(s) >= len(states) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return states[s]
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range states {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("%w: %q", ErrState, text)
}

// Status is the progress of a rollout with its measurements.
type Status struct {
	// Name, Model, Stable and Canary are those of the configuration.
	Name   string `json:"name"`
	Model  string `json:"model"`
	Stable string `json:"stable"`
	Canary string `json:"canary"`
	// State is the present state, and Reason its cause in words.
	State  State  `json:"state"`
	Reason string `json:"reason"`
	// Step is an index into Steps, Since the time of the latest change of State or Step,
	// Share the canary's part of the requests.
	Step  int       `json:"step"`
	Steps []float64 `json:"steps"`
	Since time.Time `json:"since"`
	Share float64   `json:"share"`
	// Checks are failures, latency and quality.
	Checks []Check `json:"checks"`
}

// Check is a comparison of the two versions in one respect.
type Check struct {
	// Name is failures, latency or quality.
	Name string `json:"name"`
	// The numbers of users seen at this step, and of those with a bad event: a response
	// that failed, a first response that was slow, or a bad verdict.
	StableKeys int `json:"stable_keys"`
	StableBad  int `json:"stable_bad"`
	CanaryKeys int `json:"canary_keys"`
	CanaryBad  int `json:"canary_bad"`
	// Evidence is the strength of the evidence that the canary is worse, since the step
	// began or for at most one Dwell. Without a difference it stays near or below 1; at
	// Limit the canary is rolled back.
	Evidence float64 `json:"evidence"`
	Limit    float64 `json:"limit"`
	// Ready is set when the check allows the next step.
	Ready bool `json:"ready"`
}

// Status returns the progress of the rollout with its measurements.
func (r *Rollout) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := r.trial.Counts()
	checks := make([]Check, len(counts))
	for i, c := range counts {
		checks[i] = Check(c)
	}
	return Status{
		Name: r.cfg.Name, Model: r.cfg.Model, Stable: r.cfg.Stable, Canary: r.cfg.Canary,
		State: r.progress.State, Reason: r.progress.Reason, Step: r.progress.Step,
		Steps: slices.Clone(r.cfg.Steps), Since: r.progress.Since, Share: r.share(), Checks: checks,
	}
}
