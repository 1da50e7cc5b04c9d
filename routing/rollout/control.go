package rollout

import (
	"context"
	"errors"
	"fmt"
)

// ErrState is returned when the state of a rollout does not allow the operation, and by
// [State.UnmarshalText] for an unknown state.
var ErrState = errors.New("rollout: invalid state")

// Pause stops the rollout at its step.
func (r *Rollout) Pause(ctx context.Context) error {
	return r.change(ctx, "paused by hand", func(p *Progress) bool {
		ok := p.State == Running || p.State == Held
		p.State = Paused
		return ok
	})
}

// Resume lets the rollout advance again after Pause, or when it was held. The time at its
// step begins anew.
func (r *Rollout) Resume(ctx context.Context) error {
	return r.change(ctx, "resumed by hand", func(p *Progress) bool {
		ok := p.State == Paused || p.State == Held
		p.State = Running
		return ok
	})
}

// Promote enters the next step at once, regardless of the checks.
func (r *Rollout) Promote(ctx context.Context) error {
	return r.change(ctx, "promoted by hand", func(p *Progress) bool {
		ok := p.State != RolledBack && p.State != Done
		r.promote(p, p.Reason)
		return ok
	})
}

// RollBack sends all users back to the stable version at once, also after Done.
func (r *Rollout) RollBack(ctx context.Context) error {
	return r.change(ctx, "rolled back by hand", func(p *Progress) bool {
		ok := p.State != RolledBack
		p.State = RolledBack
		return ok
	})
}

// Restart begins again at the first step, without the measurements so far. The canary gets
// the same users first as before, as long as the table's salt is the same.
func (r *Rollout) Restart(ctx context.Context) error {
	return r.change(ctx, "restarted by hand", func(p *Progress) bool {
		ok := p.State == RolledBack || p.State == Done
		p.State, p.Step = Running, 0
		p.Round++
		return ok
	})
}

// change applies an operator's change, if the state allows it.
func (r *Rollout) change(ctx context.Context, reason string, apply func(*Progress) bool) error {
	r.mu.Lock()
	next := r.progress
	if !r.loaded {
		r.mu.Unlock()
		return fmt.Errorf("%w: %q: its store was not read yet", ErrState, r.cfg.Name)
	}
	if !apply(&next) {
		defer r.mu.Unlock()
		return fmt.Errorf("%w: %q is %v", ErrState, r.cfg.Name, r.progress.State)
	}
	next.Reason = reason
	r.move(ctx, next)
	return nil
}
