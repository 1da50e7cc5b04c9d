package routing

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrRollout: a rollout can't do what it was told in the state that it is in.
var ErrRollout = errors.New("routing: rollout")

// RolloutConfig describes a Rollout. Stable and Canary are required.
type RolloutConfig struct {
	// Name tells it from others, in events and, with both versions, in Store. Default:
	// model and canary.
	Name string
	// Model, Stable and Canary are those of two routes of the table, as written there.
	// Both have a weight and the same conditions, and the stable one comes first. What
	// the weights add up to is what the rollout divides between the two.
	Model, Stable, Canary string
	// Steps are the canary's shares, rising, of the two routes' requests. Default
	// 0.01, 0.05, 0.2, 1.
	Steps []float64
	// Dwell is the least time at a step, since this replica is at it. It should be longer
	// than answers take: one that ends at a later step does not count. Default 10 minutes.
	Dwell time.Duration
	// MinKeys is how many users of the canary must have been seen at a step before
	// the next. Default 500; -1: any number will do.
	MinKeys int
	// Patience is how long a step may take, counted as Dwell; a rollout of which nothing
	// certain is known by then is held until somebody decides. Default 2 hours; -1: any
	// time.
	Patience time.Duration
	// Risk is the probability with which a canary that is no worse is rolled back all
	// the same, in the whole rollout, however often it is looked at. Default 0.01.
	Risk float64
	// Margin is by how much more often than the stable version the canary may fail and
	// still go on: a ratio that is surely below it is good enough. Default 1.25.
	Margin float64
	// Tolerance is the same as a difference, for what seldom fails: a share of users
	// that is surely less than that above the stable version's is good enough too.
	// Default 0.02.
	Tolerance float64
	// Slow is what makes an answer slow: its first byte later than so many times the
	// 95th percentile of the stable version's last 512, also if its client left before.
	// Default 1.2.
	Slow float64
	// AwaitQuality has every step wait until [Judge] was told enough, too. Default
	// false: bad verdicts roll back, and nobody waits for good ones.
	AwaitQuality bool
	// Interval is how often it is decided about going on, and Store is asked. Default
	// 10 seconds. Rolling back waits for nothing.
	Interval time.Duration
	// Store keeps how far it is for the next start and for other replicas, all of
	// which are then at the same step. Default: nowhere, so that a restart begins anew.
	Store RolloutStore
	// Replicas is how many gateways share Store: each judges by what it sees itself,
	// and Risk is divided among them. Default 1.
	Replicas int
	// OnEvent is told of every change. Optional.
	OnEvent func(context.Context, RolloutEvent)
}

// RolloutEvent tells of a change of a rollout.
type RolloutEvent struct {
	// Name is the rollout's.
	Name string
	// State and Share are the new ones.
	State RolloutState
	Share float64
	// Reason says why, in words.
	Reason string
	// Err is set when nothing changed, but Store could not be asked. The rollout goes
	// on as it is, and asks again.
	Err error
}

// Rollout raises the share of a new version step by step while it is no worse than
// the old one, and takes all back as soon as it is. It is safe for concurrent use.
type Rollout struct {
	cfg     RolloutConfig
	current atomic.Pointer[stage]
	wake    chan struct{} // something is to be saved

	mu       sync.Mutex
	progress Progress
	since    time.Time // when this replica began to watch the step, by its own clock
	loaded   bool      // there is no Store, or it was asked
	unsaved  bool      // progress is not in Store
	sent     Progress  // what Store may have taken, although it did not say so
	evidence *evidence
}

// stage is what requests see of a rollout: it changes whole.
type stage struct {
	rollout *Rollout
	step    int
	share   float64
}

// NewRollout checks cfg and returns a Rollout at its first step. With a Store the
// canary gets nothing before [Rollout.Restore]. The error joins every fault found.
func NewRollout(cfg RolloutConfig) (*Rollout, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	r := &Rollout{cfg: cfg, wake: make(chan struct{}, 1), loaded: cfg.Store == nil, evidence: newEvidence(&cfg), since: time.Now()}
	r.progress = Progress{Since: wallClock(), Reason: "begun", Share: cfg.Steps[0]}
	r.publish()
	return r, nil
}

func (cfg *RolloutConfig) check() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf("routing: RolloutConfig."+format, args...))
		}
	}
	fault(cfg.Stable == "" || cfg.Canary == "" || cfg.Stable == cfg.Canary, "Stable and Canary are required, and must differ")
	fault(len(cfg.Steps) > maxSteps, "Steps: %d are more than %d", len(cfg.Steps), maxSteps)
	before := 0.0
	for i, share := range cfg.Steps {
		fault(!(share > before && share <= 1), "Steps[%d]: %v is not above the one before and within 0 and 1", i, share)
		before = share
	}
	for _, f := range [...]struct {
		name     string
		v, least float64
	}{{"Risk", cfg.Risk, 0}, {"Margin", cfg.Margin, 1}, {"Tolerance", cfg.Tolerance, 0}, {"Slow", cfg.Slow, 1}} {
		fault(f.v != 0 && !(f.v > f.least && f.v <= math.MaxFloat64), "%s: %v is not a number above %v", f.name, f.v, f.least)
	}
	fault(cfg.Risk > 0.5 || cfg.Tolerance > 1, "Risk is at most 0.5, and Tolerance at most 1")
	fault(cfg.Dwell < 0 || cfg.Interval < 0 || cfg.Replicas < 0, "Dwell, Interval and Replicas must not be negative")
	return errors.Join(faults...)
}

func (cfg *RolloutConfig) setDefaults() {
	if cfg.Name == "" {
		cfg.Name = cfg.Model + ":" + cfg.Canary
	}
	if len(cfg.Steps) == 0 {
		cfg.Steps = []float64{0.01, 0.05, 0.2, 1}
	}
	cfg.Steps = slices.Clone(cfg.Steps)
	preset(&cfg.Dwell, 10*time.Minute)
	preset(&cfg.MinKeys, 500)
	preset(&cfg.Patience, 2*time.Hour)
	preset(&cfg.Risk, 0.01)
	preset(&cfg.Margin, 1.25)
	preset(&cfg.Tolerance, 0.02)
	preset(&cfg.Slow, 1.2)
	preset(&cfg.Interval, 10*time.Second)
	preset(&cfg.Replicas, 1)
}

func preset[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// publish shows requests where the rollout is. The caller holds mu, or is the only one.
func (r *Rollout) publish() {
	s := &stage{rollout: r, step: r.progress.Step, share: r.share()}
	if old := r.current.Load(); old == nil || old.step != s.step || old.share != s.share {
		r.current.Store(s)
	}
}

// share is the canary's. The caller holds mu, or is the only one.
func (r *Rollout) share() float64 {
	if !r.loaded || r.progress.State == RolledBack {
		return 0
	}
	return r.cfg.Steps[r.progress.Step]
}

// Run raises the share when it is time to, and keeps in step with Store, until ctx
// ends; it returns nil. Without it nothing but rolling back happens.
func (r *Rollout) Run(ctx context.Context) error {
	ticker := time.NewTicker(r.cfg.Interval)
	defer ticker.Stop()
	for {
		r.sync(ctx)
		r.consider(ctx)
		select {
		case <-ctx.Done():
			r.leave(ctx)
			return nil
		case <-ticker.C:
		case <-r.wake:
		}
	}
}

// consider goes on to the next step, or holds, when it is time to. Store is told first:
// a replica that went on alone would have to take users back.
func (r *Rollout) consider(ctx context.Context) {
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
			if !errors.Is(err, ErrConflict) { // another one was first, and is followed next
				r.complain(ctx, err)
			}
			return
		}
	}
	r.mu.Lock()
	if r.progress != known { // it was rolled back, or told something, meanwhile
		r.progress.Revision = next.Revision
		r.mu.Unlock()
		return
	}
	r.enter(next)
	e := r.event()
	r.mu.Unlock()
	r.notify(ctx, e)
}

// due is what it is time for. The caller holds mu.
func (r *Rollout) due() (next Progress, due bool) {
	next = r.progress
	if next.State != Running || !r.loaded || r.unsaved {
		return next, false
	}
	age := time.Since(r.since)
	switch {
	case r.current.Load().share == 1: // there is nothing left to compare with
		next.State, next.Reason = Done, "the last step is reached"
	case age >= r.cfg.Dwell && r.evidence.enough():
		r.goOn(&next, fmt.Sprintf("step %d was passed", next.Step+1))
	case r.cfg.Patience > 0 && age >= r.cfg.Patience:
		next.State, next.Reason = Held, fmt.Sprintf("nothing certain is known after %v", r.cfg.Patience)
	default:
		return next, false
	}
	return next, true
}

// goOn turns p into what comes after it.
func (r *Rollout) goOn(p *Progress, reason string) {
	p.Reason = reason
	if p.State = Running; p.Step == len(r.cfg.Steps)-1 {
		p.State = Done
		return
	}
	p.Step++
}

// complete writes into a new progress what follows from its state and step. The caller
// holds mu.
func (r *Rollout) complete(next *Progress) {
	next.Share = r.cfg.Steps[next.Step]
	if old := &r.progress; next.State != old.State || next.Step != old.Step || next.Round != old.Round {
		next.Since = wallClock()
	}
}

// move changes the rollout and tells of it. The caller holds mu, which move unlocks.
func (r *Rollout) move(ctx context.Context, next Progress) {
	r.complete(&next)
	r.enter(next)
	r.unsaved = r.cfg.Store != nil
	e := r.event()
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it will be looked at anyway
	}
	r.notify(ctx, e)
}

// enter puts another progress in place of the one before. The caller holds mu.
func (r *Rollout) enter(next Progress) {
	old := r.progress
	anew := next.Round != old.Round || next.Step < old.Step
	if anew || next.Step != old.Step {
		r.evidence.begin(next.Step, anew)
		r.since = time.Now()
	}
	if next.State == Running && old.State != Running {
		r.since = time.Now()
	}
	r.progress = next
	r.publish()
}

// event tells of the present state. The caller holds mu.
func (r *Rollout) event() RolloutEvent {
	return RolloutEvent{Name: r.cfg.Name, State: r.progress.State, Share: r.share(), Reason: r.progress.Reason}
}

// wallClock is now, such that it is equal to what is read back of it.
func wallClock() time.Time { return time.Now().UTC().Round(0) }

// notify tells of a change, which is about more than the request that brought it about.
func (r *Rollout) notify(ctx context.Context, e RolloutEvent) {
	if r.cfg.OnEvent != nil {
		r.cfg.OnEvent(context.WithoutCancel(ctx), e)
	}
}

// learn takes a finding about one request of a user, and reports whether it counts.
func (r *Rollout) learn(ctx context.Context, s *sample, f finding) bool {
	return r.take(ctx, s, func(e *evidence) string { return e.add(s.key, s.canary, f) })
}

// take has evidence added, unless it is of another step: who was there may have had
// another version. It rolls back when there is a reason to.
func (r *Rollout) take(ctx context.Context, s *sample, add func(*evidence) (reason string)) bool {
	r.mu.Lock()
	if s.stage != r.current.Load() || s.stage.share <= 0 || s.stage.share >= 1 {
		r.mu.Unlock()
		return false
	}
	reason := add(r.evidence)
	if reason == "" || r.progress.State == Done {
		r.mu.Unlock()
		return true
	}
	next := r.progress
	next.State, next.Reason = RolledBack, reason
	r.move(ctx, next)
	return true
}
