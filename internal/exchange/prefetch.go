package exchange

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

const (
	// bufferSize bounds, in bytes, what is kept back of a response. One that is silent about
	// its content for so long passes as it is.
	bufferSize = 32 << 10
	// evidenceSize and evidenceTime bound what is read of an error.
	evidenceSize = 64 << 10
	evidenceTime = time.Second
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }} //nolint:gochecknoglobals // a pool

// Prefetch reads the response's body until it has begun to say something, where the limits
// ask for that, and what an error says in any case; then the verdict on the attempt so far
// is worth asking for. What was read stays to be read. A second call does nothing. Whoever
// may replace the attempt calls it.
func (a *Attempt) Prefetch() {
	a.mu.Lock()
	b := a.body
	limit, wanted := a.prefetches()
	if a.open || b == nil || a.ended {
		wanted = false
	}
	a.open = true
	refused := a.status >= http.StatusBadRequest
	a.mu.Unlock()
	if !wanted {
		return
	}
	b.fetched = &prefetched{b: b, enough: a.hasOpened}
	if refused {
		b.fetched.size, b.fetched.enough = evidenceSize, func() bool { return false }
	}
	b.fetched.open(limit)
}

// prefetches reports whether the body is to be read ahead, and for how long. The caller
// holds a.mu.
func (a *Attempt) prefetches() (limit time.Duration, wanted bool) {
	switch {
	case !a.scans:
		return 0, false
	case a.status >= http.StatusBadRequest:
		return evidenceTime, true
	case !a.limits.Prefetch || a.status != http.StatusOK || !a.scanner.Declared():
		return 0, false
	}
	return max(a.limits.Hold, 0), true
}

// hasOpened reports whether enough was read to decide on the attempt.
func (a *Attempt) hasOpened() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended || a.scanner.Opening() != llm.Silent
}

// prefetched is what was read ahead of a body.
type prefetched struct {
	b      *body
	size   int // most bytes; 0: bufferSize
	enough func() bool

	mu      sync.Mutex
	pooled  *[bufferSize]byte
	buf     []byte
	start   int
	end     int
	err     error
	passing bool          // it is read already: no more is to be read ahead
	step    chan struct{} // gets one after each read; nil: nobody reads beside
	done    chan struct{} // closed when nobody does any more
}

// open reads ahead, at most for limit: then the response passes as it is, and a read under
// way ends on its own.
func (f *prefetched) open(limit time.Duration) {
	f.pooled = buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // the pool holds nothing else
	f.buf = f.pooled[:]
	f.size = max(f.size, bufferSize)
	if limit <= 0 {
		for f.advance() {
		}
		return
	}
	f.step, f.done = make(chan struct{}, 1), make(chan struct{})
	go f.readAhead()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-f.done:
		f.step, f.done = nil, nil
	case <-timer.C:
		f.mu.Lock()
		f.passing = true
		f.mu.Unlock()
	}
}

func (f *prefetched) readAhead() {
	defer close(f.done)
	defer func() { // nobody above this goroutine recovers
		if v := recover(); v != nil {
			f.mu.Lock()
			f.err = fmt.Errorf("%w: %v\n%s", ErrPanic, v, debug.Stack())
			f.mu.Unlock()
			f.b.a.finish(func() { f.b.a.err = f.err })
		}
	}()
	for f.advance() {
		select {
		case f.step <- struct{}{}:
		default:
		}
	}
}

// advance reads once, and reports whether to go on.
func (f *prefetched) advance() bool {
	f.mu.Lock()
	if f.end == len(f.buf) && len(f.buf) < f.size {
		f.buf = append(make([]byte, 0, f.size), f.buf...)[:f.size]
	}
	room := f.buf[f.end:]
	f.mu.Unlock()
	if len(room) == 0 {
		return false
	}
	n, err := f.b.pass(room)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end += n
	f.err = err
	return err == nil && !f.passing && !f.enough()
}

// read takes of what was read, waiting for a read under way. Left is false when nothing
// will be.
func (f *prefetched) read(p []byte) (n int, err error, left bool) { //nolint:revive // left is no result of a reader
	for {
		f.mu.Lock()
		if f.start < f.end {
			n = copy(p, f.buf[f.start:f.end])
			f.start += n
		}
		drained, over := f.start == f.end, f.done == nil || isClosed(f.done)
		if over {
			err = f.err
		}
		f.mu.Unlock()
		switch {
		case n > 0 && !(drained && over && err == nil):
			return n, nil, true
		case drained && over && err == nil:
			f.giveBack()
			return n, nil, false
		case over:
			return 0, err, true
		}
		select {
		case <-f.step:
		case <-f.done:
		}
	}
}

func isClosed(ch chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func (f *prefetched) giveBack() {
	if f.pooled != nil {
		buffers.Put(f.pooled)
		f.pooled, f.buf = nil, nil
	}
}

// close ends a read under way: layers below are not to be closed while they are read.
func (f *prefetched) close(cancel context.CancelCauseFunc) {
	if f.done != nil && !isClosed(f.done) {
		cancel(nil)
		<-f.done
	}
	f.mu.Lock()
	f.start, f.end, f.err = 0, 0, http.ErrBodyReadAfterClose
	f.mu.Unlock()
	f.giveBack()
}
