package exchange

import (
	"context"
	"net/http"
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
	// closeTime is how long a read that was called off may take.
	closeTime = time.Second
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }} //nolint:gochecknoglobals // a pool

// Prefetch reads the response's body until it has begun to say something, where the limits
// ask for that, and what an error says in any case; then the verdict on the attempt so far
// is worth asking for. What was read stays to be read. A second call does nothing, and
// neither does one after the body was read. Whoever may replace the attempt calls it.
func (a *Attempt) Prefetch() {
	a.mu.Lock()
	b := a.body
	if b == nil || a.open || a.ended || a.bytes > 0 {
		a.mu.Unlock()
		return
	}
	a.open = true
	f := &prefetched{b: b, size: bufferSize, enough: a.hasOpened, step: make(chan struct{}, 1), done: make(chan struct{})}
	limit, wanted := a.prefetches()
	if a.status >= http.StatusBadRequest {
		f.size, f.enough = evidenceSize, func() bool { return false }
	}
	a.mu.Unlock()
	if wanted {
		f.open(limit)
	}
}

// prefetches reports whether the body is to be read ahead, and for how long; 0: as long as
// it takes. The caller holds a.mu.
func (a *Attempt) prefetches() (limit time.Duration, wanted bool) {
	switch {
	case !a.scans:
		return 0, false
	case a.status >= http.StatusBadRequest:
		return evidenceTime, true
	}
	return max(a.limits.Hold, 0), a.limits.Prefetch && a.status == http.StatusOK
}

// hasOpened reports whether enough was read to decide on the attempt.
func (a *Attempt) hasOpened() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended || !a.content.IsZero() || a.scanner.Opening() != llm.Silent
}

// prefetched is what was read ahead of a body.
type prefetched struct {
	b      *body
	size   int // most bytes
	enough func() bool
	step   chan struct{} // gets one after each read
	done   chan struct{} // closed when no more is read ahead

	mu       sync.Mutex
	pooled   *[bufferSize]byte
	buf      []byte
	start    int
	end      int
	err      error
	panicked any  // what the read ahead panicked with
	passing  bool // it is read already: no more is to be read ahead
}

// open reads ahead, at most for limit: then the response passes as it is, and a read under
// way ends on its own.
func (f *prefetched) open(limit time.Duration) {
	f.pooled = buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // the pool holds nothing else
	f.buf = f.pooled[:]
	f.b.fetched.Store(f)
	if limit <= 0 {
		f.readAhead()
		return
	}
	go func() {
		defer func() { // nobody above this goroutine recovers: it goes on in the reader's
			f.mu.Lock()
			f.panicked = recover()
			f.mu.Unlock()
			close(f.done)
		}()
		f.readAll()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-f.done:
		f.goOn()
	case <-timer.C:
		f.pass()
	}
}

func (f *prefetched) readAhead() {
	defer close(f.done)
	f.readAll()
}

func (f *prefetched) readAll() {
	for f.advance() {
		select {
		case f.step <- struct{}{}:
		default:
		}
	}
}

// pass has the read under way be the last one.
func (f *prefetched) pass() {
	f.mu.Lock()
	f.passing = true
	f.mu.Unlock()
}

// goOn panics as the goroutine did that read ahead.
func (f *prefetched) goOn() {
	f.mu.Lock()
	v := f.panicked
	f.mu.Unlock()
	if v != nil {
		panic(v)
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
	enough := f.enough()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end += n
	f.err = err
	return err == nil && !f.passing && !enough
}

// read takes of what was read, waiting for a read under way. It returns 0 and no error when
// nothing is left.
func (f *prefetched) read(p []byte) (int, error) {
	for {
		over := f.isOver() // before looking: nothing comes after it
		f.mu.Lock()
		n := copy(p, f.buf[f.start:f.end])
		f.start += n
		drained, err := f.start == f.end, f.err
		if drained && over {
			f.giveBack()
		}
		f.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case over:
			f.goOn()
			return 0, err
		}
		select {
		case <-f.step:
		case <-f.done:
		}
	}
}

func (f *prefetched) isOver() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// giveBack gives the buffer back. The caller holds mu.
func (f *prefetched) giveBack() {
	if f.pooled != nil {
		buffers.Put(f.pooled)
	}
	f.pooled, f.buf, f.start, f.end = nil, nil, 0, 0
}

// close ends a read under way: layers below are not to be closed while they are read, but
// for one that does not heed its context.
func (f *prefetched) close(cancel context.CancelCauseFunc) {
	f.pass()
	if !f.isOver() {
		cancel(ErrClosed)
		timer := time.NewTimer(closeTime)
		defer timer.Stop()
		select {
		case <-f.done:
		case <-timer.C:
			return // it still has the buffer
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.panicked = http.ErrBodyReadAfterClose, nil
	f.giveBack()
}
