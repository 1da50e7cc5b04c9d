package hold

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/ginfer/ginfer/internal/attempt"
)

// body is an answer of which the beginning was read.
type body struct {
	io.ReadCloser
	try   *attempt.Try
	judge judge
	buf   *[BufferSize]byte
	start int
	end   int
	err   error // of the read that came last

	filling chan struct{} // closed when fill is done; nil: it is
	late    error         // how fill ended, then
}

// open reads the beginning. With a limit it waits only so long: then the answer passes
// as it is, and the rest of the beginning is read by another goroutine, until it is
// done or the body is closed.
func (b *body) open(limit time.Duration) error {
	b.buf = buffers.Get().(*[BufferSize]byte) //nolint:forcetypeassert // the pool holds nothing else
	if limit <= 0 {
		return b.fill()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { // nobody above this goroutine recovers
			if v := recover(); v != nil {
				b.err = fmt.Errorf("reading the answer panicked: %v\n%s", v, debug.Stack())
				b.late = b.err
			}
		}()
		b.late = b.fill()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return b.late
	case <-timer.C:
		b.filling = done
		return nil
	}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.wait()
	if b.start < b.end {
		n := copy(p, b.buf[b.start:b.end])
		b.start += n
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.ReadCloser.Read(p)
}

// Close implements io.Closer.
func (b *body) Close() error {
	if b.filling != nil { // layers below are not to be closed while they are read
		b.try.Cancel(nil)
		b.wait()
	}
	if b.buf != nil {
		buffers.Put(b.buf)
		b.buf, b.start, b.end, b.err = nil, 0, 0, http.ErrBodyReadAfterClose
	}
	return b.ReadCloser.Close()
}

// wait waits until the beginning was read. What it says then counts, although it is too
// late to ask somebody else.
func (b *body) wait() {
	if b.filling == nil {
		return
	}
	<-b.filling
	b.filling = nil
	if errors.Is(b.late, ErrNoContent) {
		b.try.Fail(b.late)
	}
}
