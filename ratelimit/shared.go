package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// FailureMode says what holds while a shared store does not answer.
type FailureMode int

const (
	// LocalShare gives this replica its share of every limit, counted in its own memory:
	// the default. If Replicas is right, nothing is let in beyond the limits but a burst
	// of what this replica has not seen.
	LocalShare FailureMode = iota
	// FailClosed refuses every request with 503 (closed).
	FailClosed
	// FailOpen lets every request in (open).
	FailOpen
)

const (
	// probeEvery is how often a store that is down is asked whether it is back. No
	// request waits for that.
	probeEvery = time.Second
	// probeLimit bounds that question.
	probeLimit = 5 * time.Second
	// maxOwed bounds what is kept for a store that is down, in buckets.
	maxOwed = 10_000
	// tellAtOnce is of how many buckets it is told in a call, and tellRounds how often it
	// may owe more by the end: then it counts while it is told the rest, or it never
	// would under load.
	tellAtOnce = 100
	tellRounds = 10
)

// SharedConfig describes a Shared. Store is required, and with Share also Replicas.
type SharedConfig struct {
	// Store is what several gateways use.
	Store Store
	// FailureMode is what holds while it does not answer. Default Share.
	FailureMode FailureMode
	// Replicas is how many gateways use it. When it is not right while the store is
	// down, the limits are off by as much.
	Replicas int
	// OnEvent is told when the store goes down and comes back. Optional.
	OnEvent func(context.Context, Event)
}

// Shared is a [Store] that goes on when the one behind it does not answer. While
// that answers, Shared notes how much of each bucket is this replica's share, and
// goes by it in an outage. Afterwards the store is told what it missed. Limiters that
// use one store should use one Shared. It is safe for concurrent use.
type Shared struct {
	cfg   SharedConfig
	scale int64
	local *Memory

	mu      sync.Mutex
	down    bool
	probing bool
	probe   time.Time         // when to ask again
	owed    map[id]Settlement // not yet told to the store
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
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	local, err := NewMemory(MemoryConfig{})
	return &Shared{cfg: cfg, scale: int64(max(cfg.Replicas, 1)), local: local, owed: map[id]Settlement{}}, err
}

// Take implements Store.
func (s *Shared) Take(ctx context.Context, charges []Charge) error {
	if !s.isDown(ctx) {
		err := s.cfg.Store.Take(ctx, charges)
		if err == nil {
			s.note(charges)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		s.fell(ctx, err)
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

// note keeps this replica's share of what is left, for an outage.
func (s *Shared) note(charges []Charge) {
	for i := range charges {
		charges[i].local = false // it may have been refused by the share before
		if s.cfg.FailureMode != LocalShare {
			continue
		}
		if share, ok := s.share(charges[i].Bucket); ok {
			s.local.set(&share, charges[i].Left/float64(s.scale))
		}
	}
}

// share is this replica's part of a bucket. A budget that is too small to be
// shared has none.
func (s *Shared) share(b Bucket) (Bucket, bool) {
	b.Rate /= float64(s.scale)
	b.Burst /= s.scale
	if b.Burst == 0 && b.Rate > 0 {
		b.Burst = 1
	}
	return b, b.Burst > 0
}

// takeShare takes from this replica's share of each bucket.
func (s *Shared) takeShare(ctx context.Context, charges []Charge) {
	own := make([]Charge, len(charges))
	for i, c := range charges {
		share, ok := s.share(c.Bucket)
		if !ok {
			charges[i].refuse(probeEvery) // the store may be back
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

// oweBudgets keeps for the store what budgets have paid meanwhile. Rates are not
// told: most of theirs has come back by then, and what has not is a share of a burst.
func (s *Shared) oweBudgets(ctx context.Context, charges []Charge) {
	for i := range charges {
		c := &charges[i]
		if c.Granted == 0 || c.Reserve || c.Ends.IsZero() {
			continue
		}
		one := Settlement{Bucket: c.Bucket, Spent: c.Granted}
		if !s.owe(one) { // it came back in this moment
			_ = s.cfg.Store.Settle(context.WithoutCancel(ctx), []Settlement{one})
		}
	}
}

// Settle implements Store. What a store that is down should know is kept until it
// answers. What was under way when it stopped may count twice (closed).
func (s *Shared) Settle(ctx context.Context, settlements []Settlement) error {
	rest := s.settleShare(ctx, settlements)
	if len(rest) == 0 {
		return nil
	}
	if !s.isDown(ctx) {
		err := s.cfg.Store.Settle(ctx, rest)
		if err == nil {
			return nil
		}
		s.fell(ctx, err)
	}
	for i, one := range rest {
		if !s.owe(one) { // it came back in this moment
			return s.cfg.Store.Settle(ctx, rest[i:])
		}
	}
	return nil
}

// settleShare settles what was taken from the share, and returns what the store must
// hear.
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
			one.Reserved = 0 // the store knows of none
			rest = append(rest, one)
		}
	}
	return rest
}

// owe keeps a settlement for later, while the store is down. Beyond the bound it is
// lost, and the hold ends by itself, unspent.
func (s *Shared) owe(one Settlement) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.down {
		return false
	}
	sum, ok := s.owed[one.id()]
	if !ok && len(s.owed) >= maxOwed {
		return true
	}
	sum.Bucket = one.Bucket
	sum.Reserved += one.Reserved
	sum.Spent += one.Spent
	s.owed[one.id()] = sum
	return true
}

// isDown reports whether the store is down, and sees to it that it is asked from
// time to time.
func (s *Shared) isDown(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.down && !s.probing && now.After(s.probe) {
		s.probing = true
		go s.ask(context.WithoutCancel(ctx))
	}
	return s.down
}

// fell notes that the store does not answer.
func (s *Shared) fell(ctx context.Context, err error) {
	s.mu.Lock()
	begun := !s.down
	if begun {
		s.down, s.probe = true, time.Now().Add(probeEvery)
	}
	s.mu.Unlock()
	if begun {
		s.notify(ctx, Event{Kind: StoreDown, Err: err})
	}
}

// ask tries whether the store is back, tells it what it missed, and relies on it
// again. It runs once at a time.
func (s *Shared) ask(ctx context.Context) {
	back := false
	defer func() {
		_ = recover() // a store that panics is down
		s.mu.Lock()
		s.probing, s.probe = false, time.Now().Add(probeEvery)
		s.mu.Unlock()
		if back {
			s.notify(ctx, Event{Kind: StoreUp})
		}
	}()
	limited, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	for round := 1; !back; round++ {
		if s.cfg.Store.Take(limited, nil) != nil {
			return
		}
		owed := s.takeOwed(round == tellRounds)
		if !s.tell(limited, owed) {
			return
		}
		back = len(owed) == 0 || round == tellRounds
	}
}

// takeOwed is what the store must be told before it counts again. When there is
// nothing, or in the last round, it counts from now on.
func (s *Shared) takeOwed(last bool) (owed []Settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.owed {
		owed = append(owed, one)
	}
	clear(s.owed)
	s.down = len(owed) > 0 && !last
	return owed
}

// tell tells the store what it missed. What it does not take, or panics at, is owed
// again.
func (s *Shared) tell(ctx context.Context, owed []Settlement) bool {
	defer func() {
		if len(owed) > 0 {
			s.mu.Lock()
			s.down = true // also in the last round
			s.mu.Unlock()
		}
		for _, rest := range owed {
			s.owe(rest)
		}
	}()
	for len(owed) > 0 {
		n := min(len(owed), tellAtOnce)
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
