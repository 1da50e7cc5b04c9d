package exchange

import (
	"context"
	"io"
	"time"
)

// OnRead has before and after called around each read of the response's body from upstream:
// the time between them is what the upstream took, and none of the client's. It is called
// directly after Do, before the body is read. An upgraded connection has no such reads.
func (a *Attempt) OnRead(before, after func(at time.Time)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.body == nil || a.ended {
		return
	}
	if _, duplex := a.body.src.(io.Writer); duplex {
		return
	}
	a.body.src = &timedReader{a.body.src, before, after}
}

// timedReader calls hooks around each read.
type timedReader struct {
	io.ReadCloser
	before, after func(at time.Time)
}

// Read implements io.Reader. After is called also when the body panics.
func (r *timedReader) Read(p []byte) (int, error) {
	r.before(time.Now())
	defer func() { r.after(time.Now()) }()
	return r.ReadCloser.Read(p)
}

// IsStream reports whether the response is a stream whose events are read.
func (a *Attempt) IsStream() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.body != nil && a.scans && a.scanner.Stream()
}

// Observation is what an attempt's end is worth to whoever counts exchanges.
type Observation uint8

// The observations.
const (
	// Repeated: the exchange was counted before.
	Repeated Observation = iota
	// Counted: it is counted now.
	Counted
	// Corrected: it was counted as a failure, and is a success after all.
	Corrected
)

// Observe records how an attempt of the exchange went with key, which stands for who
// counts. An exchange counts once: the first failure at once, a success after it in its
// place.
func (x *Exchange) Observe(key any, ok bool) Observation {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.observed == nil {
		x.observed = make(map[any]bool)
	}
	before, seen := x.observed[key]
	switch {
	case !seen:
		x.observed[key] = ok
		return Counted
	case ok && !before:
		x.observed[key] = true
		return Corrected
	}
	return Repeated
}

type lastResortKey struct{}

type alternativeKey struct{}

// WithAlternative marks a request that can go to another upstream: one that none here has
// room for is refused rather than sent.
func WithAlternative(ctx context.Context) context.Context {
	return context.WithValue(ctx, alternativeKey{}, true)
}

// HasAlternative reports whether ctx is marked so.
func HasAlternative(ctx context.Context) bool {
	has, _ := ctx.Value(alternativeKey{}).(bool)
	return has
}

// WithLastResort marks a request that every endpoint refused: there is nowhere else to go.
func WithLastResort(ctx context.Context) context.Context {
	return context.WithValue(ctx, lastResortKey{}, true)
}

// IsLastResort reports whether ctx is marked so.
func IsLastResort(ctx context.Context) bool {
	last, _ := ctx.Value(lastResortKey{}).(bool)
	return last
}

type versionKey struct{}

// WithVersion notes which version of a model a request goes to, for those below that keep
// versions apart.
func WithVersion(ctx context.Context, version string) context.Context {
	return context.WithValue(ctx, versionKey{}, version)
}

// Version is what WithVersion noted; "" when nobody did.
func Version(ctx context.Context) string {
	version, _ := ctx.Value(versionKey{}).(string)
	return version
}
