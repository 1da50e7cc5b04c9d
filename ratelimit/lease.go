package ratelimit

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// leaseLife is how long what was borrowed may lie unused, in times of what it
	// was meant for. What is left then is lost: never is more spent than was taken.
	leaseLife = 5
	shortLife = 100 * time.Millisecond
	// A refusal by the store is believed for shortRefusal at least, but for no more
	// than half the time in which the bucket fills, and for longRefusal at most:
	// somebody may empty the store or raise the limit.
	shortRefusal = 25 * time.Millisecond
	longRefusal  = time.Second
	// demandWindow is the time over which demand is averaged.
	demandWindow = time.Second
)

// leases stands in front of a shared store, so that few requests wait for it:
// a replica borrows as much as it is likely to need soon, and pays from that. What
// is borrowed is gone from the shared bucket, so that all replicas together never
// pass the limit. It is safe for concurrent use.
//
// The idea is that of Doorman (github.com/youtube/doorman), with counts in place of
// rates.
type leases struct {
	store    Store
	ahead    time.Duration
	mu       sync.Mutex
	accounts *simplelru.LRU[id, *account]
}

// account is what this replica has of a bucket.
type account struct {
	balance int64
	until   time.Time // the balance is void after it
	left    float64   // in the bucket, as the store said last

	demand  float64 // in a window
	counted time.Time

	refusedAt, refusedUntil time.Time
	wait                    time.Duration // as the store said at refusedAt

	loan *loan // under way
}

// loan is a call of the store for some accounts. Others may wait for it.
type loan struct {
	asks []Charge
	done chan struct{}
}

func newLeases(store Store, ahead time.Duration) *leases {
	l := &leases{store: store, ahead: ahead}
	l.accounts, _ = simplelru.NewLRU[id, *account](DefaultKeys, nil) // fails only for a size below 1
	return l
}

// Take implements Store.
func (l *leases) Take(ctx context.Context, charges []Charge) error {
	for first := true; ; first = false {
		mine, theirs := l.pay(charges, first)
		switch {
		case mine != nil:
			// Others wait for it: it is not given up when this client leaves. The store
			// has a time limit of its own.
			if err := l.borrow(context.WithoutCancel(ctx), mine); err != nil {
				return err
			}
		case theirs != nil:
			select {
			case <-theirs.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		default:
			return nil
		}
	}
}

// pay takes all charges from the accounts or, as the store did before, refuses
// them. When some accounts are short it does neither, and returns a loan to make
// for them, or one by somebody else to wait for.
func (l *leases) pay(charges []Charge, first bool) (mine, theirs *loan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	refused, short := false, false
	for i := range charges {
		c := &charges[i]
		a := l.account(&c.Bucket)
		if first {
			a.count(now, c.Cost)
		}
		enough := a.look(c, now)
		refused = refused || c.Wait > 0
		short = short || !enough
		if !enough && a.loan != nil {
			theirs = a.loan
		}
	}
	switch {
	case refused:
		return nil, nil
	case theirs != nil:
		return nil, theirs
	case short:
		return l.loan(charges), nil
	}
	for i := range charges {
		c := &charges[i]
		l.account(&c.Bucket).balance -= c.Cost
		c.Granted = c.Cost
		c.Left -= float64(c.Cost)
	}
	return nil, nil
}

// Settle implements Store, for what was taken and not used: it is the replica's own
// until its time is over.
func (l *leases) Settle(_ context.Context, settlements []Settlement) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range settlements {
		l.account(&settlements[i].Bucket).balance -= settlements[i].Spent
	}
	return nil
}

func (l *leases) account(b *Bucket) *account {
	key := b.id()
	a, ok := l.accounts.Get(key)
	if !ok {
		a = new(account)
		l.accounts.Add(key, a)
	}
	return a
}

// count notes demand; it fades with time.
func (a *account) count(now time.Time, cost int64) {
	a.demand = a.demand*math.Exp(-float64(now.Sub(a.counted))/float64(demandWindow)) + float64(cost)
	a.counted = now
}

// look fills in what the account says of a charge, and reports whether it can
// pay, or knows that the store would not.
func (a *account) look(c *Charge, now time.Time) bool {
	if now.After(a.until) {
		a.balance = 0
	}
	c.Granted, c.Wait, c.Left = 0, 0, a.left+float64(a.balance)
	if a.balance >= c.Cost {
		return true
	}
	if now.Before(a.refusedUntil) {
		c.Wait = max(a.wait-now.Sub(a.refusedAt), a.refusedUntil.Sub(now)) // it is not asked before
		return true
	}
	return false
}

// loan begins a loan for the charges that are short.
func (l *leases) loan(charges []Charge) *loan {
	out := &loan{done: make(chan struct{})}
	for i := range charges {
		c := &charges[i]
		a := l.account(&c.Bucket)
		if a.balance >= c.Cost {
			continue
		}
		a.loan = out
		ask := Charge{Bucket: c.Bucket, Cost: c.Cost}
		if c.Rate > 0 { // what is lost of a budget does not come back
			ask.UpTo = int64(a.demand * float64(l.ahead) / float64(demandWindow))
		}
		out.asks = append(out.asks, ask)
	}
	return out
}

// borrow carries a loan out.
func (l *leases) borrow(ctx context.Context, out *loan) (err error) {
	err = ErrUnavailable // of a store that panics
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := range out.asks {
			l.account(&out.asks[i].Bucket).close(out, &out.asks[i], err, l.ahead)
		}
		close(out.done)
	}()
	return l.store.Take(ctx, out.asks)
}

// close notes how a loan ended.
func (a *account) close(out *loan, ask *Charge, err error, ahead time.Duration) {
	if a.loan == out {
		a.loan = nil
	}
	if err != nil {
		return
	}
	now := time.Now()
	a.left = ask.Left
	switch {
	case ask.Granted > 0:
		a.balance += ask.Granted
		a.until = now.Add(max(leaseLife*ahead, shortLife))
		if need := ask.need(); ask.Left < need { // the next one would be refused
			a.refuse(ask, now, ask.until(now, ask.Left, need))
		}
	case ask.Wait > 0:
		a.refuse(ask, now, ask.Wait)
	}
}

func (a *account) refuse(ask *Charge, now time.Time, wait time.Duration) {
	a.refusedAt, a.wait = now, wait
	a.refusedUntil = now.Add(believe(ask, wait))
}

// believe is how long a refusal holds without asking again.
func believe(ask *Charge, wait time.Duration) time.Duration {
	least := shortRefusal
	if ask.Rate > 0 {
		least = min(least, seconds(float64(ask.Burst)/ask.Rate/2))
	}
	return min(max(wait, least, time.Millisecond), longRefusal)
}
