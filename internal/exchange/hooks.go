package exchange

import (
	"io"
	"time"
)

// hooks are the callbacks that layers have registered on an attempt.
type hooks struct {
	content list[func(at time.Time)]
	event   list[func(n int64, at time.Time)]
	end     list[func(*End)]
}

// list is a slice with room for its first elements, which need no allocation.
type list[T any] struct {
	all  []T
	room [3]T
}

func (l *list[T]) add(v T) {
	if l.all == nil {
		l.all = l.room[:0]
	}
	l.all = append(l.all, v)
}

// each calls do for every element, even if one panics. The panic then propagates.
func each[F any](list []F, do func(F)) {
	i := 0
	defer func() {
		if i < len(list) {
			each(list[i+1:], do)
		}
	}()
	for ; i < len(list); i++ {
		do(list[i])
	}
}

// OnContent registers f for the attempt's first content: the first event with content of a model's
// stream, the end of JSON, the first byte of another body that is no white space, the handshake of
// an upgraded connection. An error has no content.
func (r *record) OnContent(f func(at time.Time)) {
	r.mu.Lock()
	at := r.content
	if at.IsZero() && !r.ended {
		r.hooks.content.add(f)
	}
	r.mu.Unlock()
	if !at.IsZero() {
		f(at)
	}
}

// OnEvent registers f for events with content. It is called after each read that had some, with
// their number so far.
func (r *record) OnEvent(f func(n int64, at time.Time)) {
	r.mu.Lock()
	n, at := r.events, r.content
	if !r.ended {
		r.hooks.event.add(f)
	}
	r.mu.Unlock()
	if n > 0 {
		f(n, at)
	}
}

// OnEnd registers f for the attempt's end.
func (r *record) OnEnd(f func(*End)) {
	r.mu.Lock()
	ended := r.ended
	if !ended {
		r.hooks.end.add(f)
	}
	r.mu.Unlock()
	if ended {
		f(&r.end)
	}
}

// began records the first content.
func (a *Attempt) began(at time.Time) {
	a.mu.Lock()
	if !a.content.IsZero() || a.ended {
		a.mu.Unlock()
		return
	}
	a.content = at
	a.dog.hasContent()
	list := a.hooks.content.all
	a.hooks.content.all = nil
	a.mu.Unlock()
	each(list, func(f func(time.Time)) { f(at) })
}

// event calls the exchange's hooks.
func (x *Exchange) event(a *Attempt, n int64) {
	x.mu.Lock()
	list := x.onEvent.all
	x.mu.Unlock()
	each(list, func(f func(*Attempt, int64)) { f(a, n) })
}

// ended calls the exchange's hooks.
func (x *Exchange) ended(a *Attempt) {
	x.mu.Lock()
	list := x.onEnd.all
	x.mu.Unlock()
	each(list, func(f func(*Attempt, *End)) { f(a, &a.end) })
}

// OnRead calls before and after around each read of the response's body from upstream: the time
// between them is the upstream's, not the client's. It is called directly after Do, before the
// body is read. An upgraded connection has no such reads.
func (a *Attempt) OnRead(before, after func(at time.Time)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.body == nil || a.ended {
		return
	}
	if _, duplex := a.body.src.(io.Writer); duplex {
		return
	}
	a.body.src = &timedReader{a.body.src, before, after}
}

// timedReader calls hooks around each read.
type timedReader struct {
	io.ReadCloser
	before, after func(at time.Time)
}

// Read implements io.Reader. It calls after even if the body panics.
func (r *timedReader) Read(p []byte) (int, error) {
	r.before(time.Now())
	defer func() { r.after(time.Now()) }()
	return r.ReadCloser.Read(p)
}
