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
	decide Filter
	b      *body

	in     []byte
	held   int    // of in, before the read under way
	begin  int    // of the event in it that is not complete
	half   bool   // the event before ended with a CR that was read last: an LF belongs to it
	kept   bool   // that one passed
	out    []byte // ready
	sent   int    // of out
	err    error  // that ended the source
	passes bool   // nothing is decided any more
}

// read is io.Reader's.
func (f *filtering) read(p []byte) (int, error) {
	for f.sent == len(f.out) {
		switch {
		case f.err != nil:
			return 0, f.err
		case f.passes:
			f.in, f.out, f.sent = nil, nil, 0
			return f.b.pull(p, nil)
		}
		f.fill()
	}
	n := copy(p, f.out[f.sent:])
	f.sent += n
	return n, nil
}

// fill reads once, and decides on the events that are complete.
func (f *filtering) fill() {
	if cap(f.in)-len(f.in) < 512 { // little: it is kept while the stream is silent
		f.in = slices.Grow(f.in, 1<<10)
	}
	f.out, f.sent, f.held, f.begin = f.out[:0], 0, len(f.in), 0
	f.in = f.in[:cap(f.in)]
	n, err := f.b.pull(f.in[f.held:], f)
	f.in, f.err = f.in[:f.held+n], err
	f.lineFeed(len(f.in))
	f.passes = len(f.in)-f.begin > maxFiltered || f.b.a.isEnded()
	if f.passes || f.err != nil { // what is left is no whole event
		f.out = append(f.out, f.in[f.begin:]...)
		f.begin = len(f.in)
	}
	rest := copy(f.in, f.in[f.begin:])
	f.in = f.in[:rest]
}

// event decides on the event that ends there in what is being read.
func (f *filtering) event(end int, e llm.Event) {
	end += f.held
	f.lineFeed(end)
	before := len(f.out)
	f.out = f.decide(f.out, f.in[f.begin:end:end], e)
	f.begin, f.half, f.kept = end, f.in[end-1] == '\r', len(f.out) > before
}

// lineFeed gives the LF that came apart from its CR to the event that it belongs to: in
// front of the next one it would be a blank line.
func (f *filtering) lineFeed(end int) {
	if !f.half || f.begin >= end {
		return
	}
	f.half = false
	if f.in[f.begin] != '\n' {
		return
	}
	if f.kept {
		f.out = append(f.out, '\n')
	}
	f.begin++
}
