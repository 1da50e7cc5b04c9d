package flight

import (
	"sync"
	"time"
)

// trimStep is the least number of bytes that are cut off at once after all readers have
// read them.
const trimStep = 256 << 10

// tape is the body of a response while it is produced. One goroutine writes, many read,
// each at its own pace.
//
// The writer waits when all readers are too far behind, as it would for a single client.
// If only some are, these are dropped after a while, so that the others need not wait.
type tape struct {
	lag   int64 // how far behind a reader may be
	limit int64 // how much is kept for readers that join later

	mu      sync.Mutex
	buf     []byte
	base    int64 // bytes that were cut off at the beginning
	readers map[*Reader]struct{}
	pinned  bool          // continues without readers
	long    bool          // beyond the limit: no reader can join
	changed chan struct{} // closed when readers find something new; nil: none waits
	room    chan struct{} // closed when a reader progresses; nil: the writer does not wait
	ended   bool
	err     error  // why it is not whole
	abandon func() // nil: the last reader has left
}

// newTape returns a tape. Abandon is called when the last reader leaves before the end.
func newTape(lag, limit int64, pinned bool, abandon func()) *tape {
	return &tape{lag: lag, limit: limit, pinned: pinned, abandon: abandon, readers: map[*Reader]struct{}{}}
}

// join adds a reader, if it can still read from the beginning. A patient one is never
// behind.
func (t *tape) join(patient bool) (*Reader, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.long || t.abandon == nil || t.ended && t.err != nil {
		return nil, false
	}
	r := &Reader{tape: t, allowed: t.lag + int64(len(t.buf)), patient: patient, patience: readerPatience}
	t.readers[r] = struct{}{}
	t.wakeWriter()
	return r, true
}

// discard keeps nothing for readers that join later.
func (t *tape) discard() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.long, t.limit = true, 0
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

// write appends to the tape. It fails if there is no reader left, or after the end.
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
	if t.length() > t.limit {
		t.long = true
		t.trim()
	}
	t.wakeReaders()
	return nil
}

func (t *tape) length() int64 { return t.base + int64(len(t.buf)) }

// awaitReaders waits for readers that are too far behind: without limit if all are, since
// that delays no other, else for as long as their patience lasts. Then it drops them. The
// caller holds mu.
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
// the patience with one of them has run out.
func (t *tape) awaitSlow(slow []*Reader) bool {
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

// awaitRoom waits until a reader progresses or leaves, or until timeout. The writes of
// readers have deadlines of their own.
func (t *tape) awaitRoom(timeout <-chan time.Time) {
	if t.room == nil {
		t.room = make(chan struct{})
	}
	room := t.room
	t.mu.Unlock()
	defer t.mu.Lock()
	select {
	case <-room:
	case <-timeout:
	}
}

// behind returns the readers that are too far behind, and whether these are all.
func (t *tape) behind() (slow []*Reader, all bool) {
	end := t.length()
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

// trim cuts off what all readers have read.
func (t *tape) trim() {
	least := t.length()
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

func (t *tape) whole() ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf, t.ended && t.err == nil && !t.long
}

func (t *tape) buffered() ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf, t.base == 0
}
