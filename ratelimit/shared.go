package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/outage"
	"github.com/ginfer/ginfer/internal/sizes"
)

// FailureMode is the behavior of a Shared while its store is down.
type FailureMode int

const (
	// LocalShare counts this replica's share of every limit in its own memory: the default.
	// If Replicas is right, the limits are exceeded by no more than a burst that this
	// replica has not seen.
	LocalShare FailureMode = iota
	// FailClosed refuses every request with 503 (closed).
	FailClosed
	// FailOpen lets every request in (open).
	FailOpen
)

// SharedConfig configures a Shared. Store is required, and with LocalShare also Replicas.
type SharedConfig struct {
	// Store is the store that several gateways share.
	Store Store
	// FailureMode applies while Store is down. Default: LocalShare.
	FailureMode FailureMode
	// Replicas is the number of gateways that share Store. If it is wrong, the limits are
	// off by as much while Store is down.
	Replicas int
	// OnEvent is called when Store goes down and comes up again. Optional.
	OnEvent func(context.Context, Event)
}

// Shared is a [Store] that bridges outages of the store behind it. While that store is up,
// Shared records this replica's share of each bucket, and limits by the share in an outage.
// Afterwards it settles with the store what it missed. Limiters with the same store should
// use the same Shared. It is safe for concurrent use.
type Shared struct {
	cfg     SharedConfig
	scale   int64
	local   *Memory
	monitor outage.Monitor
	debts   debts // of this replica to the store
	sizes   sizes.Registry
}

// NewShared checks cfg and returns a Shared. The error joins every fault.
func NewShared(cfg SharedConfig) (*Shared, error) {
	var faults []error
	if cfg.Store == nil {
		faults = append(faults, errors.New("ratelimit: SharedConfig.Store is required"))
	}
	if cfg.FailureMode < LocalShare || cfg.FailureMode > FailOpen {
		faults = append(faults, fmt.Errorf("ratelimit: SharedConfig.FailureMode: %d is none of LocalShare, FailClosed, FailOpen", cfg.FailureMode))
	}
	if cfg.Replicas < 0 || cfg.FailureMode == LocalShare && cfg.Replicas == 0 {
		faults = append(faults, errors.New("ratelimit: SharedConfig.Replicas is required: how many gateways use the store"))
	}
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	local, err := NewMemory(MemoryConfig{})
	if err != nil {
		return nil, err
	}
	s := &Shared{cfg: cfg, scale: int64(max(cfg.Replicas, 1)), local: local, debts: debts{owed: map[id]debt{}}}
	s.monitor.Patient = true // each replica's share of a bucket it never saw adds up to a burst
	s.monitor.Probe = s.probe
	s.monitor.OnDown = func(ctx context.Context, err error) { s.notify(ctx, Event{Kind: StoreDown, Err: err}) }
	s.monitor.OnUp = func(ctx context.Context) { s.notify(ctx, Event{Kind: StoreUp}) }
	return s, nil
}

// Take implements Store.
func (s *Shared) Take(ctx context.Context, charges []Charge) error {
	for attempt := range attempts {
		if s.monitor.IsDown(ctx) || attempt > 0 && !s.monitor.Answered() {
			break
		}
		began := time.Now()
		err := s.cfg.Store.Take(ctx, charges)
		if err == nil {
			s.monitor.Observe(ctx, began, nil)
			s.note(charges)
			s.book(ctx)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		for i := range charges { // a probe repeats the failed write
			s.debts.add(debt{Settlement: Settlement{Bucket: charges[i].Bucket}})
		}
		s.monitor.Observe(ctx, began, err)
	}
	switch s.cfg.FailureMode {
	case FailClosed:
		return fmt.Errorf("%w: limits can't be checked", ErrUnavailable)
	case FailOpen:
		for i := range charges {
			c := &charges[i]
			c.Granted, c.Left, c.Wait = c.Cost, float64(c.Burst), 0
		}
	case LocalShare:
		s.takeShare(ctx, charges)
	}
	s.oweGrants(ctx, charges)
	return nil
}

// Down returns why Store is down, or nil while it is up. Use it for a readiness probe; it
// makes no call.
func (s *Shared) Down() error { return s.monitor.Cause() }

// note records this replica's share of each level, for an outage.
func (s *Shared) note(charges []Charge) {
	for i := range charges {
		charges[i].local = false // the local share may have refused it before
		if s.cfg.FailureMode != LocalShare {
			continue
		}
		if share, ok := s.share(charges[i].Bucket); ok {
			s.local.set(&share, charges[i].Left/float64(s.scale))
		}
	}
}

// share returns this replica's share of a bucket. A budget that is too small to be divided has
// none.
func (s *Shared) share(b Bucket) (Bucket, bool) {
	b.Rate /= float64(s.scale)
	b.Burst /= s.scale
	if b.Burst == 0 && b.Rate > 0 {
		b.Burst = 1
	}
	return b, b.Burst > 0
}

// takeShare takes the charges from this replica's share of each bucket.
func (s *Shared) takeShare(ctx context.Context, charges []Charge) {
	own := make([]Charge, len(charges))
	for i, c := range charges {
		share, ok := s.share(c.Bucket)
		if !ok {
			charges[i].refuse(outage.ProbeEvery) // the store may be up then
			return
		}
		c.Bucket = share
		own[i] = c
	}
	_ = s.local.Take(ctx, own) // a Memory does not fail
	for i, c := range own {
		c.Bucket, c.local = charges[i].Bucket, true
		charges[i] = c
	}
}

// oweGrants records what was granted without the store. What is reserved is recorded when it is
// settled.
func (s *Shared) oweGrants(ctx context.Context, charges []Charge) {
	for i := range charges {
		c := &charges[i]
		if c.Granted > 0 && !c.Reserve && s.books(&c.Bucket) {
			s.debts.add(debt{Settlement: Settlement{Bucket: c.Bucket}, granted: c.Granted})
		}
	}
	s.book(ctx)
}

// books reports whether the store is to know what was granted from a bucket without it.
// FailOpen is the choice to exceed rates.
func (s *Shared) books(b *Bucket) bool { return s.cfg.FailureMode == LocalShare || !b.Ends.IsZero() }

// Settle implements Store. What the store does not accept now it gets later. Settlements that
// failed may count twice (closed).
func (s *Shared) Settle(ctx context.Context, settlements []Settlement) error {
	defer s.book(ctx)
	rest := s.settleShare(ctx, settlements)
	if len(rest) == 0 {
		return nil
	}
	if !s.monitor.IsDown(ctx) {
		began := time.Now()
		err := s.cfg.Store.Settle(ctx, rest)
		s.monitor.Observe(context.WithoutCancel(ctx), began, err)
		if err == nil {
			return nil
		}
	}
	for _, one := range rest {
		s.debts.add(debt{Settlement: one})
	}
	return nil
}

// settleShare settles what was taken from the local share, and returns the settlements for the
// store.
func (s *Shared) settleShare(ctx context.Context, settlements []Settlement) (rest []Settlement) {
	for _, one := range settlements {
		if !one.local {
			rest = append(rest, one)
			continue
		}
		if share, ok := s.share(one.Bucket); ok {
			_ = s.local.Settle(ctx, []Settlement{{Bucket: share, Reserved: one.Reserved, Spent: one.Spent}}) // a Memory does not fail
		}
		if one.Spent != 0 && s.books(&one.Bucket) { // the store has no reservation
			s.debts.add(debt{Settlement: Settlement{Bucket: one.Bucket}, granted: one.Spent})
		}
	}
	return rest
}

func (s *Shared) notify(ctx context.Context, e Event) {
	if s.cfg.OnEvent != nil {
		s.cfg.OnEvent(ctx, e)
	}
}
