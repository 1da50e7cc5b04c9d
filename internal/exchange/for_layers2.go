package exchange

import (
	"context"
	"net/http"
	"slices"

	"github.com/ginfer/ginfer/internal/llm"
)

// Call is Do for a layer that watches: it calls watch with the attempt that made the
// response, and so the last one, also when next panics. A refusal is no attempt.
func (a *Attempt) Call(req *http.Request, next http.RoundTripper, watch func(*Attempt)) (res *http.Response, err error) {
	defer func() {
		if !IsRefused(err) {
			watch(a.Latest())
		}
	}()
	return a.Do(req, next)
}

// Each calls f with the attempt itself and with those that followed it within the layers
// below.
func (a *Attempt) Each(f func(*Attempt)) {
	for a != nil {
		a.mu.Lock()
		next := a.next
		a.mu.Unlock()
		f(a)
		a = next
	}
}

// Again readies an attempt that a layer refused, for another upstream: what was said of
// the one that refused does not hold for that.
func (a *Attempt) Again() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.endpoint, a.others = "", 0
	a.limits.FirstByte, a.patience = a.x.Limits.FirstByte, 0
}

// Gone reports whether nobody waits for the attempt any more.
func (a *Attempt) Gone() bool { return a.outer.Err() != nil }

// Kind is what the error is about that the response is, as far as it was read. Of one that
// is no error it is llm.UnknownKind.
func (a *Attempt) Kind() llm.Kind {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.facts()
	if f.said == nil && f.status < http.StatusBadRequest {
		return llm.UnknownKind
	}
	return f.kind()
}

// Delivered estimates the tokens that came so far.
func (a *Attempt) Delivered() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.scans {
		return 0
	}
	return a.scanner.Delivered()
}

// IsCredential reports whether a header field, by its canonical name, is one in which
// clients put their credentials.
func IsCredential(name string) bool { return slices.Contains(credentialHeaders[:], name) }

type usageKey struct{}

// KeepUsage returns a context in which responses keep the usage that the gateway asked
// for. A cache sets it: it stores that, and takes it out for each reader who did not ask.
func KeepUsage(ctx context.Context) context.Context { return context.WithValue(ctx, usageKey{}, true) }

// KeepsUsage reports whether ctx is of [KeepUsage].
func KeepsUsage(ctx context.Context) bool { return ctx.Value(usageKey{}) != nil }
