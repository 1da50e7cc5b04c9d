package flight

import "time"

// readerPatience is how long a reader may delay the others in total.
const readerPatience = time.Second

// Reader is one reader of a response. The methods of a nil Reader do nothing.
type Reader struct {
	tape    *tape
	off     int64
	allowed int64 // how far behind it may be: it began so far behind
	patient bool  // waits for the end, and reads nothing before
	dropped bool
	// patience is how much longer the writer waits for it while others are not behind.
	patience time.Duration
}

// Part is what a Reader finds next: one of its fields is set.
type Part struct {
	// Bytes are the next bytes. They must not be changed.
	Bytes []byte
	// Wait is closed when there is more.
	Wait <-chan struct{}
	// Ended reports the end of the body; with Err it is not whole.
	Ended bool
	Err   error
	// Dropped reports that the reader was too slow.
	Dropped bool
	// Lost reports to a reader that waits for the end that the body is too long for it.
	Lost bool
}

// Next returns the next part without waiting.
func (r *Reader) Next() (p Part) {
	t := r.tape
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.dropped {
		return Part{Dropped: true}
	}
	if r.patient && t.long {
		return Part{Lost: true}
	}
	if !r.patient && r.off < t.length() {
		p.Bytes = t.buf[r.off-t.base : len(t.buf) : len(t.buf)]
		return p
	}
	if t.ended {
		return Part{Ended: true, Err: t.err}
	}
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	p.Wait = t.changed
	return p
}

// Advance moves the reader n bytes on.
func (r *Reader) Advance(n int) {
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	r.off += int64(n)
	r.allowed = max(r.tape.lag, r.allowed-int64(n))
	r.tape.wakeWriter()
}

// AwaitEnd makes the reader wait for the end of the body: it is never behind.
func (r *Reader) AwaitEnd() {
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	r.patient = true
	r.tape.wakeWriter()
}

// hurry reverses AwaitEnd.
func (r *Reader) hurry() {
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	r.patient, r.allowed = false, r.tape.lag+int64(len(r.tape.buf))
}

// Leave removes the reader. It may be called more than once.
func (r *Reader) Leave() {
	if r == nil {
		return
	}
	t := r.tape
	t.mu.Lock()
	_, known := t.readers[r]
	delete(t.readers, r)
	var abandon func()
	if known && len(t.readers) == 0 && !t.pinned && !t.ended {
		abandon, t.abandon = t.abandon, nil
	}
	t.wakeWriter()
	t.mu.Unlock()
	if abandon != nil {
		abandon()
	}
}
