package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/outage"
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

const (
	// probeLimit bounds a probe of the store with its settlements.
	probeLimit = 5 * time.Second
	// maxOwed bounds the settlements that are kept for a store that is down, in buckets.
	maxOwed = 10_000
	// flushSize is the number of settlements per call, and flushRounds bounds the rounds in
	// which new ones may come up: after the last round the store is up although it lacks
	// some, or under load it would never be.
	flushSize   = 100
	flushRounds = 10
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
	owed    map[id]Settlement // for a store that is down; guarded by monitor's lock
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
	s := &Shared{cfg: cfg, scale: int64(max(cfg.Replicas, 1)), local: local, owed: map[id]Settlement{}}
	s.monitor.Probe = s.probe
	s.monitor.OnDown = func(ctx context.Context, err error) { s.notify(ctx, Event{Kind: StoreDown, Err: err}) }
	s.monitor.OnUp = func(ctx context.Context) { s.notify(ctx, Event{Kind: StoreUp}) }
	return s, nil
}

// Take implements Store.
func (s *Shared) Take(ctx context.Context, charges []Charge) error {
	if !s.monitor.IsDown(ctx) {
		err := s.cfg.Store.Take(ctx, charges)
		if err == nil {
			s.note(charges)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		s.monitor.Fail(ctx, err)
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
	s.oweBudgets(ctx, charges)
	return nil
}

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

// oweBudgets records what budgets have paid in the outage, for the store. Rates are not
// recorded: most of their tokens have refilled by then, and the rest is a share of a burst.
func (s *Shared) oweBudgets(ctx context.Context, charges []Charge) {
	for i := range charges {
		c := &charges[i]
		if c.Granted == 0 || c.Reserve || c.Ends.IsZero() {
			continue
		}
		one := Settlement{Bucket: c.Bucket, Spent: c.Granted}
		if !s.owe(one) { // the store came up at the same moment
			_ = s.cfg.Store.Settle(context.WithoutCancel(ctx), []Settlement{one})
		}
	}
}

// Settle implements Store. While the store is down it keeps the settlements. Those in flight
// when the store went down may count twice (closed).
func (s *Shared) Settle(ctx context.Context, settlements []Settlement) error {
	rest := s.settleShare(ctx, settlements)
	if len(rest) == 0 {
		return nil
	}
	if !s.monitor.IsDown(ctx) {
		err := s.cfg.Store.Settle(ctx, rest)
		if err == nil {
			return nil
		}
		s.monitor.Fail(context.WithoutCancel(ctx), err)
	}
	for i, one := range rest {
		if !s.owe(one) { // the store came up at the same moment
			return s.cfg.Store.Settle(ctx, rest[i:])
		}
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
		if !one.Ends.IsZero() {
			one.Reserved = 0 // the store has no reservation
			rest = append(rest, one)
		}
	}
	return rest
}

// owe keeps a settlement for a store that is down, and reports whether it is. Beyond the bound
// the settlement is lost, and the reservation expires unspent.
func (s *Shared) owe(one Settlement) bool {
	return s.monitor.WhileDown(func() {
		sum, ok := s.owed[one.id()]
		if !ok && len(s.owed) >= maxOwed {
			return
		}
		sum.Bucket = one.Bucket
		sum.Reserved += one.Reserved
		sum.Spent += one.Spent
		s.owed[one.id()] = sum
	})
}

// probe checks whether the store is up, and settles what it missed before it is used again.
func (s *Shared) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	for round := 1; round <= flushRounds; round++ {
		if s.cfg.Store.Take(ctx, nil) != nil {
			return
		}
		var owed []Settlement
		up := s.monitor.Recover(func() bool {
			owed = slices.Collect(maps.Values(s.owed))
			clear(s.owed)
			return len(owed) == 0 || round == flushRounds
		})
		if !s.flush(ctx, owed) || up {
			return
		}
	}
}

// flush settles what the store missed. On an error or a panic it keeps the rest.
func (s *Shared) flush(ctx context.Context, owed []Settlement) bool {
	defer func() {
		if len(owed) > 0 {
			s.monitor.Relapse() // also after the last round
		}
		for _, rest := range owed {
			s.owe(rest)
		}
	}()
	for len(owed) > 0 {
		n := min(len(owed), flushSize)
		if s.cfg.Store.Settle(ctx, owed[:n]) != nil {
			return false
		}
		owed = owed[n:]
	}
	return true
}

func (s *Shared) notify(ctx context.Context, e Event) {
	if s.cfg.OnEvent != nil {
		s.cfg.OnEvent(ctx, e)
	}
}
