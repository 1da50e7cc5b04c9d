package body

import (
	"errors"
	"io"
	"sync"
)

// Buffers for reading come in classes, each four times the one before. They are private to
// [readUpTo], which copies its result, so they can be reused. The result can't: net/http may
// still be writing a body after the response has come.
const (
	firstClass = 64 << 10
	growth     = 4
	classes    = 4 // the last one is 4 MiB; larger ones are not kept
)

//nolint:gochecknoglobals // as pools are
var pools [classes]sync.Pool

func classSize(class int) int64 { return firstClass << (2 * class) }

// budget counts memory.
type budget interface {
	take(n int64) bool
	give(n int64)
}

// buffer grows while a body is read into it.
type buffer struct {
	b      []byte
	kept   *[]byte // b is from a pool
	leases bool    // the result may be leased
	lease  *lease  // b is leased
	class  int
	budget budget
}

// readUpTo reads at most limit bytes; ended reports that there are no more. Memory grows in
// steps, to at most four times what has been read: the announced length only chooses the
// steps. Reading continues beyond that length: only at the body's end does net/http watch for
// a client disconnect, and a middleware that decodes bodies may leave the length as it was.
// After an error it returns what was read. With leases, the result may be leased memory.
func readUpTo(r io.Reader, length, limit int64, m budget, leases bool) (b []byte, l *lease, ended bool, err error) {
	f := &buffer{budget: m, leases: leases}
	first := f.pooled
	if length >= 0 && length < min(firstClass, limit) { // the usual case
		first = func(int) bool { return f.exact(length + 1) }
	}
	if !first(0) {
		return nil, nil, false, ErrBudget
	}
	for !ended && int64(len(f.b)) < limit {
		if len(f.b) == cap(f.b) && !f.grow(length, limit) {
			err = ErrBudget
			break
		}
		var n int
		n, err = r.Read(f.b[len(f.b):min(int64(cap(f.b)), limit)])
		f.b = f.b[:len(f.b)+n]
		if errors.Is(err, io.EOF) {
			ended, err = true, nil
		}
		if err != nil {
			break
		}
	}
	return f.done(), f.lease, ended, err
}

// grow makes room: exactly the announced length once a quarter of it has been read.
func (f *buffer) grow(length, limit int64) bool {
	have := int64(len(f.b))
	if last := min(length+1, limit); length >= have && last <= growth*have {
		return f.exact(last)
	}
	for classSize(f.class) <= have && f.class < classes {
		f.class++
	}
	if f.class < classes {
		return f.pooled(f.class)
	}
	return f.exact(min(2*have, max(limit, have+1)))
}

func (f *buffer) exact(size int64) bool {
	var l *lease
	if f.leases {
		l = newLease(size)
	}
	if l != nil {
		size = int64(len(*l.kept))
	}
	if !f.budget.take(size) {
		l.release()
		return false
	}
	if l != nil {
		f.move((*l.kept)[:0], nil)
		f.lease = l
		return true
	}
	f.move(make([]byte, 0, size), nil)
	return true
}

func (f *buffer) pooled(class int) bool {
	if !f.budget.take(classSize(class)) {
		return false
	}
	kept, ok := pools[class].Get().(*[]byte)
	if !ok {
		b := make([]byte, classSize(class))
		kept = &b
	}
	f.class = class
	f.move((*kept)[:0], kept)
	return true
}

// move continues in another buffer.
func (f *buffer) move(to []byte, kept *[]byte) {
	to = append(to, f.b...)
	f.free()
	f.b, f.kept, f.lease = to, kept, nil
}

func (f *buffer) free() {
	f.budget.give(int64(cap(f.b)))
	f.lease.release()
	if f.kept != nil {
		for class := range classes {
			if classSize(class) == int64(len(*f.kept)) {
				pools[class].Put(f.kept)
			}
		}
	}
}

// done returns what was read, in memory of its own or leased.
func (f *buffer) done() []byte {
	if f.kept == nil {
		return f.b
	}
	out := append(make([]byte, 0, len(f.b)), f.b...)
	f.budget.give(-int64(cap(out))) // less than what is freed
	f.free()
	return out
}
