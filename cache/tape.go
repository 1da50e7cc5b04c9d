package cache

import (
	"errors"
	"sync"
	"time"
)

// errAbandoned: nobody reads the answer any more.
var errAbandoned = errors.New("cache: every client has left")

// trimStep is how much of a tape is cut off at once that everybody has read.
const trimStep = 256 << 10

// tape is an answer's body while it comes: what was written so far, and who has read how
// much of it. One writes, many read, each at its own pace.
//
// The writer waits when all readers are too far behind, as it would for a single client.
// When some are and others are not, those are dropped after a while, so that the others
// need not wait.
type tape struct {
	lag   int64 // how far behind a reader may be
	limit int64 // how much is held for readers that are still to come

	mu      sync.Mutex
	buf     []byte
	base    int64 // bytes that were cut off at the beginning
	readers map[*reader]struct{}
	pinned  bool          // goes on without readers
	long    bool          // beyond the limit: no one can begin to read
	changed chan struct{} // closed when there is something new; nil: nobody waits
	room    chan struct{} // closed when a reader went on; nil: the writer does not wait
	ended   bool
	err     error  // why it is not whole
	left    func() // nil: the last reader has left
}

// reader is who reads a tape.
type reader struct {
	off     int64
	allowed int64 // how far behind it may be: it began so far behind
	patient bool  // waits for the end, and reads nothing before
	dropped bool
	// patience is for how much longer the writer waits for it while others are not behind.
	patience time.Duration
}

// readerPatience is how long a reader may keep others waiting, in all.
const readerPatience = time.Second

// newTape returns a tape. Left is called when the last reader has left before the end.
func newTape(lag, limit int64, pinned bool, left func()) *tape {
	return &tape{lag: lag, limit: limit, pinned: pinned, left: left, readers: map[*reader]struct{}{}}
}

// join adds a reader, if it can still have all of it. A patient one never is behind.
func (t *tape) join(patient bool) (*reader, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.long || t.left == nil || t.ended && t.err != nil {
		return nil, false
	}
	r := &reader{allowed: t.lag + int64(len(t.buf)), patient: patient, patience: readerPatience}
	t.readers[r] = struct{}{}
	t.wakeWriter()
	return r, true
}

// hurry makes a patient reader one like others.
func (t *tape) hurry(r *reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.patient, r.allowed = false, t.lag+int64(len(t.buf))
}

// wait makes a reader a patient one.
func (t *tape) wait(r *reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.patient = true
	t.wakeWriter()
}

// pass has nothing held for readers that are still to come.
func (t *tape) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.long, t.limit = true, 0
}

// leave takes a reader off.
func (t *tape) leave(r *reader) {
	t.mu.Lock()
	_, known := t.readers[r]
	delete(t.readers, r)
	var left func()
	if known && len(t.readers) == 0 && !t.pinned && !t.ended {
		left, t.left = t.left, nil
	}
	t.wakeWriter()
	t.mu.Unlock()
	if left != nil {
		left()
	}
}

func (t *tape) wakeWriter() {
	if t.room != nil {
		close(t.room)
		t.room = nil
	}
}

func (t *tape) wakeReaders() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// write adds to the tape. Its error is that nobody reads it any more, or that it ended.
func (t *tape) write(p []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awaitReaders()
	if t.ended {
		return errEnded
	}
	if len(t.readers) == 0 && (!t.pinned || t.long) {
		return errAbandoned
	}
	t.buf = append(t.buf, p...)
	if t.base+int64(len(t.buf)) > t.limit {
		t.long = true
		t.trim()
	}
	t.wakeReaders()
	return nil
}

// errEnded: a handler wrote after it had returned.
var errEnded = errors.New("cache: the answer has ended")

func (t *tape) end64() int64 { return t.base + int64(len(t.buf)) }

// awaitReaders waits for those that are too far behind: for as long as it takes when all
// are, since nobody is harmed by that, but only for the patience that is left for one
// that keeps others waiting. Then it is dropped. The caller holds mu.
func (t *tape) awaitReaders() {
	for !t.ended {
		slow, all := t.behind()
		switch {
		case len(slow) == 0:
			return
		case all:
			t.awaitRoom(nil)
		case !t.awaitSlow(slow):
			for _, r := range slow {
				if r.patience <= 0 {
					r.dropped = true
					delete(t.readers, r)
				}
			}
			t.wakeReaders()
		}
	}
}

// awaitSlow waits for readers that are behind while others are not. It reports false when
// no patience is left for one.
func (t *tape) awaitSlow(slow []*reader) bool {
	least := slow[0].patience
	for _, r := range slow {
		least = min(least, r.patience)
	}
	if least <= 0 {
		return false
	}
	since, timer := time.Now(), time.NewTimer(least)
	t.awaitRoom(timer.C)
	timer.Stop()
	waited := time.Since(since)
	for _, r := range slow {
		r.patience -= waited
	}
	return true
}

// awaitRoom waits until a reader goes on or leaves, or until the time is over. Readers'
// own writes have deadlines.
func (t *tape) awaitRoom(over <-chan time.Time) {
	if t.room == nil {
		t.room = make(chan struct{})
	}
	room := t.room
	t.mu.Unlock()
	defer t.mu.Lock()
	select {
	case <-room:
	case <-over:
	}
}

// behind are the readers that are too far behind, and whether that is all of them.
func (t *tape) behind() (slow []*reader, all bool) {
	end := t.end64()
	if end <= t.lag {
		return nil, false
	}
	all = !t.pinned
	for r := range t.readers {
		switch {
		case r.patient:
		case end-r.off > r.allowed:
			slow = append(slow, r)
		default:
			all = false
		}
	}
	return slow, all
}

// trim cuts off what everybody has read.
func (t *tape) trim() {
	least := t.end64()
	for r := range t.readers {
		if !r.patient {
			least = min(least, r.off)
		}
	}
	if n := least - t.base; n >= trimStep {
		t.buf = append(make([]byte, 0, int64(len(t.buf))-n+trimStep), t.buf[n:]...)
		t.base = least
	}
}

// part is what a reader finds.
type part struct {
	bytes   []byte // must not be changed
	wait    <-chan struct{}
	ended   bool
	err     error
	dropped bool
	lost    bool // for a patient reader: it is too long to be held
}

// read returns what is new to a reader, or what to wait for.
func (t *tape) read(r *reader) (p part) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.dropped {
		return part{dropped: true}
	}
	if r.patient && t.long {
		return part{lost: true}
	}
	if !r.patient && r.off < t.end64() {
		p.bytes = t.buf[r.off-t.base : len(t.buf) : len(t.buf)]
		return p
	}
	if t.ended {
		return part{ended: true, err: t.err}
	}
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	p.wait = t.changed
	return p
}

// took notes that a reader has n bytes more.
func (t *tape) took(r *reader, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.off += int64(n)
	r.allowed = max(t.lag, r.allowed-int64(n))
	t.wakeWriter()
}

// end ends the tape; with an error it is not whole.
func (t *tape) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.ended, t.err = true, err
	t.wakeReaders()
	t.wakeWriter()
}

// whole is all of the tape, if it was held and ended well.
func (t *tape) whole() ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf, t.ended && t.err == nil && !t.long
}
