package body

import (
	"sync"
	"sync/atomic"
)

// lease is memory of a pool that holds a body. It returns to the pool when the request has ended and
// nothing that sends the body has it open any more. What never closes it costs no more than memory
// that the garbage collector frees.
type lease struct {
	kept  *[]byte
	class int
	refs  atomic.Int64 // the request, and open readers
}

// leases has pools of buffers in classes: two for each power of two, so that a third of one is unused
// at most.
//
//nolint:gochecknoglobals // as pools are
var leases [2*7 + 1]sync.Pool

// minLease and maxLease bound the sizes of buffers that are leased, in bytes. Smaller ones cost the
// garbage collector little.
const (
	minLease = 16 << 10
	maxLease = minLease << 7
)

// leaseClass returns the smallest class of at least n bytes, and its size: 16, 24, 32, 48, 64 KiB and
// so on.
func leaseClass(n int64) (class int, size int64) {
	for size = minLease; ; size *= 2 {
		switch {
		case n <= size:
			return class, size
		case n <= size+size/2:
			return class + 1, size + size/2
		}
		class += 2
	}
}

// newLease returns memory of at least n bytes, with one reference; nil if n is too large or small.
func newLease(n int64) *lease {
	if n < minLease || n > maxLease {
		return nil
	}
	class, size := leaseClass(n)
	kept, ok := leases[class].Get().(*[]byte)
	if !ok {
		b := make([]byte, size)
		kept = &b
	}
	l := &lease{kept: kept, class: class}
	l.refs.Store(1)
	return l
}

// acquire adds a reference. It reports false if the memory has returned to the pool. It may be
// called on nil.
func (l *lease) acquire() bool {
	if l == nil {
		return true
	}
	for {
		n := l.refs.Load()
		if n == 0 {
			return false
		}
		if l.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release removes a reference. It may be called on nil.
func (l *lease) release() {
	if l != nil && l.refs.Add(-1) == 0 {
		leases[l.class].Put(l.kept)
	}
}

// gone reports whether the memory has returned to the pool. It may be called on nil.
func (l *lease) gone() bool { return l != nil && l.refs.Load() == 0 }
