package cache

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Status is what the cache did with a request, as Cache-Status says it (RFC 9211).
type Status struct {
	// Policy is by which rules: "llm", "http" or "idempotency"; "" for a request that the
	// cache has nothing to do with.
	Policy string
	// Hit: the answer is from the cache.
	Hit bool
	// Forward is why the request went on to the upstream: "bypass", "method", "uri-miss",
	// "vary-miss", "miss", "request", "stale" or "partial".
	Forward string
	// ForwardStatus is the upstream's status, when the answer to the client is another.
	ForwardStatus int
	// Collapsed: the answer is what another request is just being told.
	Collapsed bool
	// Stored: the answer was stored. A stream is stored after its head was sent, so that
	// its header does not say so.
	Stored bool
	// TTL is for how long the entry is fresh, in a hit, or when it was stored. Negative:
	// it is stale.
	TTL time.Duration
	// Key is the entry's.
	Key string
	// Detail is a word on why it was a bypass, or what kind of hit it was.
	Detail string
}

// Free reports whether the answer cost the upstream nothing.
func (s Status) Free() bool { return s.Hit || s.Collapsed }

type statusKey struct{}

// statusContext is a request's context with its status. It is a part of the exchange, so
// that it costs nothing.
type statusContext struct {
	context.Context //nolint:containedctx // it is one
	status          *Status
}

// Value implements context.Context.
func (c *statusContext) Value(key any) any {
	if key == (statusKey{}) {
		return c.status
	}
	return c.Context.Value(key)
}

// FromContext returns what the cache did with a request, if it passed one. For a request
// under way it is what is known so far.
func FromContext(ctx context.Context) (Status, bool) {
	if s, ok := ctx.Value(statusKey{}).(*Status); ok {
		return *s, true
	}
	return Status{}, false
}

// putMark adds what the cache did to the Cache-Status of an answer.
func (x *exchange) putMark(h http.Header) { addMark(h, x.markText()) }

func addMark(h http.Header, mark string) {
	h["Cache-Status"] = append(slices.Clip(h["Cache-Status"]), mark)
}

func (x *exchange) markText() string { return string(x.appendMark(make([]byte, 0, 128))) }

func (x *exchange) appendMark(b []byte) []byte {
	s, cfg := &x.status, &x.cfg
	b = append(b, cfg.Name...)
	if s.Hit {
		b = append(b, "; hit"...)
	} else {
		b = append(append(b, "; fwd="...), s.Forward...)
	}
	if s.ForwardStatus != 0 {
		b = strconv.AppendInt(append(b, "; fwd-status="...), int64(s.ForwardStatus), 10)
	}
	if s.Hit || s.Stored {
		b = strconv.AppendInt(append(b, "; ttl="...), int64(s.TTL/time.Second), 10)
	}
	if s.Stored {
		b = append(b, "; stored"...)
	}
	if s.Collapsed {
		b = append(b, "; collapsed"...)
	}
	if cfg.ShowKey && s.Key != "" {
		b = append(append(append(b, `; key="`...), s.Key...), '"')
	}
	if s.Detail != "" {
		b = append(append(b, "; detail="...), s.Detail...)
	}
	return b
}
