package exchange

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	// bufferSize bounds what is kept back of a response, in bytes. A response without content
	// for that long passes as it is.
	bufferSize = 32 << 10
	// evidenceSize and evidenceTime bound what is read of an error.
	evidenceSize = 64 << 10
	evidenceTime = time.Second
	// closeTime is how long a canceled read may take.
	closeTime = time.Second
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }} //nolint:gochecknoglobals // a pool

// Prefetch reads the response's body until its content begins, if the limits request that, and
// the body of an error in any case, so that Verdict is meaningful. The body still yields every
// byte. It is called by a layer that may replace the attempt. Once the body was read it does
// nothing.
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

// prefetches reports whether the body is read ahead, and for how long; 0: without limit. The
// caller holds a.mu.
func (a *Attempt) prefetches() (limit time.Duration, wanted bool) {
	switch {
	case !a.scans:
		return 0, false
	case a.status >= http.StatusBadRequest:
		return evidenceTime, true
	}
	return max(a.limits.Hold, 0), a.limits.Prefetch && a.status == http.StatusOK
}

// prefetched is the part of a body that was read ahead.
type prefetched struct {
	b    *body
	size int  // the largest number of bytes
	all  bool // read until the end or size

	mu       sync.Mutex
	wake     sync.Cond // signals each change of the fields below
	pooled   *[bufferSize]byte
	buf      []byte
	start    int
	end      int
	err      error
	panicked any  // the panic of the read ahead
	passing  bool // the body is read already: stop reading ahead
	over     bool // reading ahead has ended
	late     bool // Close has waited long enough
}

// open reads ahead for at most limit. Then the response passes as it is, and a read in progress
// ends on its own.
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
		defer func() { // nothing above this goroutine recovers: the reader panics instead
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

// change sets a flag and wakes the waiters.
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

// advance reads once and reports whether to continue.
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

// read returns bytes that were read ahead, and waits for a read in progress. It returns 0 and
// no error when nothing is left.
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

// giveBack returns the buffer to the pool. The caller holds mu.
func (f *prefetched) giveBack() {
	if f.pooled != nil {
		buffers.Put(f.pooled)
	}
	f.pooled, f.buf, f.start, f.end = nil, nil, 0, 0
}

// close ends a read in progress: layers below must not be closed while they are read. It does not
// wait for a layer that ignores its context.
func (f *prefetched) close(cancel context.CancelCauseFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passing = true
	if !f.over {
		f.mu.Unlock()
		cancel(ErrClosed) // it may call code that locks mu
		timer := time.AfterFunc(closeTime, func() { f.change(&f.late) })
		defer timer.Stop()
		f.mu.Lock()
	}
	for !f.over && !f.late {
		f.wake.Wait()
	}
	if !f.over {
		return // the read still uses the buffer
	}
	f.err, f.panicked = http.ErrBodyReadAfterClose, nil
	f.giveBack()
}
