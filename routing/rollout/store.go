package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrConflict is returned by [Store.Save] when another replica saved a progress meanwhile.
var ErrConflict = errors.New("rollout: changed by another replica")

// Progress is the progress of a rollout as a Store keeps it.
type Progress struct {
	// Revision is 1 for the first save, and one more for each that follows.
	Revision uint64 `json:"revision"`
	// Round is the number of restarts. Measurements of an earlier round do not count.
	Round int `json:"round,omitempty"`
	// State is the state of the rollout, and Reason its cause in words.
	State  State  `json:"state"`
	Reason string `json:"reason"`
	// Step is an index into the configuration's Steps, and Share the canary's share there.
	// A replica with other steps is at its last one that does not exceed Share. Since is
	// the time of the latest change of State or Step.
	Step  int       `json:"step"`
	Share float64   `json:"share"`
	Since time.Time `json:"since"`
}

// Store keeps the progress of rollouts by name. It must be safe for concurrent use. Use
// package redisstore for replicas, and [NewFileStore] for a single process.
type Store interface {
	// Load returns the latest progress, or one with Revision 0 when there is none.
	Load(ctx context.Context, name string) (Progress, error)
	// Save replaces the progress of the revision before p. If the store has another
	// revision it changes nothing and returns an error that wraps [ErrConflict].
	Save(ctx context.Context, name string, p Progress) error
}

// Restore reads the progress from Store. Until it succeeds the canary gets no requests, as
// it may have been rolled back. Run does the same, and retries.
func (r *Rollout) Restore(ctx context.Context) error {
	r.mu.Lock()
	known := r.loaded
	r.mu.Unlock()
	if known {
		return nil
	}
	return r.load(ctx)
}

// key is the rollout's name in Store. It has both versions, so that the next canary does
// not inherit the progress of this one.
func (r *Rollout) key() string { return r.cfg.Name + ":" + r.cfg.Stable + ":" + r.cfg.Canary }

// load adopts the progress of the store, if that is newer.
func (r *Rollout) load(ctx context.Context) error {
	p, err := r.get(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	first := !r.loaded
	r.loaded = true
	if p.Revision > r.progress.Revision && !r.unsaved {
		r.adopt(ctx, p)
		return nil
	}
	if p.Revision < r.progress.Revision { // the store lost data: the local progress stands
		r.progress.Revision, r.unsaved = p.Revision, true
	}
	if first {
		r.publish()
	}
	r.mu.Unlock()
	return nil
}

func (r *Rollout) get(ctx context.Context) (Progress, error) {
	p, err := r.cfg.Store.Load(ctx, r.key())
	if err != nil {
		return p, fmt.Errorf("rollout %q: %w", r.cfg.Name, err)
	}
	return p, nil
}

func (r *Rollout) put(ctx context.Context, p Progress) error {
	err := r.cfg.Store.Save(ctx, r.key(), p)
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrConflict) {
		r.mu.Lock()
		r.sent = p
		r.mu.Unlock()
	}
	return fmt.Errorf("rollout %q: %w", r.cfg.Name, err)
}

// adopt replaces the local progress by another replica's. The caller holds mu, which adopt
// unlocks.
func (r *Rollout) adopt(ctx context.Context, p Progress) {
	p.Step = 0
	for i, share := range r.cfg.Steps {
		if share <= p.Share {
			p.Step = i
		}
	}
	r.enter(p)
	r.unsaved = false
	e := r.event()
	r.mu.Unlock()
	r.notify(ctx, e)
}

// sync saves local changes and adopts those of other replicas. Of two concurrent changes
// the first one saved stands, except that a rollback always wins, and a pause wins over an
// advance.
func (r *Rollout) sync(ctx context.Context) {
	if r.cfg.Store == nil || ctx.Err() != nil {
		return
	}
	err := r.save(ctx)
	if err == nil {
		err = r.load(ctx)
	}
	r.reportStore(ctx, err)
}

// lastSave bounds the save of a change right before the end of Run.
const lastSave = 2 * time.Second

// leave saves what is not saved yet, for the next process.
func (r *Rollout) leave(ctx context.Context) {
	if r.cfg.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
	defer cancel()
	r.reportStore(ctx, r.save(ctx))
}

// reportStore reports an error of the store.
func (r *Rollout) reportStore(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	e := r.event()
	r.mu.Unlock()
	e.Err = err
	r.notify(ctx, e)
}

// save saves local changes. It makes several attempts, as other replicas may save
// meanwhile.
func (r *Rollout) save(ctx context.Context) (err error) {
	for range 3 {
		r.mu.Lock()
		known, unsaved := r.progress, r.unsaved
		r.mu.Unlock()
		if !unsaved {
			return nil
		}
		next := known
		next.Revision++
		if err = r.put(ctx, next); err == nil {
			r.mu.Lock()
			r.unsaved = r.progress != known
			r.progress.Revision = next.Revision
			r.mu.Unlock()
			continue
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if failed := r.resolve(ctx); failed != nil {
			return failed
		}
	}
	return err
}

// resolve settles a conflict with a replica that saved first. If the local progress wins,
// it stays unsaved.
func (r *Rollout) resolve(ctx context.Context) error {
	theirs, err := r.get(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	own := r.progress
	switch {
	case own.State == RolledBack && theirs.State != RolledBack, theirs.Revision <= own.Revision, theirs == r.sent:
		r.progress.Revision = theirs.Revision
		r.mu.Unlock()
		return nil
	case own.State == Paused && (theirs.State == Running || theirs.State == Held):
		theirs.State, theirs.Reason = own.State, own.Reason
		r.adopt(ctx, theirs)
		r.mu.Lock()
		r.unsaved = true
		r.mu.Unlock()
		return nil
	}
	r.adopt(ctx, theirs)
	return nil
}
