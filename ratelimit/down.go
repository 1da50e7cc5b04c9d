package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Down says what holds while a shared store does not answer.
type Down int

const (
	// Share gives this replica its share of every limit, counted in its own memory:
	// the default. Nothing is let in beyond the limits if Replicas is right.
	Share Down = iota
	// Deny refuses every request with 503 (closed).
	Deny
	// Allow lets every request in (open).
	Allow
)

const (
	// probeEvery is how often a store that is down is asked whether it is back. No
	// request waits for that.
	probeEvery = time.Second
	// probeLimit bounds that question.
	probeLimit = 5 * time.Second
	// maxOwed bounds what is kept for a store that is down, in buckets.
	maxOwed = 10_000
)

// Shared describes how a store that several replicas use is used.
type Shared struct {
	// Down is what holds while the store does not answer. Default Share.
	Down Down
	// Replicas is how many gateways use the store, for Share. Required then; when it
	// changes while the store is down, the limits are off by as much.
	Replicas int
	// Lease is for how long ahead request limits are borrowed from the store, so that
	// few requests wait for it. Default 100 ms; negative: every request asks. Token
	// limits always ask, once for a request.
	Lease time.Duration
}

func (s *Shared) check() error {
	var faults []error
	if s.Down < Share || s.Down > Allow {
		faults = append(faults, fmt.Errorf("ratelimit: Shared.Down: %d is none of Share, Deny, Allow", s.Down))
	}
	if s.Down == Share && s.Replicas < 1 {
		faults = append(faults, errors.New("ratelimit: Shared.Replicas is required with a shared Store: how many gateways use it"))
	}
	return errors.Join(faults...)
}

// standIn keeps limits going while a store is down. It is safe for concurrent
// use.
type standIn struct {
	store  Store
	down   Down
	scale  int64
	notify func(context.Context, Event)

	mu    sync.Mutex
	local *Memory // nil while the store answers
	probe time.Time
	owed  map[id]Settlement // not yet told to the store
}

func newStandIn(store Store, cfg Shared, notify func(context.Context, Event)) *standIn {
	return &standIn{store: store, down: cfg.Down, scale: int64(max(cfg.Replicas, 1)), notify: notify, owed: map[id]Settlement{}}
}

// Take implements Store.
func (s *standIn) Take(ctx context.Context, charges []Charge) error {
	local := s.stands(ctx)
	if local == nil {
		err := s.store.Take(ctx, charges)
		if err == nil || ctx.Err() != nil {
			return err
		}
		local = s.begin(ctx, err)
	}
	switch s.down {
	case Deny:
		return fmt.Errorf("%w: limits can't be checked", ErrUnavailable)
	case Allow:
		for i := range charges {
			c := &charges[i]
			c.Granted, c.Left, c.Wait, c.local = c.Cost, float64(c.Burst), 0, true
		}
		return nil
	case Share:
	}
	return s.takeShare(ctx, local, charges)
}

// takeShare takes from this replica's share of each bucket.
func (s *standIn) takeShare(ctx context.Context, local *Memory, charges []Charge) error {
	own := make([]Charge, len(charges))
	for i, c := range charges {
		c.Bucket = s.share(c.Bucket)
		own[i] = c
	}
	err := local.Take(ctx, own)
	for i, c := range own {
		c.Bucket, c.local = charges[i].Bucket, true
		charges[i] = c
	}
	return err
}

func (s *standIn) share(b Bucket) Bucket {
	b.Rate /= float64(s.scale)
	b.Burst = max(b.Burst/s.scale, 1)
	return b
}

// Settle implements Store. What a store that is down should know is kept until it
// answers.
func (s *standIn) Settle(ctx context.Context, settlements []Settlement) error {
	local := s.stands(ctx)
	var rest []Settlement
	for _, one := range settlements {
		switch {
		case !one.local:
			rest = append(rest, one)
		case local != nil && s.down == Share:
			one.Bucket = s.share(one.Bucket)
			_ = local.Settle(ctx, []Settlement{one}) // a Memory does not fail
		}
	}
	if len(rest) == 0 {
		return nil
	}
	if local == nil {
		err := s.store.Settle(ctx, rest)
		if err == nil {
			return nil
		}
		s.begin(ctx, err)
	}
	s.owe(rest)
	return nil
}

// owe keeps settlements for later. Beyond the bound they are lost, and the holds
// end by themselves, unspent.
func (s *standIn) owe(settlements []Settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range settlements {
		sum, ok := s.owed[one.id()]
		if !ok && len(s.owed) >= maxOwed {
			continue
		}
		sum.Bucket = one.Bucket
		sum.Held += one.Held
		sum.Spent += one.Spent
		s.owed[one.id()] = sum
	}
}

// stands returns what stands in for the store, or nil when the store answers. It
// sees to it that the store is asked from time to time.
func (s *standIn) stands(ctx context.Context) *Memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.local == nil {
		return nil
	}
	if now := time.Now(); now.After(s.probe) {
		s.probe = now.Add(probeEvery)
		go s.ask(context.WithoutCancel(ctx))
	}
	return s.local
}

// begin lets a share stand in for the store that has just failed.
func (s *standIn) begin(ctx context.Context, err error) *Memory {
	s.mu.Lock()
	local, begun := s.local, false
	if local == nil {
		local, _ = NewMemory(MemoryConfig{}) // fails only for a bad config
		s.local, s.probe, begun = local, time.Now().Add(probeEvery), true
	}
	s.mu.Unlock()
	if begun {
		s.notify(ctx, Event{Kind: StoreDown, Err: err})
	}
	return local
}

// ask tries whether the store is back, tells it what it missed, and puts it into
// its place again.
func (s *standIn) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	if s.store.Take(ctx, nil) != nil {
		return
	}
	s.mu.Lock()
	owed := make([]Settlement, 0, len(s.owed))
	for _, one := range s.owed {
		owed = append(owed, one)
	}
	clear(s.owed)
	s.mu.Unlock()
	if rest := s.settleAll(ctx, owed); len(rest) > 0 {
		s.owe(rest)
		return
	}
	s.mu.Lock()
	s.local = nil
	s.mu.Unlock()
	s.notify(ctx, Event{Kind: StoreUp})
}

// settleAll settles in parts that a store can take at once, and returns what it
// could not. What was under way when the store stopped may count twice (closed).
func (s *standIn) settleAll(ctx context.Context, owed []Settlement) (rest []Settlement) {
	for len(owed) > 0 {
		n := min(len(owed), 100)
		if s.store.Settle(ctx, owed[:n]) != nil {
			return owed
		}
		owed = owed[n:]
	}
	return nil
}
