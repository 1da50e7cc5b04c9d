package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Run advances the rollout when it is time to, and synchronizes it with Store, until ctx
// is done; it returns nil. Without Run the only change is a rollback.
func (r *Rollout) Run(ctx context.Context) error {
	ticker := time.NewTicker(r.cfg.Interval)
	defer ticker.Stop()
	for {
		r.sync(ctx)
		r.advance(ctx)
		select {
		case <-ctx.Done():
			r.leave(ctx)
			return nil
		case <-ticker.C:
		case <-r.wake:
		}
	}
}

// advance enters the next step, or holds the rollout, when it is time to. The change is
// saved first: a replica that advanced alone would have to take users back.
func (r *Rollout) advance(ctx context.Context) {
	r.mu.Lock()
	known := r.progress
	next, due := r.due()
	r.complete(&next)
	r.mu.Unlock()
	if !due || ctx.Err() != nil {
		return
	}
	if r.cfg.Store != nil {
		next.Revision++
		if err := r.put(ctx, next); err != nil {
			if !errors.Is(err, ErrConflict) { // another replica was first; sync adopts its change
				r.reportStore(ctx, err)
			}
			return
		}
	}
	r.mu.Lock()
	if r.progress != known { // it was rolled back, or changed by an operator, meanwhile
		r.progress.Revision = next.Revision
		r.mu.Unlock()
		return
	}
	r.enter(next)
	e := r.event()
	r.mu.Unlock()
	r.notify(ctx, e)
}

// due returns the next progress and whether it is time for it. The caller holds mu.
func (r *Rollout) due() (next Progress, due bool) {
	next = r.progress
	if next.State != Running || !r.loaded || r.unsaved {
		return next, false
	}
	age := time.Since(r.since)
	switch {
	case r.current.Load().Share == 1: // there is no stable version left to compare with
		next.State, next.Reason = Done, "the last step is reached"
	case age >= r.cfg.Dwell && r.trial.Enough():
		r.promote(&next, fmt.Sprintf("step %d was passed", next.Step+1))
	case r.cfg.Patience > 0 && age >= r.cfg.Patience:
		next.State, next.Reason = Held, fmt.Sprintf("nothing certain is known after %v", r.cfg.Patience)
	default:
		return next, false
	}
	return next, true
}

// promote turns p into the next step, or into the end of the rollout.
func (r *Rollout) promote(p *Progress, reason string) {
	p.Reason = reason
	if p.State = Running; p.Step == len(r.cfg.Steps)-1 {
		p.State = Done
		return
	}
	p.Step++
}
