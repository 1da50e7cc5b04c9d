package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/cache/internal/cachekey"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/upgrade"
)

const (
	// maxKey bounds the length of an Idempotency-Key.
	maxKey = 255
	// claimTTL is how long a claim is valid without renewal: its replica may have crashed.
	claimTTL = 30 * time.Second
	// claimPoll is how often a request looks whether another replica has stored its
	// response.
	claimPoll = 250 * time.Millisecond
)

// idempotencyPolicy is the policy for requests with an Idempotency-Key.
type idempotencyPolicy struct{ cfg *Config }

func (*idempotencyPolicy) String() string { return "idempotency" }

// planIdempotency plans a request with a key. [notMine] is the reason if it has none.
func (x *exchange) planIdempotency(b *cachekey.Builder) (reason string, err error) {
	req := x.incoming
	values := req.Header["Idempotency-Key"]
	if len(values) == 0 {
		if x.cfg.Idempotency.Required {
			return "", refusal(http.StatusBadRequest, "idempotency_key_missing", "The request needs an Idempotency-Key.")
		}
		return notMine, nil
	}
	text, ok := idempotencyKey(values)
	if !ok {
		return "", refusal(http.StatusBadRequest, "idempotency_key_invalid", "The Idempotency-Key is not one text of up to 255 visible characters.")
	}
	if upgrade.Requested(req) {
		return "upgrade", nil
	}
	x.policy, x.api = x.idempotency, llm.Of(req.Method, req.URL.Path)
	body, reason, err := x.ownBody(b)
	if err != nil || reason != "" {
		return reason, err
	}
	x.findVersion(x.g, &x.request)
	b.Reset()
	b.Add("request")
	b.Add(req.Method)
	b.AddAddress(req, x.keyHeaders)
	b.Add(req.Header.Get("Content-Type"))
	b.AddBytes(body)
	mark := b.Sum()
	x.mark = mark.String()
	b.Reset()
	b.Add("idempotency")
	b.AddBytes(x.scope[:])
	b.Add(text)
	x.setKey(b.Sum())
	return "", nil
}

// idempotencyKey parses the header: a string of structured fields, or, as most clients
// send it, bare text.
func idempotencyKey(values []string) (text string, ok bool) {
	if len(values) != 1 {
		return "", false
	}
	text = strings.TrimSpace(values[0])
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return "", false
		}
	}
	return text, text != "" && len(text) <= maxKey
}

// conflict returns the error of a request that must not follow the flight of its key.
func (p *idempotencyPolicy) conflict(r *request, of *shared) error {
	switch {
	case of.mark != r.mark:
		return errReused()
	case p.cfg.Idempotency.Conflict:
		return errInUse()
	}
	return nil
}

// errReused is the error if the key belongs to another request.
func errReused() error {
	return refusal(http.StatusUnprocessableEntity, "idempotency_key_reused", "The Idempotency-Key was used for another request.")
}

// errInUse is the error if the request of the key is under way.
func errInUse() error {
	return &apierror.Error{Status: http.StatusConflict, Code: "idempotency_key_in_use", Message: "A request with this Idempotency-Key is under way.", RetryAfter: time.Second}
}

func (*idempotencyPolicy) judge(r *request, e *Entry, now time.Time) (verdict, error) {
	if e.Mark != r.mark {
		return verdict{}, errReused()
	}
	return verdict{use: now.Before(e.FreshUntil)}, nil
}

func (*idempotencyPolicy) render(_ *request, e *Entry, now time.Time) (reply, bool) {
	return e.reply(now), true
}

func (*idempotencyPolicy) fits(*request, *shared, *flight.Head) flight.Outcome { return flight.Live }

func (*idempotencyPolicy) outgoing(r *request, _ *Entry) *http.Request {
	req := r.incoming.Clone(r.incoming.Context())
	req.Header.Del("Accept-Encoding") // an encoded response cannot be parsed
	return req
}

func (*idempotencyPolicy) admit(_ *request, res *response) admission {
	switch {
	case isFailure(res.Status):
		return admission{share: flight.Failed, reason: "status"}
	case res.Status >= http.StatusMultipleChoices:
		return admission{share: flight.Live, reason: "status"}
	}
	return admission{share: flight.Live}
}

func (p *idempotencyPolicy) conclude(r *request, res *response) (e *Entry, reason string) {
	if (isStream(res.Header) || isJSON(res.Header.Get("Content-Type"))) && !res.hasEnded(r) {
		return nil, "incomplete"
	}
	now := time.Now()
	e = newEntry(r, res, now)
	e.Mark = r.mark
	e.FreshUntil = now.Add(p.cfg.Idempotency.TTL)
	e.ExpiresAt = e.FreshUntil
	return e, ""
}

// claim is a key that this replica has, or wants. While it has the key, no other replica
// sends the request.
type claim struct {
	l      *lead
	claims Claims
	owner  string
	stop   context.CancelFunc // nil: it was not taken
	idle   sync.WaitGroup
}

// claim takes the key of an idempotent request, or waits for the response of the replica
// that has it. Done: the client has a response. While the store is down it lets the
// request continue (open), since nothing that is recorded is known either. But one that
// waits already keeps waiting for as long as the other replica may have the key.
func (l *lead) claim() (taken *claim, done bool) {
	claims, ok := l.cfg.Store.(Claims)
	if !ok || l.policy != policy(l.idempotency) {
		return nil, false
	}
	c := &claim{l: l, claims: claims, owner: rand.Text()}
	defer func() {
		if taken == nil { // also when a store or an error handler panics
			c.release()
		}
	}()
	ctx := l.flight.Context()
	var others time.Time // when another replica had it
	for {
		mine, open := c.take()
		switch {
		case open && time.Since(others) >= claimTTL:
			return c, false
		case !open && !mine:
			others = time.Now()
		}
		// The other replica may have stored its response after we looked.
		if _, done, _ := l.lookup(); done {
			return nil, true
		}
		switch {
		case ctx.Err() != nil: // all clients have disconnected
			l.g.Abort()
			return nil, true
		case mine:
			return c, false
		case l.cfg.Idempotency.Conflict:
			l.refuse(errInUse())
			return nil, true
		}
		select {
		case <-time.After(claimPoll):
		case <-ctx.Done():
			l.g.Abort()
			return nil, true
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
