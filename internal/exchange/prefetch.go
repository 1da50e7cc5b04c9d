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
	f := &b.ahead
	f.b, f.wake.L, f.size = b, &f.mu, bufferSize
	limit, wanted := a.prefetches()
	if a.status >= http.StatusBadRequest {
		f.size, f.all = evidenceSize, true
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
	b    *body
	size int  // most bytes
	all  bool // there is no more than that to wait for

	mu       sync.Mutex
	wake     sync.Cond // at each change of what follows
	pooled   *[bufferSize]byte
	buf      []byte
	start    int
	end      int
	err      error
	panicked any  // what the read ahead panicked with
	passing  bool // it is read already: no more is to be read ahead
	over     bool // nothing is read ahead any more
	late     bool // Close has waited long enough
}

// open reads ahead, at most for limit: then the response passes as it is, and a read under
// way ends on its own.
func (f *prefetched) open(limit time.Duration) {
	f.pooled = buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // the pool holds nothing else
	f.buf = f.pooled[:]
	f.b.fetched.Store(f)
	if limit <= 0 {
		defer f.change(&f.over)
		f.readAll()
		return
	}
	go func() {
		defer func() { // nobody above this goroutine recovers: it goes on in the reader's
			f.mu.Lock()
			f.panicked = recover()
			f.mu.Unlock()
			f.change(&f.over)
		}()
		f.readAll()
	}()
	timer := time.AfterFunc(limit, func() { f.change(&f.passing) })
	defer timer.Stop()
	f.mu.Lock()
	for !f.over && !f.passing {
		f.wake.Wait()
	}
	panicked := f.panicked
	f.mu.Unlock()
	if panicked != nil {
		panic(panicked)
	}
}

// change sets a flag and wakes who waits for it.
func (f *prefetched) change(flag *bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*flag = true
	f.wake.Broadcast()
}

func (f *prefetched) readAll() {
	for f.advance() {
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
	enough := !f.all && f.b.a.hasOpened()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end += n
	f.err = err
	f.wake.Broadcast()
	return err == nil && !f.passing && !enough
}

// read takes of what was read, waiting for a read under way. It returns 0 and no error when
// nothing is left.
func (f *prefetched) read(p []byte) (int, error) {
	n, panicked, err := f.take(p)
	if panicked != nil {
		panic(panicked)
	}
	return n, err
}

func (f *prefetched) take(p []byte) (n int, panicked any, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.start == f.end && !f.over {
		f.wake.Wait()
	}
	n = copy(p, f.buf[f.start:f.end])
	f.start += n
	if f.over && f.start == f.end {
		f.giveBack()
	}
	if n > 0 {
		return n, nil, nil
	}
	return 0, f.panicked, f.err
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
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passing = true
	if !f.over {
		f.mu.Unlock()
		cancel(ErrClosed) // it may call what locks mu
		timer := time.AfterFunc(closeTime, func() { f.change(&f.late) })
		defer timer.Stop()
		f.mu.Lock()
	}
	for !f.over && !f.late {
		f.wake.Wait()
	}
	if !f.over {
		return // it still has the buffer
	}
	f.err, f.panicked = http.ErrBodyReadAfterClose, nil
	f.giveBack()
}
