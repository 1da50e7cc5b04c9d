package ratelimit

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// leaseLife is the validity of leased tokens, in multiples of Config.Lease. Tokens left
	// after it are lost, so that the limit is never exceeded.
	leaseLife = 5
	shortLife = 100 * time.Millisecond
	// A refusal by the store is valid for at least shortRefusal, but not for more than half
	// the time in which the bucket fills, and for at most longRefusal, as the store may be
	// cleared or the limit raised.
	shortRefusal = 25 * time.Millisecond
	longRefusal  = time.Second
	// demandWindow is the averaging time of the demand.
	demandWindow = time.Second
)

// leases is a store in front of a shared store, so that few requests wait for it: a replica
// leases the tokens that it is likely to need soon, and pays from these. Leased tokens are
// taken from the shared bucket, so that all replicas together never exceed the limit. It is
// safe for concurrent use.
//
// The idea is that of Doorman (github.com/youtube/doorman), with counts instead of rates.
type leases struct {
	store    Store
	ahead    time.Duration
	mu       sync.Mutex
	accounts *simplelru.LRU[id, *account]
}

// account is this replica's leased tokens of a bucket.
type account struct {
	balance int64
	until   time.Time // end of the balance's validity
	left    float64   // in the bucket, when the store was last called

	demand  float64 // in demandWindow
	counted time.Time

	refusedAt, refusedUntil time.Time
	wait                    time.Duration // as the store returned it at refusedAt

	loan *loan // in flight
}

// loan is a call of the store for some accounts. Other requests may wait for it.
type loan struct {
	charges []Charge
	done    chan struct{}
}

func newLeases(store Store, ahead time.Duration) *leases {
	l := &leases{store: store, ahead: ahead}
	l.accounts, _ = simplelru.NewLRU[id, *account](defaultKeys, nil) // fails only for a size below 1
	return l
}

// Take implements Store.
func (l *leases) Take(ctx context.Context, charges []Charge) error {
	for first := true; ; first = false {
		mine, theirs := l.pay(charges, first)
		switch {
		case mine != nil:
			// Other requests wait for it, so a client disconnect does not cancel it. The
			// store has its own timeout.
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

// pay takes all charges from the accounts, or refuses them while a refusal of the store is
// valid. If accounts are short it does neither, and returns a loan to make for them, or one
// of another request to wait for.
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

// Settle implements Store, for tokens that were taken and not used: they stay in the account.
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

// count adds to the demand, which decays with time.
func (a *account) count(now time.Time, cost int64) {
	a.demand = a.demand*math.Exp(-float64(now.Sub(a.counted))/float64(demandWindow)) + float64(cost)
	a.counted = now
}

// look fills in a charge from the account, and reports whether the account can pay it, or
// knows that the store would refuse.
func (a *account) look(c *Charge, now time.Time) bool {
	if now.After(a.until) {
		a.balance = 0
	}
	c.Granted, c.Wait, c.Left = 0, 0, a.left+float64(a.balance)
	if a.balance >= c.Cost {
		return true
	}
	if now.Before(a.refusedUntil) {
		c.Wait = max(a.wait-now.Sub(a.refusedAt), a.refusedUntil.Sub(now)) // the store is not called before
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
		need := Charge{Bucket: c.Bucket, Cost: c.Cost}
		if c.Rate > 0 { // lost tokens of a budget do not come back
			need.UpTo = int64(a.demand * float64(l.ahead) / float64(demandWindow))
		}
		out.charges = append(out.charges, need)
	}
	return out
}

// borrow executes a loan.
func (l *leases) borrow(ctx context.Context, out *loan) (err error) {
	err = ErrUnavailable // if the store panics
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := range out.charges {
			l.account(&out.charges[i].Bucket).close(out, &out.charges[i], err, l.ahead)
		}
		close(out.done)
	}()
	return l.store.Take(ctx, out.charges)
}

// close records the result of a loan.
func (a *account) close(out *loan, c *Charge, err error, ahead time.Duration) {
	if a.loan == out {
		a.loan = nil
	}
	if err != nil {
		return
	}
	now := time.Now()
	a.left = c.Left
	switch {
	case c.Granted > 0:
		a.balance += c.Granted
		a.until = now.Add(max(leaseLife*ahead, shortLife))
		if need := c.need(); c.Left < need { // the next request would be refused
			a.refuse(c, now, c.until(now, c.Left, need))
		}
	case c.Wait > 0:
		a.refuse(c, now, c.Wait)
	}
}

func (a *account) refuse(c *Charge, now time.Time, wait time.Duration) {
	a.refusedAt, a.wait = now, wait
	a.refusedUntil = now.Add(believe(c, wait))
}

// believe returns how long a refusal is valid without another call of the store.
func believe(c *Charge, wait time.Duration) time.Duration {
	least := shortRefusal
	if c.Rate > 0 {
		least = min(least, seconds(float64(c.Burst)/c.Rate/2))
	}
	return min(max(wait, least, time.Millisecond), longRefusal)
}
