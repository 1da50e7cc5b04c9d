package exchange

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// writer is what a connection can do besides, that was switched to another protocol.
type writer interface{ io.Writer }

// body is the response's, of one attempt: it reads, scans and ends once.
type body struct {
	a   *Attempt
	res *http.Response
	src io.ReadCloser

	fetched *prefetched // what was read ahead; nil: nothing is left of it
	filter  *filtering  // nil: events pass as they come
	pauses  gaps
	once    sync.Once
}

func newBody(a *Attempt, res *http.Response) *body {
	return &body{a: a, res: res, src: res.Body}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.fetched != nil {
		n, err, left := b.fetched.read(p)
		if !left {
			b.fetched = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return b.pass(p)
}

// pass reads what may go on.
func (b *body) pass(p []byte) (int, error) {
	b.a.mu.Lock()
	f := b.a.filter
	b.a.mu.Unlock()
	if f == nil || !b.a.scans || !b.a.scanner.Stream() {
		return b.pull(p, nil)
	}
	if b.filter == nil {
		b.filter = &filtering{decide: f, pull: b.pull, scanner: &b.a.scanner}
	}
	return b.filter.read(p)
}

// pull reads from upstream, within the limits, and looks at what came. At the end of each
// event it calls atEvent with where that is in what was read.
func (b *body) pull(p []byte, atEvent func(end int, e llm.Event)) (int, error) {
	a := b.a
	asked := time.Now()
	if !a.limits.isZero() {
		a.dog.arm(LimitIdle, asked, b.limit())
	}
	n, err := b.src.Read(p)
	if !a.limits.isZero() {
		a.dog.disarm()
	}
	if n > 0 {
		now := time.Now()
		if a.limits.Stall > 0 && a.scanner.Stream() {
			b.pauses.add(now.Sub(asked))
		}
		a.saw(p[:n], now, atEvent)
	}
	switch {
	case err == io.EOF: // one that is wrapped is no clean end
		a.finish(func() { a.eof = true })
	case err != nil:
		a.finish(func() { a.err = err })
	}
	return n, err
}

// limit is how long the response may pause. A stream that works on a tool's arguments, or
// whose part is complete, is silent for reasons of its own.
func (b *body) limit() time.Duration {
	l := &b.a.limits
	if l.Stall <= 0 || b.a.x.Tools || b.a.scanner.Phase() == llm.PhaseWork {
		return l.Idle
	}
	return b.pauses.limit(l.Idle, l.Stall)
}

// saw looks at what was read.
func (a *Attempt) saw(p []byte, now time.Time, atEvent func(end int, e llm.Event)) {
	a.mu.Lock()
	a.bytes += int64(len(p))
	if a.ended || !a.scans {
		first := !a.scans && a.status < http.StatusBadRequest
		a.mu.Unlock()
		if first {
			a.began(now)
		}
		return
	}
	if atEvent == nil {
		_, _ = a.scanner.Write(p) // never fails
	} else {
		a.scanEvents(p, atEvent)
	}
	begun := a.content.IsZero() && a.status < http.StatusBadRequest && (a.scanner.Opening() == llm.Begun || !a.scanner.Declared())
	n := a.scanner.Events()
	var run []func(int64, time.Time)
	if n > a.events {
		a.events = n
		run = a.hooks.event
	}
	a.mu.Unlock()
	if begun {
		a.began(now)
	}
	if run != nil {
		each(run, func(f func(int64, time.Time)) { f(n, now) })
		a.x.event(a, n)
	}
}

func (a *Attempt) scanEvents(p []byte, atEvent func(end int, e llm.Event)) {
	for at := 0; at < len(p); {
		n, ended := a.scanner.WriteEvent(p[at:])
		at += n
		if ended {
			atEvent(at, a.scanner.LastEvent())
		}
	}
}

func (x *Exchange) event(a *Attempt, n int64) {
	x.mu.Lock()
	list := x.onEvent
	x.mu.Unlock()
	each(list, func(f func(*Attempt, int64)) { f(a, n) })
}

// Close implements io.Closer.
func (b *body) Close() error {
	var err error
	b.once.Do(func() {
		if b.fetched != nil {
			b.fetched.close(b.a.stop)
		}
		b.a.finish(func() { b.a.closed = true })
		err = b.src.Close()
		b.a.stop(nil)
	})
	return err
}

// duplex is the body of an upgraded connection.
type duplex struct{ *body }

// Write implements io.Writer.
func (d duplex) Write(p []byte) (int, error) {
	return d.src.(io.Writer).Write(p) //nolint:forcetypeassert // only such a body is one
}

// CloseWrite passes the end of one direction on, where that is possible.
func (d duplex) CloseWrite() error {
	if c, ok := d.src.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (l *Limits) isZero() bool {
	return l.Idle <= 0 && l.Deadline.IsZero() && l.FirstContent <= 0 && l.FirstByte <= 0
}
