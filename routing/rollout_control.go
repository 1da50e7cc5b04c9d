package routing

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// RolloutState is what a rollout does.
type RolloutState int

// The states of a rollout.
const (
	// Running: it goes on to the next step by itself.
	Running RolloutState = iota
	// Paused: somebody stopped it at its step. It is still rolled back when it fails.
	Paused
	// Held: its patience ended at a step; somebody must decide. It is still rolled back
	// when it fails.
	Held
	// RolledBack: the canary gets nothing.
	RolledBack
	// Done: the canary keeps the share of the last step, until RollBack.
	Done
)

var rolloutStates = [...]string{"running", "paused", "held", "rolled_back", "done"} //nolint:gochecknoglobals // a constant

// String returns running, paused, held, rolled_back or done.
func (s RolloutState) String() string {
	if s < 0 || int(s) >= len(rolloutStates) {
		return fmt.Sprintf("RolloutState(%d)", int(s))
	}
	return rolloutStates[s]
}

// MarshalText implements encoding.TextMarshaler.
func (s RolloutState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *RolloutState) UnmarshalText(text []byte) error {
	for i, name := range rolloutStates {
		if name == string(text) {
			*s = RolloutState(i)
			return nil
		}
	}
	return fmt.Errorf("%w: %q is no state", ErrRollout, text)
}

// RolloutStatus is how far a rollout is, and what it knows.
type RolloutStatus struct {
	// Name, Model, Stable and Canary are those of the configuration.
	Name   string `json:"name"`
	Model  string `json:"model"`
	Stable string `json:"stable"`
	Canary string `json:"canary"`
	// State is what it does, and Reason why.
	State  RolloutState `json:"state"`
	Reason string       `json:"reason"`
	// Step is an index into Steps, Since the time of the latest change of State or Step,
	// Share what the canary gets.
	Step  int       `json:"step"`
	Steps []float64 `json:"steps"`
	Since time.Time `json:"since"`
	Share float64   `json:"share"`
	// Checks are failures, latency and quality.
	Checks []RolloutCheck `json:"checks"`
}

// RolloutCheck compares the versions in one respect.
type RolloutCheck struct {
	// Name is failures, latency or quality.
	Name string `json:"name"`
	// How many users were seen at this step, and of how many something bad: an answer
	// that failed; a first answer that was slow; a bad verdict.
	StableKeys int `json:"stable_keys"`
	StableBad  int `json:"stable_bad"`
	CanaryKeys int `json:"canary_keys"`
	CanaryBad  int `json:"canary_bad"`
	// Evidence that the canary is worse, since the step began or at most one Dwell; at
	// Limit it is rolled back. Without a difference it stays about or below 1.
	Evidence float64 `json:"evidence"`
	Limit    float64 `json:"limit"`
	// Ready: enough is known to go on.
	Ready bool `json:"ready"`
}

// Status returns how far the rollout is.
func (r *Rollout) Status() RolloutStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return RolloutStatus{
		Name: r.cfg.Name, Model: r.cfg.Model, Stable: r.cfg.Stable, Canary: r.cfg.Canary,
		State: r.progress.State, Reason: r.progress.Reason, Step: r.progress.Step,
		Steps: slices.Clone(r.cfg.Steps), Since: r.progress.Since, Share: r.share(), Checks: r.evidence.checks(),
	}
}

// Pause stops it at its step.
func (r *Rollout) Pause(ctx context.Context) error {
	return r.told(ctx, "paused by hand", func(p *Progress) bool {
		ok := p.State == Running || p.State == Held
		p.State = Paused
		return ok
	})
}

// Resume lets it go on after Pause, or when it was held; its step's time begins anew.
func (r *Rollout) Resume(ctx context.Context) error {
	return r.told(ctx, "resumed by hand", func(p *Progress) bool {
		ok := p.State == Paused || p.State == Held
		p.State = Running
		return ok
	})
}

// Promote goes on to the next step at once, whatever is known.
func (r *Rollout) Promote(ctx context.Context) error {
	return r.told(ctx, "promoted by hand", func(p *Progress) bool {
		ok := p.State != RolledBack && p.State != Done
		r.goOn(p, p.Reason)
		return ok
	})
}

// RollBack takes everything away from the canary at once, also after Done.
func (r *Rollout) RollBack(ctx context.Context) error {
	return r.told(ctx, "rolled back by hand", func(p *Progress) bool {
		ok := p.State != RolledBack
		p.State = RolledBack
		return ok
	})
}

// Restart begins again at the first step, with nothing known. The users who have the
// canary first are the same as before, as long as the table's salt is.
func (r *Rollout) Restart(ctx context.Context) error {
	return r.told(ctx, "restarted by hand", func(p *Progress) bool {
		ok := p.State == RolledBack || p.State == Done
		p.State, p.Step = Running, 0
		p.Round++
		return ok
	})
}

// told does what somebody asks for, if the state allows it.
func (r *Rollout) told(ctx context.Context, reason string, change func(*Progress) bool) error {
	r.mu.Lock()
	next := r.progress
	if !r.loaded {
		r.mu.Unlock()
		return fmt.Errorf("%w %q: its store was not read yet", ErrRollout, r.cfg.Name)
	}
	if !change(&next) {
		defer r.mu.Unlock()
		return fmt.Errorf("%w %q is %v", ErrRollout, r.cfg.Name, r.progress.State)
	}
	next.Reason = reason
	r.move(ctx, next)
	return nil
}
