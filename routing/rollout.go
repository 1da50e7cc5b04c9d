package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrRollout: a rollout can't do what it was told in the state that it is in.
var ErrRollout = errors.New("routing: rollout")

// RolloutConfig describes a Rollout. Stable and Canary are required.
type RolloutConfig struct {
	// Name tells it from others, in events and in Store. Default: model and canary.
	Name string
	// Model, Stable and Canary are those of two routes of the table, as written there.
	// Both have a weight and the same conditions, and the stable one comes first. What
	// the weights add up to is what the rollout divides between the two.
	Model, Stable, Canary string
	// Steps are the canary's shares, rising, of the two routes' requests. Default
	// 0.01, 0.05, 0.2, 1.
	Steps []float64
	// Dwell is the least time at a step. Default 10 minutes.
	Dwell time.Duration
	// MinKeys is how many users of the canary must have been seen at a step before
	// the next. Default 500; -1: any number will do.
	MinKeys int
	// Patience is how long a step may take; a rollout of which nothing certain is
	// known by then is held until somebody decides. Default 2 hours; -1: any time.
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
	// 95th percentile of the stable version's last 512. Default 1.2.
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
	loaded   bool // there is no Store, or it was asked
	unsaved  bool // progress is not in Store
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
	r := &Rollout{cfg: cfg, wake: make(chan struct{}, 1), loaded: cfg.Store == nil, evidence: newEvidence(&cfg)}
	r.progress = Progress{Since: time.Now(), Reason: "begun"}
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
		fault(f.v != 0 && !(f.v > f.least), "%s: %v is not above %v", f.name, f.v, f.least) // nor is NaN
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
// ends. Without it nothing but rolling back happens.
func (r *Rollout) Run(ctx context.Context) error {
	ticker := time.NewTicker(r.cfg.Interval)
	defer ticker.Stop()
	for {
		r.sync(ctx)
		r.consider(ctx)
		r.sync(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-r.wake:
		}
	}
}

// consider goes on to the next step, or holds, when it is time to.
func (r *Rollout) consider(ctx context.Context) {
	r.mu.Lock()
	if r.progress.State != Running || !r.loaded {
		r.mu.Unlock()
		return
	}
	age, now := time.Since(r.progress.Since), r.current.Load()
	switch {
	case now.share == 1: // there is nothing left to compare with
		r.move(ctx, Done, r.progress.Step, "the last step is reached")
	case age >= r.cfg.Dwell && r.evidence.enough():
		next := r.progress.Step + 1
		if next == len(r.cfg.Steps) {
			r.move(ctx, Done, r.progress.Step, "the last step was passed")
			return
		}
		r.move(ctx, Running, next, fmt.Sprintf("step %d was passed", next))
	case r.cfg.Patience > 0 && age >= r.cfg.Patience:
		r.move(ctx, Held, r.progress.Step, fmt.Sprintf("nothing certain is known after %v", r.cfg.Patience))
	default:
		r.mu.Unlock()
	}
}

// move changes the rollout and tells of it. The caller holds mu, which move unlocks.
func (r *Rollout) move(ctx context.Context, state RolloutState, step int, reason string) {
	p := &r.progress
	anew := step != p.Step || p.State == RolledBack && state != RolledBack
	if anew || state != p.State {
		p.Since = time.Now()
	}
	if anew {
		r.evidence.begin(step, step <= p.Step)
	}
	p.State, p.Step, p.Reason = state, step, reason
	r.unsaved = true
	r.publish()
	e := RolloutEvent{Name: r.cfg.Name, State: state, Share: r.share(), Reason: reason}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it will be looked at anyway
	}
	r.notify(ctx, e)
}

func (r *Rollout) notify(ctx context.Context, e RolloutEvent) {
	if r.cfg.OnEvent != nil {
		r.cfg.OnEvent(ctx, e)
	}
}

// learn takes a finding about one request of a user.
func (r *Rollout) learn(ctx context.Context, s *sample, f finding) {
	r.mu.Lock()
	if !r.watches(s) {
		r.mu.Unlock()
		return
	}
	r.conclude(ctx, r.evidence.add(s.key, s.canary, f))
}

// began takes the time in which an answer began.
func (r *Rollout) began(ctx context.Context, s *sample, after time.Duration) {
	r.mu.Lock()
	if !r.watches(s) {
		r.mu.Unlock()
		return
	}
	r.conclude(ctx, r.evidence.began(s.key, s.canary, after))
}

// watches reports whether a sample is of the present step: who was at another one may
// have had another version. The caller holds mu.
func (r *Rollout) watches(s *sample) bool {
	return s.stage == r.current.Load() && s.stage.share > 0 && s.stage.share < 1
}

// conclude rolls back when there is a reason to. The caller holds mu, which conclude
// unlocks.
func (r *Rollout) conclude(ctx context.Context, reason string) {
	if reason == "" || r.progress.State == Done {
		r.mu.Unlock()
		return
	}
	r.move(ctx, RolledBack, r.progress.Step, reason)
}
