package cache

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	attempts "github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/reach"
)

// holdBytes is how much of a response that is no stream is held back until it is whole.
const holdBytes = 256 << 10

// lead is the side of a flight of the request that leads it, or of a refresh: it looks in
// the store, has the handlers produce the response, and stores it.
type lead struct {
	*exchange
	flight *flight.Flight[shared]
	reader *flight.Reader // the client's; nil in a refresh
	stale  *Entry         // may replace an error, or be freshened
	rec    *flight.Recorder

	entry  *Entry // from the head, by the policy
	reason string // why the response will not be stored
	end    atomic.Pointer[attempts.End]
}

// lead responds as the leader of a flight. It reports false if there is another key to
// look at.
func (x *exchange) lead(f *flight.Flight[shared], r *flight.Reader) bool {
	l := &lead{exchange: x, flight: f, reader: r}
	stop := context.AfterFunc(x.ctx, r.Leave)
	defer stop()
	defer f.Cancel()
	defer func() {
		x.flights.Remove(f)
		f.Resolve(flight.Failed, nil) // unless there is another outcome
	}()
	stale, done, moved := l.lookup()
	if done || moved {
		return done
	}
	claimed, done := l.claim()
	if done {
		return true
	}
	defer claimed.release()
	l.produce(stale)
	return true
}

// lookup looks in the store on behalf of the flight. It returns a stale entry that the
// upstream may confirm, or that the client has a response, or that the key has changed.
func (l *lead) lookup() (stale *Entry, done, moved bool) {
	if l.refetch && l.policy != policy(l.http) {
		return nil, false, false
	}
	now, ctx := time.Now(), l.flight.Context()
	e := l.load(ctx)
	if e != nil && e.isNote() {
		if l.toVariant(e) {
			l.flights.Remove(l.flight)
			l.flight.Resolve(flight.Again, nil)
			return nil, false, true
		}
		e = nil
	}
	if e == nil {
		e = l.similar(ctx)
	}
	if e == nil {
		return nil, false, false
	}
	v, err := l.judge(e, now)
	switch {
	case err != nil:
		l.resolveStored(e, false)
		l.refuse(err)
		return nil, true, false
	case v.validate:
		return e, false, false
	case !v.use:
		return nil, false, false
	}
	a, ok := l.policy.render(&l.request, e, now)
	if !ok {
		return nil, false, false
	}
	l.resolveStored(e, false)
	l.flights.Remove(l.flight)
	l.notifyHit(e, now)
	l.serveReply(a)
	if v.refresh {
		l.refresh(e)
	}
	return nil, true, false
}

func (l *lead) resolveStored(e *Entry, stale bool) {
	l.flight.Resolve(flight.Stored, func() { l.flight.Shared.entry, l.flight.Shared.stale = e, stale })
}

// produce has the handlers produce the response.
func (l *lead) produce(stale *Entry) {
	l.stale, l.start, l.status.Detail = stale, time.Now(), ""
	l.forward(stale)
	l.notify(l.ctx, l.event(Missed))
	l.rec = l.newRecorder()
	before := len(l.g.Errors)
	l.runChain()
	err := l.rec.Close(false)
	l.respond(err, len(l.g.Errors) > before)
	l.invalidate(l.rec.Own().Status)
}

func (l *lead) newRecorder() *flight.Recorder {
	return flight.NewRecorder(flight.RecorderConfig{
		Response: l.flight.Response, Reader: l.reader, Client: l.w, Conn: reach.Of(l.ctx, l.w), Leader: l,
		Hold: int(min(holdBytes, l.cfg.MaxEntry, l.cfg.MaxLag/2)),
	})
}

// runChain calls the handlers with a context that does not end when the client
// disconnects.
func (l *lead) runChain() {
	panicked := true
	l.g.Writer, l.g.Request = l.rec, l.policy.outgoing(&l.request, l.stale).WithContext(reach.Keep(l.upstream(l.flight.Context()), l.rec))
	defer func() {
		if panicked { // it continues to the recovery, with its stack
			_ = l.rec.Close(true)
			l.flights.Remove(l.flight)
			l.resolveFailed()
			_, _ = l.rec.Wait()
		}
		l.g.Writer, l.g.Request = l.w, l.incoming
	}()
	l.g.Next()
	panicked = false
}

// upstream returns the context of the layers below. They leave in a stream the usage that
// the gateway requests: it is stored, and removed for each client that did not request it.
// What their last attempt read of the response need not be read again.
func (l *lead) upstream(ctx context.Context) context.Context {
	if l.stream && l.api.HasStreamOptions() {
		ctx = attempts.KeepUsage(ctx)
	}
	of := attempts.From(ctx)
	if of == nil {
		of = new(attempts.Exchange)
		ctx = attempts.With(ctx, of)
	}
	of.OnEnd(func(_ *attempts.Attempt, e *attempts.End) {
		if e.Good() {
			l.end.Store(e)
		}
	})
	return ctx
}

// resolveFailed gives the followers the stale entry, if there is one that they may use.
func (l *lead) resolveFailed() {
	if l.stale != nil && l.allowsStale(l.stale, time.Now()) {
		l.resolveStored(l.stale, true)
		return
	}
	l.flight.Resolve(flight.Failed, nil)
}

// Admit implements flight.Leader.
func (l *lead) Admit(own http.Header, head *flight.Head) flight.Admission {
	if l.replace(head) {
		return flight.Admission{Replaced: true}
	}
	last := l.flight.Attempt >= flight.MaxAttempts
	a := l.policy.admit(&l.request, &response{Head: head, lastAttempt: last})
	l.entry, l.reason = a.entry, a.reason
	if a.varies {
		l.split(a.vary)
	}
	switch {
	case a.share == flight.Failed && last:
		a.share = flight.Live // there is none better
	case a.share != flight.Live:
		l.flights.Remove(l.flight)
	}
	private := a.share != flight.Live && a.reason != ""
	return flight.Admission{Share: a.share, Discard: private, Stream: private || isStream(own)}
}

// replace finds an entry that is better than the response: a stale one that a 304
// freshens, or that may replace an error.
func (l *lead) replace(head *flight.Head) bool {
	if l.stale == nil {
		return false
	}
	now := time.Now()
	switch {
	case head.Status == http.StatusNotModified && l.policy == policy(l.http):
		e := l.http.freshen(&l.request, l.stale, head.Header, now)
		l.keep(e)
		l.resolveStored(e, false)
		return true
	case isFailure(head.Status) && l.allowsStale(l.stale, now):
		l.resolveStored(l.stale, true)
		return true
	}
	return false
}

// split stores a note that there are several responses to the request, and makes this one
// a variant. The headers that responses vary by only become more: a client cannot undo
// the variants of others by having the upstream name another header.
func (l *lead) split(vary []string) {
	names := rfc9111.MergeVary(l.vary, vary)
	if l.variant == "" || !slices.Equal(names, l.vary) {
		l.variant = rand.Text()
	}
	l.vary = names
	s := &l.flight.Shared
	s.vary, s.variant = names, l.variant
	s.key, l.status.Key = l.variantKey(&l.request, names, l.variant)
	l.note(l.entry.ExpiresAt)
	l.flights.Alias(l.flight, s.key)
}

// note stores, in the place of an entry, which headers the responses vary by.
func (l *lead) note(until time.Time) {
	primary := l.base
	stored, _ := l.generations.key(&primary, &l.request)
	now := time.Now()
	if l.l1 != nil {
		if old := l.l1(stored, now); old != nil && old.Mark == l.variant && !old.ExpiresAt.Before(until) {
			return
		}
	}
	ctx := context.WithoutCancel(l.ctx)
	e := &Entry{RequestTime: now, ResponseTime: now, FreshUntil: until, ExpiresAt: until, Vary: l.vary, Mark: l.variant}
	if err := l.cfg.Store.Set(ctx, stored, e); err != nil {
		l.failed(ctx, err)
	}
}

// Send implements flight.Leader.
func (l *lead) Send(own flight.Head) func(*flight.Reader) error {
	mark := l.cacheStatus() // the handlers' goroutine changes the status
	return func(r *flight.Reader) error {
		if l.notModified(own.Status, own.Header) {
			l.sendNotModified(own.Header, mark)
			return nil
		}
		filter := l.usageFilter(own.Header)
		if filter != nil {
			own.Header = own.Header.Clone() // the handlers' goroutine reads it
			own.Header.Del("Content-Length")
		}
		l.sendOwnHead(own, mark)
		err := l.play(l.flight.Response, r, filter)
		if errors.Is(err, flight.ErrSlow) {
			l.notify(l.ctx, l.event(Dropped))
		}
		return err
	}
}

// respond stores what was recorded and sends it to the leader's client, unless it was sent
// already. Err is why it is not whole; faults reports that handlers added errors.
func (l *lead) respond(err error, faults bool) {
	if l.rec.Replaced() {
		l.respondReplaced()
		return
	}
	l.conclude(err, faults)
	if sent, err := l.rec.Wait(); sent {
		l.finish(l.flight.Response, err)
		return
	}
	if l.ctx.Err() != nil {
		l.g.Abort()
		return
	}
	own := l.rec.Own()
	if l.notModified(own.Status, own.Header) {
		l.g.Abort()
		l.sendNotModified(own.Header, l.cacheStatus())
		return
	}
	body, _ := l.flight.Body()
	if l.usageFilter(own.Header) != nil {
		body = llm.WithoutUsage(body)
		own.Header.Del("Content-Length")
	}
	l.sendOwnHead(own, l.cacheStatus())
	if len(body) > 0 {
		_, _ = l.w.Write(body)
	}
	maps.Copy(l.w.Header(), l.flight.Trailer)
	if err != nil {
		apierror.Cut(l.g, nil)
	}
}

// respondReplaced sends the entry that replaces the response.
func (l *lead) respondReplaced() {
	now, s := time.Now(), &l.flight.Shared
	l.status.ForwardStatus = l.rec.Status()
	if s.stale {
		l.status.Detail = "stale-if-error"
	} else {
		l.status.Stored = true
	}
	l.status.TTL = floorSeconds(s.entry.FreshUntil.Sub(now))
	if l.ctx.Err() != nil {
		l.g.Abort()
		return
	}
	if a, ok := l.policy.render(&l.request, s.entry, now); ok {
		_ = l.send(a) // a client that disconnected needs nothing more
		return
	}
	l.finish(l.flight.Response, flight.ErrCut)
}

// conclude stores a whole response, or notifies why not.
func (l *lead) conclude(err error, faults bool) {
	reason := l.reason
	var e *Entry
	body, whole := l.flight.Body()
	switch {
	case reason != "":
	case err != nil:
		reason = "incomplete"
	case faults:
		reason = "error"
	case l.flight.Abandoned():
		reason = "abandoned"
	case !whole || int64(len(body)) > l.cfg.MaxEntry:
		reason = "too-long"
	default:
		body = compact(body)
		e, reason = l.policy.conclude(&l.request, &response{Head: &l.flight.Head, entry: l.entry, body: body, summary: l.summary(body)})
	}
	if e != nil {
		l.status.Stored, l.status.TTL = true, floorSeconds(time.Until(e.FreshUntil))
		l.keep(e)
		return
	}
	event := l.event(NotStored)
	event.Reason, event.Status = reason, l.rec.Own().Status
	l.notify(l.ctx, event)
	if err == nil && !faults && !l.flight.Abandoned() && !isFailure(event.Status) {
		l.llm.unstored.Add(l.key, time.Now().Add(unsharedFor))
	}
}

// summary is what the attempt read of the response, if its response is the recorded one.
func (l *lead) summary(body []byte) *llm.Summary {
	e, head := l.end.Load(), &l.flight.Head
	if e == nil || !e.Readable || e.API != l.api || e.Status != head.Status || e.Bytes != int64(len(body)) || e.Summary.Stream != isStream(head.Header) {
		return nil
	}
	if !e.Summary.Stream && !json.Valid(body) {
		return nil
	}
	return &e.Summary
}

// keep stores an entry.
func (l *lead) keep(e *Entry) {
	stored := l.key
	if l.flight.Shared.key != "" {
		stored = l.flight.Shared.key
	}
	ctx := context.WithoutCancel(l.ctx)
	if err := l.cfg.Store.Set(ctx, stored, e); err != nil {
		l.failed(ctx, err)
		return
	}
	event := l.event(Stored)
	event.Status, event.Bytes, event.FetchDuration, event.TTL = e.Status, e.size(), e.FetchDuration, time.Until(e.FreshUntil)
	l.notify(l.ctx, event)
	l.addSimilar(ctx, stored)
}
