package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/apierror"
)

const (
	// claimFor is for how long a replica has a key that it says nothing of any more: it
	// may have crashed.
	claimFor = 30 * time.Second
	// claimAgain is how often a request looks whether another replica has its answer.
	claimAgain = 250 * time.Millisecond
)

// Claims is what a [Store] may be, too, that replicas share: it knows which of them makes
// the answer of a key. Then a request with an Idempotency-Key that is under way at one
// replica is not begun by another.
type Claims interface {
	// Claim gives the key to owner for ttl, and reports whether owner has it: nobody else
	// had. Who has it gets it anew. An error wraps [ErrUnavailable].
	Claim(ctx context.Context, key, owner string, ttl time.Duration) (bool, error)
	// Release takes it from owner; from anybody else it takes nothing. What owner set under
	// the key is there for others by then.
	Release(ctx context.Context, key, owner string) error
}

// claim is a key that this replica has, or wants.
type claim struct {
	x      *exchange
	claims Claims
	owner  string
	stop   context.CancelFunc // nil: it was not taken
	idle   sync.WaitGroup
}

// claim takes the key for a flight, or waits for the answer of the replica that has it.
// Done: the request is answered. A store that does not answer lets it go on (open), as
// what is recorded is not known either; but who waits already waits on, for as long as the
// other replica may have the key.
func (x *exchange) claim(f *flight) (taken *claim, done bool) {
	claims, ok := x.cfg.Store.(Claims)
	if !ok || x.policy != policy(x.idempotency) {
		return nil, false
	}
	c := &claim{x: x, claims: claims, owner: rand.Text()}
	defer func() {
		if taken == nil { // also when a store or a handler of errors panics
			c.release()
		}
	}()
	var others time.Time // when another replica had it
	for {
		mine, open := c.ask(f)
		switch {
		case open && time.Since(others) >= claimFor:
			return c, false
		case !open && !mine:
			others = time.Now()
		}
		// The one that had it may have stored its answer after we looked.
		if _, done, _ := x.leaderLookup(f); done {
			return nil, true
		}
		switch {
		case f.ctx.Err() != nil: // nobody waits any more
			x.g.Abort()
			return nil, true
		case mine:
			return c, false
		case x.cfg.Idempotency.Conflict:
			x.refuse(errInUse())
			return nil, true
		}
		select {
		case <-time.After(claimAgain):
		case <-f.ctx.Done():
			x.g.Abort()
			return nil, true
		}
	}
}

// ask asks for the key. Open: the store does not answer one who still waits.
func (c *claim) ask(f *flight) (mine, open bool) {
	mine, err := c.claims.Claim(f.ctx, c.x.key, c.owner, claimFor)
	if mine || err != nil { // after an error nobody knows
		c.begin()
	}
	if err == nil || f.ctx.Err() != nil {
		return mine, false
	}
	if !errors.Is(err, errFarDown) { // that was told
		c.x.failed(c.x.client, err)
	}
	return false, true
}

// begin keeps the claim until it is released.
func (c *claim) begin() {
	if c.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.x.client))
	c.stop = cancel
	c.idle.Go(func() {
		defer func() { _ = recover() }() // not on a request's goroutine: it would end the process
		tick := time.NewTicker(claimFor / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_, _ = c.claims.Claim(ctx, c.x.key, c.owner, claimFor) // there is a next time
			case <-ctx.Done():
				return
			}
		}
	})
}

// release gives the key back, if it may have been taken.
func (c *claim) release() {
	if c == nil || c.stop == nil {
		return
	}
	c.stop()
	c.idle.Wait()
	ctx := context.WithoutCancel(c.x.client)
	if err := c.claims.Release(ctx, c.x.key, c.owner); err != nil {
		c.x.failed(ctx, err)
	}
}

// errInUse: the key belongs to a request that is under way.
func errInUse() error {
	return &apierror.Error{Status: http.StatusConflict, Code: "idempotency_key_in_use", Message: "A request with this Idempotency-Key is under way.", RetryAfter: time.Second}
}

// Claim implements Claims by L2. Without it, or when it is no Claims, the key is
// everybody's.
func (t *Tiered) Claim(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	claims, ok := t.cfg.L2.(Claims)
	if !ok {
		return true, nil
	}
	if t.isDown(ctx) {
		return false, errFarDown
	}
	limited, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	mine, err := claims.Claim(limited, key, owner, ttl)
	if err != nil {
		t.fell(ctx, err)
	}
	if mine {
		t.mu.Lock()
		t.claimed[key] = owner
		t.mu.Unlock()
	}
	return mine, err
}

// Release implements Claims. It waits until the entry of the key is written.
func (t *Tiered) Release(ctx context.Context, key, owner string) error {
	claims, ok := t.cfg.L2.(Claims)
	if !ok {
		return nil
	}
	t.mu.Lock()
	f := t.fills[key]
	if t.claimed[key] == owner {
		delete(t.claimed, key)
	}
	t.mu.Unlock()
	if f != nil {
		<-f.done // its time is bounded
	}
	if t.isDown(ctx) {
		return nil // it ends by itself
	}
	limited, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	err := claims.Release(limited, key, owner)
	if err != nil {
		t.fell(ctx, err)
	}
	return err
}

var _ Claims = (*Tiered)(nil)
