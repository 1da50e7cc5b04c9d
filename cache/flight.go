package cache

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"

	attempts "github.com/ginfer/ginfer/internal/exchange"
)

// outcome is what becomes of a flight, for those that follow it.
type outcome uint8

const (
	pending outcome = iota
	live            // they are told what the leader is told
	stored          // there is an entry for them
	again           // they should look again: something else is known now
	alone           // the answer is the leader's own
	failed          // the leader got none, and another one may try
)

// maxAttempts is how many leaders try, one after another.
const maxAttempts = 2

// head is the beginning of an answer, as everybody gets it.
type head struct {
	status  int
	header  http.Header
	cookies bool // there were some, which are nobody else's
}

// flight is one call of the upstream, and all the requests that it answers: that of its
// leader, who makes it, and those of its followers, who came while it was under way.
type flight struct {
	tape    *tape
	attempt int
	ctx     context.Context //nolint:containedctx // the upstream's: it outlives the leader's request
	cancel  context.CancelCauseFunc
	keys    []string // where it is found; guarded by flights
	next    *flight  // the one that takes its place when it failed; guarded by flights

	ready chan struct{} // closed when what follows is known
	once  sync.Once
	outcome
	head  head
	entry *Entry
	stale bool   // entry is, and there is no better one
	about *plan  // the leader's
	name  string // the key of the variant that head is, if there are several

	read    atomic.Pointer[attempts.End] // of the last attempt that went well; nil: there is none
	trailer http.Header                  // set before the tape ends
}

// resolve says what becomes of it. Only the first time counts.
func (f *flight) resolve(o outcome, set func()) {
	f.once.Do(func() {
		f.outcome = o
		if set != nil {
			set()
		}
		close(f.ready)
	})
}

// flights are those under way, by key.
type flights struct {
	mu  sync.Mutex
	all map[string]*flight
}

// join finds the flight of a key, or begins one.
func (fs *flights) join(x *exchange) (f *flight, r *reader, leader bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.all[x.key]; f != nil {
		if r, ok := f.tape.join(false); ok {
			return f, r, false
		}
		fs.drop(f)
	}
	f = fs.begin(x, 1, false)
	fs.add(f, x.key)
	r, _ = f.tape.join(true) // a new one takes readers
	return f, r, true
}

// succeed joins the flight that takes the place of one that failed, or begins it. All who
// followed the first get the outcome of the second, also those who come when that is
// over. Without a reader there is nothing to read.
func (fs *flights) succeed(failed *flight, x *exchange) (f *flight, r *reader, leader bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.drop(failed)
	if failed.next == nil && fs.all[x.key] != nil { // somebody who came later was faster
		failed.next = fs.all[x.key]
	}
	if f := failed.next; f != nil {
		r, _ := f.tape.join(false)
		return f, r, false
	}
	f = fs.begin(x, failed.attempt+1, false)
	failed.next = f
	fs.add(f, x.key)
	r, _ = f.tape.join(true) // a new one takes readers
	return f, r, true
}

// pinned begins a flight that goes on without readers, if there is none of its key.
func (fs *flights) pinned(x *exchange) (*flight, bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.all[x.key] != nil {
		return nil, false
	}
	f := fs.begin(x, 1, true)
	fs.add(f, x.key)
	return f, true
}

// solo begins a flight that nobody follows.
func (fs *flights) solo(x *exchange) (*flight, *reader) {
	f := fs.begin(x, maxAttempts, false)
	r, _ := f.tape.join(true) // a new one takes readers
	return f, r
}

func (fs *flights) begin(x *exchange, attempt int, pinned bool) *flight {
	f := &flight{attempt: attempt, ready: make(chan struct{}), about: &x.plan}
	f.ctx, f.cancel = context.WithCancelCause(context.WithoutCancel(x.client))
	f.tape = newTape(x.cfg.MaxLag, x.cfg.MaxEntry, pinned, func() {
		fs.remove(f)
		f.cancel(errAbandoned)
	})
	return f
}

func (fs *flights) add(f *flight, key string) {
	if fs.all == nil {
		fs.all = map[string]*flight{}
	}
	fs.all[key] = f
	f.keys = append(f.keys, key)
}

// also makes a flight known under another key, if there is none.
func (fs *flights) also(f *flight, key string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if len(f.keys) > 0 && fs.all[key] == nil {
		fs.add(f, key)
	}
}

// remove lets nobody else follow.
func (fs *flights) remove(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.drop(f)
}

func (fs *flights) drop(f *flight) {
	for _, key := range f.keys {
		if fs.all[key] == f {
			delete(fs.all, key)
		}
	}
	f.keys = nil
}
