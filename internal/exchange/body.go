package exchange

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// body is the response body of one attempt. It is read, scanned and ended once. Close may be
// called concurrently with Read.
type body struct {
	a      *Attempt
	res    *http.Response
	src    io.ReadCloser
	length int64 // the announced length
	timed  bool  // there are limits
	stream bool  // events are scanned
	sse    bool  // server-sent events are scanned
	grpc   bool

	ahead   prefetched
	fetched atomic.Pointer[prefetched] // what was read ahead; nil: nothing is left of it
	filter  *filtering                 // nil: events pass as they come
	pauses  *gaps                      // of a stream with pauses limited by its pace
	once    sync.Once
	closed  atomic.Bool
}

// take binds b to an attempt and its response.
func (b *body) take(a *Attempt, res *http.Response) {
	l, contentType := &a.limits, res.Header.Get("Content-Type")
	b.a, b.res, b.src, b.length = a, res, res.Body, res.ContentLength
	b.timed = l.Idle > 0 || l.Stall > 0 || l.FirstContent > 0 || l.FirstByte > 0 || !l.Deadline.IsZero()
	b.stream = a.scans && a.scanner.Stream()
	b.sse = a.scans && llm.IsEventStream(contentType) && !llm.Encoded(res.Header)
	b.grpc = llm.IsGRPC(contentType)
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.closed.Load():
		return 0, http.ErrBodyReadAfterClose
	case len(p) == 0:
		return 0, nil
	}
	if f := b.fetched.Load(); f != nil {
		if n, err := f.read(p); n > 0 || err != nil {
			return n, err
		}
		b.fetched.CompareAndSwap(f, nil)
	}
	return b.pass(p)
}

// pass reads what the filter lets through.
func (b *body) pass(p []byte) (int, error) {
	if !b.sse {
		return b.pull(p, nil)
	}
	if b.filter == nil {
		b.a.mu.Lock()
		decide := b.a.filter
		b.a.mu.Unlock()
		if decide == nil {
			return b.pull(p, nil)
		}
		b.filter = &filtering{decide: decide, b: b}
	}
	return b.filter.read(p)
}

// pull reads from the upstream within the limits and scans what it read. A filter receives
// each event that ended.
func (b *body) pull(p []byte, f *filtering) (int, error) {
	a := b.a
	began := time.Now()
	if b.timed {
		a.dog.arm(LimitIdle, began, b.limit())
	}
	n, err := b.read(p)
	now := time.Now()
	if b.timed {
		a.dog.disarm(now)
	}
	if n > 0 {
		if a.limits.Stall > 0 && b.stream {
			if b.pauses == nil {
				b.pauses = new(gaps)
			}
			b.pauses.add(now.Sub(began))
		}
		a.saw(p[:n], now, f)
	}
	switch {
	case err == io.EOF: //nolint:errorlint // a wrapped EOF is no clean end
		a.finish(func() { a.eof = true })
	case err != nil:
		a.finish(func() { a.err = err })
	}
	return n, err
}

// read reads from the source. A panic ends the attempt and propagates.
func (b *body) read(p []byte) (int, error) {
	returned := false
	defer func() {
		if !returned {
			b.a.finish(func() { b.a.panicked = true })
		}
	}()
	n, err := b.src.Read(p)
	returned = true
	return n, err
}

// limit returns how long the response may pause. A stream that writes a tool's arguments, or
// has completed a part, may be silent for longer.
func (b *body) limit() time.Duration {
	l := &b.a.limits
	if l.Opening > 0 && b.stream && !b.a.hasOpened() {
		return shorter(l.Opening, l.Idle)
	}
	if l.Stall <= 0 || b.pauses == nil || b.a.x.Tools || b.a.works() {
		return l.Idle
	}
	return b.pauses.limit(l.Idle, l.Stall)
}

// shorter returns the shorter limit; 0 means no limit.
func shorter(a, b time.Duration) time.Duration {
	if b > 0 {
		return min(a, b)
	}
	return a
}

// saw records and scans what was read.
func (a *Attempt) saw(p []byte, now time.Time, f *filtering) {
	a.mu.Lock()
	a.bytes += int64(len(p))
	a.blank = a.blank && len(bytes.TrimLeft(p, " \t\r\n")) == 0
	switch {
	case !a.scans:
	case f != nil:
		a.scanEvents(p, f)
	default:
		_, _ = a.scanner.Write(p) // never fails
	}
	begun := a.content.IsZero() && a.status < http.StatusBadRequest && a.hasContent()
	n := a.scanner.Events()
	more := n > a.events && !a.ended
	a.events = max(n, a.events)
	list := a.hooks.event.all
	a.mu.Unlock()
	if begun {
		a.began(now)
	}
	if more {
		defer a.x.event(a, n) // also when a hook panics
		each(list, func(f func(int64, time.Time)) { f(n, now) })
	}
}

// Close implements io.Closer.
func (b *body) Close() error {
	var err error
	b.once.Do(func() {
		b.closed.Store(true)
		defer b.a.release()
		defer func() { err = b.src.Close() }() // also when a hook panics
		if f := b.fetched.Load(); f != nil {
			f.close(b.a.stop)
		}
		b.a.finish(func() {
			b.a.eof = b.length > 0 && b.a.bytes == b.length
			b.a.closed = !b.a.eof
		})
	})
	return err
}

// face returns the body that the caller receives.
func (b *body) face() io.ReadCloser {
	if _, ok := b.src.(io.Writer); ok && b.res.StatusCode == http.StatusSwitchingProtocols {
		return duplex{b}
	}
	return b
}

// duplex is the body of an upgraded connection.
type duplex struct{ *body }

// Write implements io.Writer.
func (d duplex) Write(p []byte) (int, error) {
	return d.src.(io.Writer).Write(p) //nolint:forcetypeassert // only such a body is one
}

type closeWriter interface{ CloseWrite() error }

// CloseWrite closes the write direction if the connection supports it.
func (d duplex) CloseWrite() error {
	if c, ok := d.src.(closeWriter); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// rejoin restores an upgraded connection's Write and CloseWrite after a layer hid them by
// wrapping the body.
func (b *body) rejoin(res *http.Response) {
	d, ok := b.face().(duplex)
	if !ok {
		return
	}
	w, writes := res.Body.(io.Writer)
	if _, ok := res.Body.(closeWriter); ok && writes {
		return
	}
	if !writes {
		w = d
	}
	res.Body = rejoined{res.Body, w, d}
}

type rejoined struct {
	io.ReadCloser
	io.Writer
	closeWriter
}
