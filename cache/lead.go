package cache

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/llm"
)

// lead is the request of a flight's leader. It reports whether it is answered; else there
// is something else to look at.
func (x *exchange) lead(f *flight, r *reader) bool {
	stop := context.AfterFunc(x.client, func() { f.tape.leave(r) })
	defer stop()
	defer f.cancel(nil)
	defer func() {
		x.flights.remove(f)
		f.resolve(failed, nil) // if nothing else became of it
	}()
	stale, done, moved := x.leaderLookup(f)
	if done || moved {
		return done
	}
	claimed, done := x.claim(f)
	if done {
		return true
	}
	defer claimed.release()
	x.start, x.status.Detail = time.Now(), ""
	x.forward(stale)
	x.tell(x.client, x.event(Missed))
	rec := newRecorder(x, f, r, stale)
	before := len(x.g.Errors)
	x.runChain(f, rec)
	err := rec.seal(false)
	x.answerLeader(f, rec, err, len(x.g.Errors) > before)
	if x.policy == policy(x.idempotency) {
		x.invalidate(rec.ownStatus)
	}
	return true
}

// runChain has the handlers answer into a recorder, under a context that the client
// does not end.
func (x *exchange) runChain(f *flight, rec *recorder) {
	panicked := true
	x.g.Writer, x.g.Request = rec, x.policy.outgoing(x, rec.stale).WithContext(x.inside(f.ctx, f))
	defer func() {
		if panicked { // it goes on to whoever recovers, with its stack
			_ = rec.seal(true)
			x.flights.remove(f)
			x.standIn(f, rec.stale, failed)
			rec.wait()
		}
		x.g.Writer, x.g.Request = x.w, x.req
	}()
	x.g.Next()
	panicked = false
}

// standIn answers those that follow with a stale entry, if there is one.
func (x *exchange) standIn(f *flight, stale *Entry, otherwise outcome) {
	if stale != nil && x.mayStandIn(stale, time.Now()) {
		f.resolve(stored, func() { f.entry, f.stale = stale, true })
		return
	}
	f.resolve(otherwise, nil)
}

// answerLeader stores what was recorded and answers the leader's client, as far as that
// is not done.
func (x *exchange) answerLeader(f *flight, rec *recorder, err error, faults bool) {
	if rec.swallowed {
		x.swallowed(f, rec)
		return
	}
	x.conclude(f, rec, err, faults)
	if rec.pump != nil {
		rec.wait()
		x.finish(f, rec.pump.err)
		return
	}
	if x.client.Err() != nil {
		x.g.Abort()
		return
	}
	body, _ := f.tape.whole()
	if x.notModified(rec.ownStatus, rec.own) {
		x.sendNotModified(rec.own)
		return
	}
	if x.unusaged(rec.own) != nil {
		body = llm.WithoutUsage(body)
		rec.own.Del("Content-Length")
	}
	x.ownHead(rec.own, rec.ownStatus, x.markText())
	if len(body) > 0 {
		_, _ = x.w.Write(body)
	}
	maps.Copy(x.w.Header(), f.trailer)
	if err != nil {
		apierror.Cut(x.g, nil)
	}
}

// swallowed answers the leader's client from the entry that took the answer's place.
func (x *exchange) swallowed(f *flight, rec *recorder) {
	now := time.Now()
	x.status.ForwardStatus = rec.status
	if f.stale {
		x.status.Detail = "stale-if-error"
	} else {
		x.status.Stored = true
	}
	x.status.TTL = floorSeconds(f.entry.FreshUntil.Sub(now))
	if x.client.Err() != nil {
		x.g.Abort()
		return
	}
	if a, ok := x.policy.render(x, f.entry, now); ok {
		x.send(a)
		return
	}
	x.finish(f, errCut)
}

// conclude stores a whole answer, and tells what became of it.
func (x *exchange) conclude(f *flight, rec *recorder, err error, faults bool) {
	reason := rec.reason
	var e *Entry
	body, whole := f.tape.whole()
	switch {
	case reason != "":
	case err != nil:
		reason = "incomplete"
	case faults:
		reason = "error"
	case errors.Is(context.Cause(f.ctx), errAbandoned):
		reason = "abandoned"
	case !whole:
		reason = "too-long"
	case int64(len(body)) > x.cfg.MaxEntry:
		reason = "too-long"
	default:
		e, reason = x.policy.conclude(x, f, snug(body))
	}
	if e != nil {
		x.status.Stored, x.status.TTL = true, floorSeconds(time.Until(e.FreshUntil))
		x.keep(f, e)
		return
	}
	event := x.event(NotStored)
	event.Reason, event.Status = reason, rec.ownStatus
	x.tell(x.client, event)
}

// snug is a body without the room that it had to grow, if that is much.
func snug(body []byte) []byte {
	if cap(body)-len(body) > len(body)/8 {
		return append(make([]byte, 0, len(body)), body...)
	}
	return slices.Clip(body)
}

// keep stores an entry under the flight's key.
func (x *exchange) keep(f *flight, e *Entry) {
	key := x.key
	if f.name != "" {
		key = f.name
	}
	ctx := context.WithoutCancel(x.client)
	if err := x.cfg.Store.Set(ctx, key, e); err != nil {
		x.failed(ctx, err)
		return
	}
	event := x.event(Stored)
	event.Status, event.Bytes, event.FetchDuration, event.TTL = e.Status, e.size(), e.FetchDuration, time.Until(e.FreshUntil)
	x.tell(x.client, event)
	x.addSimilar(ctx, key)
}

// mayStandIn reports whether a stale entry is better than an error.
func (x *exchange) mayStandIn(e *Entry, now time.Time) bool {
	return !e.MustRevalidate && !e.Validate && now.Before(e.FreshUntil.Add(e.StaleIfError)) && !x.control.NoCache
}

// isFailure: a status that another try, or a stale entry, may be better than.
func isFailure(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, apierror.StatusClientClosed:
		return true
	}
	return status >= http.StatusInternalServerError
}

// wait waits until the leader's client has been told all. A panic there is the leader's.
func (rec *recorder) wait() {
	if rec.pump == nil {
		return
	}
	<-rec.pump.done
	if v := rec.pump.value; v != nil {
		rec.pump.value = nil
		panic(v)
	}
}
