package exchange

import (
	"slices"

	"github.com/ginfer/ginfer/internal/llm"
)

// Filter decides what becomes of an event: it appends to out what is to pass, which is raw,
// nothing or something in its place.
type Filter func(out, raw []byte, e llm.Event) []byte

// maxFiltered bounds an event that is held to be decided on; a longer one passes as it is,
// and all after it.
const maxFiltered = 1 << 20

// filtering passes events when they are complete.
type filtering struct {
	decide  Filter
	pull    func(p []byte, atEvent func(end int, e llm.Event)) (int, error)
	scanner *llm.Scanner

	in     []byte // of the event that is not complete
	out    []byte // ready
	sent   int    // of out
	err    error  // that ended the source
	passes bool   // nothing is decided any more
}

// read is io.Reader's.
func (f *filtering) read(p []byte) (int, error) {
	for f.sent == len(f.out) {
		if f.err != nil {
			return 0, f.err
		}
		if f.passes && len(f.in) == 0 {
			return f.pull(p, nil)
		}
		f.fill()
	}
	n := copy(p, f.out[f.sent:])
	f.sent += n
	return n, nil
}

// fill reads once, and decides on the events that are complete.
func (f *filtering) fill() {
	if cap(f.in)-len(f.in) < 512 {
		f.in = slices.Grow(f.in, 4<<10)
	}
	f.out, f.sent = f.out[:0], 0
	held, begin := len(f.in), 0
	n, err := f.pull(f.in[held:cap(f.in)], func(end int, e llm.Event) {
		end += held
		f.out = f.decide(f.out, f.in[begin:end:end], e)
		begin = end
	})
	f.in, f.err = f.in[:held+n], err
	if len(f.in)-begin > maxFiltered {
		f.passes = true
	}
	if f.passes || f.err != nil { // what is left is no whole event
		f.out = append(f.out, f.in[begin:]...)
		begin = len(f.in)
	}
	rest := copy(f.in, f.in[begin:])
	f.in = f.in[:rest]
}
