package cache

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/apierror"
)

// exchange is one request and its response on their way through the cache.
type exchange struct {
	*Cache
	request
	client
	policy policy
	known  bool // purges of other replicas are known, so that the store may be used
}

// fromL1 responds with an entry of this process, if there is one.
func (x *exchange) fromL1() bool {
	if x.l1 == nil {
		return false
	}
	now := time.Now()
	e := x.l1(x.key, now)
	if e != nil && e.isNote() && x.toVariant(e) {
		e = x.l1(x.key, now)
	}
	if e == nil || e.isNote() {
		return false
	}
	v, err := x.judge(e, now)
	if err != nil {
		x.refuse(err)
		return true
	}
	if !v.use || !x.hit(e, now) {
		return false
	}
	if v.refresh {
		x.refresh(e)
	}
	return true
}

// serveStored responds with an entry or not at all: the client wants nothing else, or only
// the head or a part, which it gets from the upstream.
func (x *exchange) serveStored() {
	now := time.Now()
	e := x.load(x.ctx)
	if e != nil && e.isNote() && x.toVariant(e) {
		e = x.load(x.ctx)
	}
	if e != nil && !e.isNote() {
		if v, err := x.judge(e, now); err == nil && v.use && x.hit(e, now) {
			return
		}
	}
	x.status.Detail = ""
	if x.control.OnlyIfCached {
		x.forward(nil)
		x.refuse(refusal(http.StatusGatewayTimeout, "only_if_cached", "There is no response in the cache."))
		return
	}
	if x.ranged {
		x.bypass("bypass", "range")
		return
	}
	before := x.w.Header().Clone()
	x.bypass("method", "head")
	if e != nil && !e.isNote() {
		x.updateByHead(e, before)
	}
}

// load gets the entry from the store. An error is a miss.
func (x *exchange) load(ctx context.Context) *Entry {
	if !x.known {
		if x.l1 == nil {
			return nil
		}
		return x.l1(x.key, time.Now())
	}
	e, err := x.cfg.Store.Get(ctx, x.key)
	if err == nil {
		return e
	}
	if !errors.Is(err, ErrNotFound) {
		x.failed(ctx, err)
	}
	return nil
}

// judge has the policy decide how an entry is used.
func (x *exchange) judge(e *Entry, now time.Time) (verdict, error) {
	v, err := x.policy.judge(&x.request, e, now)
	if v.detail != "" {
		x.status.Detail = v.detail
	}
	return v, err
}

// hit responds with an entry, if it can be rendered in the form that the client wants.
func (x *exchange) hit(e *Entry, now time.Time) bool {
	a, ok := x.policy.render(&x.request, e, now)
	if ok {
		x.notifyHit(e, now)
		x.serveReply(a)
	}
	return ok
}

func (x *exchange) notifyHit(e *Entry, now time.Time) {
	x.status.Hit, x.status.TTL = true, floorSeconds(e.FreshUntil.Sub(now))
	if x.cfg.OnEvent == nil {
		return
	}
	event := x.event(Hit)
	event.Status, event.TTL = e.Status, x.status.TTL
	x.notify(x.ctx, event)
}

// floorSeconds rounds down, also below zero: what expires within a second has 0 left.
func floorSeconds(d time.Duration) time.Duration {
	whole := d.Truncate(time.Second)
	if whole > d {
		whole -= time.Second
	}
	return whole
}

// event returns an event about this request.
func (x *exchange) event(kind Kind) Event {
	e := Event{Kind: kind, Key: x.status.Key, Model: x.model, Version: x.version}
	if x.policy != nil {
		e.Policy = x.policy.String()
	}
	return e
}

// failed notifies of an internal fault, unless the client has just disconnected.
func (x *exchange) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	e := x.event(Failed)
	e.Err = err
	x.notify(ctx, e)
}

// forward sets why the request is forwarded.
func (x *exchange) forward(stale *Entry) {
	switch {
	case x.refetch:
		x.status.Forward = "request"
	case stale != nil:
		x.status.Forward = "stale"
	case len(x.vary) > 0:
		x.status.Forward = "vary-miss"
	case x.incoming.Method == http.MethodPost:
		x.status.Forward = "miss"
	default:
		x.status.Forward = "uri-miss"
	}
}

// bypass forwards the request as if there were no cache.
func (x *exchange) bypass(forward, reason string) {
	x.status.Forward, x.status.Detail = forward, reason
	e := x.event(Bypassed)
	e.Reason = reason
	x.notify(x.ctx, e)
	x.pass()
}

// alone forwards the request because no flight can serve it.
func (x *exchange) alone() {
	x.forward(nil)
	x.status.Detail = "alone"
	x.pass()
}

// pass calls the handlers with a writer that adds Cache-Status.
func (x *exchange) pass() {
	s := &stamp{ResponseWriter: x.w, client: &x.client}
	x.g.Writer = s
	defer func() {
		if x.g.Writer == s {
			x.g.Writer = x.w
		}
	}()
	x.g.Next()
	s.mark()
	x.invalidate(x.w.Status())
}

// refusal is a response of the cache itself.
func refusal(status int, code, message string) error {
	return &apierror.Error{Status: status, Code: code, Message: message}
}
