package exchange

import (
	"slices"

	"github.com/ginfer/ginfer/internal/llm"
)

// Filter decides what is passed on of an event: it appends raw, nothing or a replacement to out.
type Filter func(out, raw []byte, e llm.Event) []byte

// maxFiltered bounds an event that is buffered for the filter, in bytes. A longer one passes as it
// is, and so does everything after it.
const maxFiltered = 1 << 20

// filtering passes events through a filter once they are complete.
type filtering struct {
	decide Filter
	b      *body

	in     []byte
	held   int    // length of in before the current read
	begin  int    // start of the incomplete event in it
	half   bool   // the last event ended with a CR at the end of a read: an LF may belong to it
	kept   bool   // that event passed
	out    []byte // ready to be read
	sent   int    // how much of out was read
	err    error  // the source's end
	passes bool   // the filter is no longer used
}

// read implements io.Reader.
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

// fill reads once and filters the events that are complete.
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
	if f.passes || f.err != nil { // the rest is no whole event
		f.out = append(f.out, f.in[f.begin:]...)
		f.begin = len(f.in)
	}
	rest := copy(f.in, f.in[f.begin:])
	f.in = f.in[:rest]
}

// event filters the event that ends at this position of the current read.
func (f *filtering) event(end int, e llm.Event) {
	end += f.held
	f.lineFeed(end)
	before := len(f.out)
	f.out = f.decide(f.out, f.in[f.begin:end:end], e)
	f.begin, f.half, f.kept = end, f.in[end-1] == '\r', len(f.out) > before
}

// lineFeed assigns an LF that came apart from its CR to the event before it: in front of the next
// event it would be a blank line.
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
