package cache

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/ginfer/ginfer/apierror"
)

// follow is the request of a follower. It returns what there is to do if it is not
// answered: look again, lead after a failure, or go alone.
func (x *exchange) follow(f *flight, r *reader) outcome {
	defer f.tape.leave(r)
	select {
	case <-f.ready:
	case <-x.client.Done():
		x.g.Abort()
		return live
	}
	switch f.outcome {
	case stored:
		return x.followEntry(f)
	case live:
		if r == nil { // it is over, and was not whole
			x.refuse(unavailable(errFollowed))
			return live
		}
		return x.followAnswer(f, r)
	case failed:
		if f.attempt >= maxAttempts {
			x.refuse(unavailable(errFollowed))
			return live
		}
		return failed
	case pending, again, alone:
	}
	return f.outcome
}

var errFollowed = errors.New("cache: the request that this one followed failed")

// followAnswer answers from what the leader is told, in the way that fits.
func (x *exchange) followAnswer(f *flight, r *reader) outcome {
	how := x.policy.fits(x, f)
	if how == stored {
		return x.followWhole(f, r)
	}
	if how == live {
		x.followLive(f, r)
	}
	return how
}

// followEntry answers from the entry that a flight found.
func (x *exchange) followEntry(f *flight) outcome {
	now := time.Now()
	v, err := x.policy.judge(x, f.entry, now)
	if err != nil || !v.usable() && (!f.stale || !x.mayStandIn(f.entry, now)) {
		return again
	}
	if f.stale {
		x.status.Detail = "stale-if-error"
	}
	if !x.hit(f.entry, now) {
		return alone
	}
	return live
}

// collapse notes that the answer is another request's.
func (x *exchange) collapse(f *flight) {
	x.status.Collapsed = true
	x.forward(nil)
	e := x.event(Coalesced)
	e.Status = f.head.status
	x.tell(x.client, e)
}

// followLive tells the client what the leader is told, from the beginning.
func (x *exchange) followLive(f *flight, r *reader) {
	x.collapse(f)
	x.g.Abort()
	if x.notModified(f.head.status, f.head.header) {
		x.sendNotModified(f.head.header)
		return
	}
	h := x.w.Header()
	for name, values := range f.head.header {
		h[name] = slices.Clip(values)
	}
	filter := x.unusaged(f.head.header)
	if filter != nil {
		h.Del("Content-Length")
	}
	x.sendHead(f.head.status, x.markText())
	err := x.play(f, r, filter)
	x.finish(f, err)
}

// followWhole waits for the end, because the client wants another form than the leader.
func (x *exchange) followWhole(f *flight, r *reader) outcome {
	f.tape.wait(r)
	for {
		p := f.tape.read(r)
		switch {
		case p.dropped, p.lost:
			return alone
		case p.ended && p.err != nil:
			if f.attempt >= maxAttempts {
				x.refuse(unavailable(p.err))
				return live
			}
			return failed
		case p.ended:
			return x.replayWhole(f)
		}
		select {
		case <-p.wait:
		case <-x.client.Done():
			x.g.Abort()
			return live
		}
	}
}

func (x *exchange) replayWhole(f *flight) outcome {
	body, _ := f.tape.whole()
	now := time.Now()
	a, ok := x.policy.render(x, &Entry{Status: f.head.status, Header: f.head.header, Body: body, ResponseTime: now, FreshUntil: now}, now)
	if !ok {
		return alone
	}
	x.collapse(f)
	x.send(a)
	return live
}

// forward notes why the request goes on.
func (x *exchange) forward(stale *Entry) {
	switch {
	case x.refetch:
		x.status.Forward = "request"
	case stale != nil:
		x.status.Forward = "stale"
	case len(x.vary) > 0:
		x.status.Forward = "vary-miss"
	case x.req.Method == http.MethodPost:
		x.status.Forward = "miss"
	default:
		x.status.Forward = "uri-miss"
	}
}

// alone goes to the upstream as if there were no cache.
func (x *exchange) alone() {
	x.forward(nil)
	x.status.Detail = "alone"
	x.pass()
}

// failed tells of a fault of the cache's own, unless the client just left.
func (x *exchange) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	e := x.event(Failed)
	e.Err = err
	x.tell(ctx, e)
}

// refusal is an answer of the cache's own.
func refusal(status int, code, message string) error {
	return &apierror.Error{Status: status, Code: code, Message: message}
}
