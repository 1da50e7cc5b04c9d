package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

const (
	// claimTTL is how long a claim is valid without renewal: its replica may have crashed.
	claimTTL = 30 * time.Second
	// claimPoll is how often a request looks whether another replica has stored its
	// response, firstPoll after how long it looks for the first time.
	claimPoll, firstPoll = 250 * time.Millisecond, 25 * time.Millisecond
)

// claimer is a policy of which only one replica at a time sends the requests of a key.
type claimer interface {
	// claims returns the terms for a request. It reports false if it needs no key.
	claims(r *request) (claimTerms, bool)
}

// claimTerms are how a request waits for the replica that has its key.
type claimTerms struct {
	wait     time.Duration // at most
	outage   time.Duration // how long after another replica was seen to have the key, while the store is down
	conflict bool          // not at all: it is refused
}

// claim is a key that this replica has, or wants. While it has the key, no other replica
// sends the request.
type claim struct {
	l      *lead
	claims Claims
	owner  string
	terms  claimTerms
	stop   context.CancelFunc // nil: it was not taken
	idle   sync.WaitGroup
}

// claim takes the key of a request that only one replica is to send, or waits for the
// response of the replica that has it. Done: the client has a response. While the store is
// down it lets the request continue (open), since nothing that is recorded is known either.
func (l *lead) claim() (taken *claim, done bool) {
	claims, ok := l.cfg.Store.(Claims)
	p, wants := l.policy.(claimer)
	if !ok || !wants {
		return nil, false
	}
	terms, wanted := p.claims(&l.request)
	if !wanted {
		return nil, false
	}
	c := &claim{l: l, claims: claims, owner: rand.Text(), terms: terms}
	defer func() {
		if taken == nil { // also when a store or an error handler panics
			c.release()
		}
	}()
	return c.await()
}

// await claims the key until it is taken, or the request has a response, or has waited for
// long enough: then it continues without the key.
func (c *claim) await() (taken *claim, done bool) {
	l, ctx, begun := c.l, c.l.flight.Context(), time.Now()
	var others time.Time // when another replica had it
	for pause := firstPoll; ; pause = min(2*pause, claimPoll) {
		mine, open := c.take()
		switch {
		case open && time.Since(others) >= c.terms.outage:
			return c, false
		case !open && !mine:
			others = time.Now()
		}
		// The other replica may have stored its response after we looked.
		if _, done, _ := l.lookup(); done {
			return nil, true
		}
		left := c.terms.wait - time.Since(begun)
		switch {
		case ctx.Err() != nil: // all clients have disconnected
			l.g.Abort()
			return nil, true
		case mine:
			return c, false
		case c.terms.conflict:
			l.refuse(errInUse())
			return nil, true
		case left <= 0:
			return nil, false
		}
		select {
		case <-time.After(min(pause, left)):
		case <-ctx.Done():
		}
	}
}

// take claims the key. Open: the store is down.
func (c *claim) take() (mine, open bool) {
	ctx := c.l.flight.Context()
	mine, err := c.claims.Claim(ctx, c.l.key, c.owner, claimTTL)
	if mine || err != nil { // after an error it may be ours
		c.keep()
	}
	if err == nil || ctx.Err() != nil {
		return mine, false
	}
	if !errors.Is(err, errL2Down) { // which has its own event
		c.l.failed(c.l.ctx, err)
	}
	return false, true
}

// keep renews the claim until it is released.
func (c *claim) keep() {
	if c.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.l.ctx))
	c.stop = cancel
	c.idle.Go(func() {
		defer func() { _ = recover() }() // not a request's goroutine: it would end the process
		tick := time.NewTicker(claimTTL / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_, _ = c.claims.Claim(ctx, c.l.key, c.owner, claimTTL) // the next tick repeats it
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
	ctx := context.WithoutCancel(c.l.ctx)
	if err := c.claims.Release(ctx, c.l.key, c.owner); err != nil {
		c.l.failed(ctx, err)
	}
}
