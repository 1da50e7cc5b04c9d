package exchange

import (
	"context"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/llm"
)

// Attempt is one upstream call within an [Exchange]. All methods are safe for concurrent use.
type Attempt struct {
	origin
	record

	values carried // ctx, with the attempt in it
	dog    watchdog
	limits Limits

	// The fields below are guarded by mu of record.

	next     *Attempt // the attempt after this one within a layer below; nil: none
	calls    int      // Do calls in progress
	patience time.Duration
	filter   Filter
	decodes  bool
	noted    *Verdict
	sender   sender
	invalid  bool
	ownLimit time.Duration // the limit that the request gives its server; 0: none
	open     bool          // set by Prefetch
	unwatch  func() bool   // stops watching outer; nil: outer is not watched
}

type attemptKey struct{}

// Current returns the attempt in ctx, or nil.
func Current(ctx context.Context) *Attempt {
	a, _ := ginctx.Value(ctx, attemptKey{}).(*Attempt)
	return a
}

// Latest returns the last attempt of the chain that layers below began after this one, or
// the attempt itself.
func (a *Attempt) Latest() *Attempt {
	for {
		a.mu.Lock()
		next := a.next
		a.mu.Unlock()
		if next == nil {
			return a
		}
		a = next
	}
}

// Each calls f with the attempt and with those that layers below began after it.
func (a *Attempt) Each(f func(*Attempt)) {
	for a != nil {
		a.mu.Lock()
		next := a.next
		a.mu.Unlock()
		f(a)
		a = next
	}
}

// Again resets an attempt that a layer refused, for use with another upstream: what the
// first upstream reported does not apply to the next.
func (a *Attempt) Again() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.endpoint, a.version, a.others = "", "", 0
	a.limits.FirstByte, a.patience = a.x.Limits.FirstByte, 0
}

// ConnectTimeout returns the limit for setting up a connection; 0: the transport decides.
// It may be called on nil.
func (a *Attempt) ConnectTimeout() time.Duration {
	if a == nil {
		return 0
	}
	return a.limits.Connect
}

// SetPatience bounds the time until the response begins, for this attempt; with [Limits].Prefetch,
// the time until its first content. It is called before Do.
func (a *Attempt) SetPatience(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d <= 0 {
		return
	}
	if a.patience <= 0 || d < a.patience {
		a.patience = d
	}
	if a.limits.FirstByte <= 0 || d < a.limits.FirstByte {
		a.limits.FirstByte = d
	}
}

// Note records a verdict before the attempt has ended, for layers that know more, such as a
// transport that ended it. The first verdict stands; Note reports whether this is it.
func (a *Attempt) Note(v Verdict) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.noted != nil || a.ended {
		return false
	}
	a.noted = &v
	return true
}

// Use records the attempt's endpoint.
func (a *Attempt) Use(endpoint string) {
	a.mu.Lock()
	a.endpoint = endpoint
	a.mu.Unlock()
	a.x.use(endpoint)
}

// SetFilter installs a filter for the response's events. It is called before the body is read.
func (a *Attempt) SetFilter(f Filter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.filter = f
}

// Verdict returns the attempt's verdict: the final one, or the one as of now.
func (a *Attempt) Verdict() Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return a.end.Verdict
	}
	f := a.facts()
	return judge(&f)
}

// Finish ends an attempt that no layer ended, with the caller's error.
func (a *Attempt) Finish(err error) {
	a.finish(func() { a.err = err })
	a.release()
}

// Uploading restarts the wait for the first byte: the client's body is still being sent.
func (a *Attempt) Uploading() {
	a.mu.Lock()
	waits := a.head.IsZero() && !a.ended
	a.mu.Unlock()
	if waits {
		a.dog.arm(LimitFirstByte, time.Now(), a.limits.FirstByte)
	}
}

// Kind returns the kind of the response's error, as far as it was read; llm.UnknownKind if it
// is no error.
func (a *Attempt) Kind() llm.Kind {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.facts()
	if a.ended {
		f.said = a.end.Said
	}
	if f.said == nil && f.status < http.StatusBadRequest {
		return llm.UnknownKind
	}
	return f.kind()
}
