package ratelimit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// attempts bounds the calls of the store for one Take: a slow one is repeated.
	attempts = 2
	// probeLimit bounds a probe of the store with its settlements.
	probeLimit = 5 * time.Second
	// maxOwed bounds the settlements that are kept for a store, in buckets. Beyond it they
	// are lost, and reservations expire unspent.
	maxOwed = 10_000
	// flushSize is the number of settlements per call, and flushRounds bounds the rounds in
	// which new ones may come up: after the last round the store is up although it lacks
	// some, or under load it would never be.
	flushSize   = 100
	flushRounds = 10
)

// debt is what a store does not know of a bucket: a settlement, and what was granted without
// it. A debt of nothing repeats a failed write.
type debt struct {
	Settlement
	granted int64
}

// debts are the debts of this replica, by bucket.
type debts struct {
	mu      sync.Mutex
	owed    map[id]debt
	booking bool
}

// add adds a debt.
func (d *debts) add(one debt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum, ok := d.owed[one.id()]
	if !ok && len(d.owed) >= maxOwed {
		return
	}
	sum.Bucket = one.Bucket
	sum.Reserved += one.Reserved
	sum.Spent += one.Spent
	sum.granted += one.granted
	d.owed[one.id()] = sum
}

// take returns all debts, which the caller settles or adds again.
func (d *debts) take() []debt {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Collect(maps.Values(d.owed))
	clear(d.owed)
	return all
}

// begin reports whether there are debts, and nobody settles them.
func (d *debts) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.booking || len(d.owed) == 0 {
		return false
	}
	d.booking = true
	return true
}

func (d *debts) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.booking = false
}

// book settles the debts in the background, unless the store is down: then a probe does.
func (s *Shared) book(ctx context.Context) {
	if s.monitor.Cause() != nil || !s.debts.begin() {
		return
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer s.debts.end()
		began, err := time.Now(), ErrUnavailable
		defer func() {
			if v := recover(); v != nil { // not a request's goroutine: it would end the process
				err = fmt.Errorf("%w: panic: %v", ErrUnavailable, v)
			}
			s.monitor.Observe(ctx, began, err)
		}()
		limited, cancel := context.WithTimeout(ctx, probeLimit)
		defer cancel()
		err = s.flush(limited)
	}()
}

// probe settles what the store missed before it is used again: the writes that failed are
// among it.
func (s *Shared) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	if err := s.cfg.Store.Take(ctx, nil); err != nil {
		return err
	}
	return s.flush(ctx)
}

// flush settles all debts, and those that come up meanwhile. On an error or a panic it keeps
// the rest.
func (s *Shared) flush(ctx context.Context) error {
	var owed []debt
	defer func() {
		for _, rest := range owed {
			s.debts.add(rest)
		}
	}()
	for range flushRounds {
		if owed = s.debts.take(); len(owed) == 0 {
			return nil
		}
		for len(owed) > 0 {
			n := min(len(owed), flushSize)
			if err := s.cfg.Store.Settle(ctx, s.settlements(owed[:n])); err != nil {
				return err
			}
			owed = owed[n:]
		}
	}
	return nil
}

func (s *Shared) settlements(owed []debt) []Settlement {
	all := make([]Settlement, len(owed))
	for i := range owed {
		all[i] = owed[i].Settlement
		all[i].Spent += s.due(&owed[i])
	}
	return all
}

// due returns what the store is to debit for the grants of a debt. What a rate has refilled
// since is not due: a bucket that is full again in the store would get a debt that was paid.
func (s *Shared) due(d *debt) int64 {
	share, ok := s.share(d.Bucket)
	if d.granted == 0 || !ok || d.Rate == 0 {
		return d.granted
	}
	return min(d.granted, s.local.missing(&share))
}
