package rollout

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/routing/rollout/internal/trial"
)

// Event is a change of a rollout.
type Event struct {
	// Name is the rollout's.
	Name string
	// State and Share are the new ones.
	State State
	Share float64
	// Reason describes the cause in words.
	Reason string
	// Err is set when Store is down. The rollout stays as it is, and retries.
	Err error
}

// Rollout raises the share of a new version step by step while it is no worse than the
// stable one, and rolls it back as soon as it is worse. It is safe for concurrent use.
type Rollout struct {
	cfg     Config
	current atomic.Pointer[Step]
	wake    chan struct{} // there is a change to save

	mu       sync.Mutex
	progress Progress
	since    time.Time // when this replica entered the step, by its own clock
	loaded   bool      // there is no Store, or it was read
	unsaved  bool      // progress is not in Store
	sent     Progress  // a save that failed but may have reached Store
	trial    *trial.Trial
}

// Step is the step of a rollout as a router sees it. A Step does not change: a rollout
// that moves has another one.
type Step struct {
	// Model, Stable and Canary identify the two routes.
	Model, Stable, Canary string
	// Share is the canary's part of the weights of both routes, from 0 to 1.
	Share float64

	rollout *Rollout
	index   int
}

// New checks cfg and returns a Rollout at its first step. With a Store the canary gets no
// requests before [Rollout.Restore]. The error joins every fault found.
func New(cfg Config) (*Rollout, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	r := &Rollout{cfg: cfg, wake: make(chan struct{}, 1), loaded: cfg.Store == nil, trial: cfg.trial(), since: time.Now()}
	r.progress = Progress{Since: wallClock(), Reason: "begun", Share: cfg.Steps[0]}
	r.publish()
	return r, nil
}

// Step returns the present step. It is for routers: they divide the weights by it, and
// compare the pointer to detect a change.
func (r *Rollout) Step() *Step { return r.current.Load() }

// publish makes the present step visible to routers. The caller holds mu, or is New.
func (r *Rollout) publish() {
	s := &Step{Model: r.cfg.Model, Stable: r.cfg.Stable, Canary: r.cfg.Canary, Share: r.share(), rollout: r, index: r.progress.Step}
	if old := r.current.Load(); old == nil || old.index != s.index || old.Share != s.Share {
		r.current.Store(s)
	}
}

// share is the canary's. The caller holds mu, or is New.
func (r *Rollout) share() float64 {
	if !r.loaded || r.progress.State == RolledBack {
		return 0
	}
	return r.cfg.Steps[r.progress.Step]
}

// complete fills in the fields of a new progress that follow from its state and step. The
// caller holds mu.
func (r *Rollout) complete(next *Progress) {
	next.Share = r.cfg.Steps[next.Step]
	if old := &r.progress; next.State != old.State || next.Step != old.Step || next.Round != old.Round {
		next.Since = wallClock()
	}
}

// move changes the rollout and reports it. The caller holds mu, which move unlocks.
func (r *Rollout) move(ctx context.Context, next Progress) {
	r.complete(&next)
	r.enter(next)
	r.unsaved = r.cfg.Store != nil
	e := r.event()
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // Run is about to look anyway
	}
	r.notify(ctx, e)
}

// enter replaces the progress. The caller holds mu.
func (r *Rollout) enter(next Progress) {
	old := r.progress
	reset := next.Round != old.Round || next.Step < old.Step
	if reset || next.Step != old.Step {
		r.trial.Begin(next.Step, reset)
		r.since = time.Now()
	}
	if next.State == Running && old.State != Running {
		r.since = time.Now()
	}
	r.progress = next
	r.publish()
}

// event describes the present state. The caller holds mu.
func (r *Rollout) event() Event {
	return Event{Name: r.cfg.Name, State: r.progress.State, Share: r.share(), Reason: r.progress.Reason}
}

// wallClock returns the time in a form that survives a round trip through JSON.
func wallClock() time.Time { return time.Now().UTC().Round(0) }

// notify calls OnEvent. A change concerns more than the request that caused it, so its
// context is not canceled with that request.
func (r *Rollout) notify(ctx context.Context, e Event) {
	if r.cfg.OnEvent != nil {
		r.cfg.OnEvent(context.WithoutCancel(ctx), e)
	}
}
