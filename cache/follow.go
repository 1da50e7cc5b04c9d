package cache

import (
	"errors"
	"time"

	"github.com/ginfer/ginfer/cache/internal/flight"
	attempts "github.com/ginfer/ginfer/internal/exchange"
)

// next is what a request does after it followed a flight.
type next uint8

const (
	done next = iota
	lookAgain
	leadNext // the flight failed
	goAlone
)

// errFollowed is the cause of the 503 of a follower.
var errFollowed = errors.New("cache: the request that this one followed failed")

// follower is the side of a flight of a request that does not lead it.
type follower struct {
	*exchange
	flight *flight.Flight[shared]
	reader *flight.Reader // nil: the flight is over, and was not whole
}

// follow responds as the follower of a flight, if it can.
func (x *exchange) follow(f *flight.Flight[shared], r *flight.Reader) next {
	defer r.Leave()
	if x.policy == policy(x.idempotency) {
		if err := x.idempotency.conflict(&x.request, &f.Shared); err != nil {
			x.refuse(err)
			return done
		}
	}
	select {
	case <-f.Ready():
	case <-x.ctx.Done():
		x.g.Abort()
		return done
	}
	fo := &follower{x, f, r}
	switch f.Outcome() {
	case flight.Stored:
		return fo.entry()
	case flight.Live:
		return fo.response()
	case flight.Failed:
		return fo.retry(errFollowed)
	case flight.Alone:
		return goAlone
	case flight.Again, flight.Pending:
	}
	return lookAgain
}

// retry leads the next attempt, if there is one.
func (fo *follower) retry(err error) next {
	if fo.flight.Attempt >= flight.MaxAttempts {
		fo.refuse(unavailable(err))
		return done
	}
	return leadNext
}

// entry responds with the entry that the leader found.
func (fo *follower) entry() next {
	now, s := time.Now(), &fo.flight.Shared
	v, err := fo.judge(s.entry, now)
	if err != nil || !v.use && (!s.stale || !fo.allowsStale(s.entry, now)) {
		return lookAgain
	}
	if s.stale {
		fo.status.Detail = "stale-if-error"
	}
	if !fo.hit(s.entry, now) {
		return goAlone
	}
	return done
}

// response responds with the response of the leader, in the way that fits.
func (fo *follower) response() next {
	if fo.reader == nil {
		fo.refuse(unavailable(errFollowed))
		return done
	}
	switch fo.policy.fits(&fo.request, &fo.flight.Shared, &fo.flight.Head) {
	case flight.Live:
		fo.live()
		return done
	case flight.Stored:
		return fo.converted()
	case flight.Again:
		return lookAgain
	case flight.Alone, flight.Failed, flight.Pending:
	}
	return goAlone
}

// live sends the response from the beginning while it is produced.
func (fo *follower) live() {
	fo.collapse()
	fo.g.Abort()
	head := &fo.flight.Head
	if fo.notModified(head.Status, head.Header) {
		fo.sendNotModified(head.Header, fo.cacheStatus())
		return
	}
	h := fo.w.Header()
	attempts.MergeHeader(h, head.Header, nil)
	filter := fo.usageFilter(head.Header)
	if filter != nil {
		h.Del("Content-Length")
	}
	fo.markServed(false)
	fo.sendHead(head.Status, fo.cacheStatus())
	err := fo.play(fo.flight.Response, fo.reader, filter)
	if errors.Is(err, flight.ErrSlow) {
		fo.notify(fo.ctx, fo.event(Dropped))
	}
	fo.markServed(err == nil)
	fo.finish(fo.flight.Response, err)
}

// converted waits for the end of the response and sends it in another form than the leader
// gets it.
func (fo *follower) converted() next {
	fo.reader.AwaitEnd()
	for {
		p := fo.reader.Next()
		switch {
		case p.Dropped, p.Lost:
			return goAlone
		case p.Ended && p.Err != nil:
			return fo.retry(p.Err)
		case p.Ended:
			return fo.convert()
		}
		select {
		case <-p.Wait:
		case <-fo.ctx.Done():
			fo.g.Abort()
			return done
		}
	}
}

func (fo *follower) convert() next {
	body, _ := fo.flight.Body()
	head, now := &fo.flight.Head, time.Now()
	a, ok := fo.policy.render(&fo.request, &Entry{Status: head.Status, Header: head.Header, Body: body, ResponseTime: now, FreshUntil: now}, now)
	if !ok {
		return goAlone
	}
	fo.collapse()
	fo.serveReply(a)
	return done
}

// collapse sets that the response is another request's.
func (fo *follower) collapse() {
	fo.status.Collapsed = true
	fo.forward(nil)
	e := fo.event(Coalesced)
	e.Status = fo.flight.Head.Status
	fo.notify(fo.ctx, e)
}
