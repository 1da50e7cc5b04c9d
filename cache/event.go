package cache

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ginfer/ginfer/internal/ginctx"
)

// Kind is the kind of an Event.
type Kind int

// The kinds of Event.
const (
	// Hit: a request is served from the cache. The event precedes the response and has the
	// context of the request.
	Hit Kind = iota
	// Coalesced: a request is served with the response of a concurrent one. It costs the
	// upstream nothing either. The event comes as for Hit.
	Coalesced
	// Missed: a request is forwarded to the upstream, and its response may be stored.
	Missed
	// Bypassed: a request bypasses the cache, for the Reason.
	Bypassed
	// Stored: a response was stored.
	Stored
	// NotStored: a response was not stored, for the Reason.
	NotStored
	// Refreshed: a response was fetched again in the background.
	Refreshed
	// Evicted: an entry was evicted from a [Memory].
	Evicted
	// Purged: entries were made unreachable.
	Purged
	// Dropped: a client was disconnected that reads too slowly, so that others need not
	// wait.
	Dropped
	// StoreDown: a store fails; until StoreUp the cache does without it.
	StoreDown
	// StoreUp: the store works again.
	StoreUp
	// Failed: an internal operation failed without harm to the request.
	Failed
)

// Event reports a decision or a change.
type Event struct {
	// Kind is what happened.
	Kind Kind
	// Key is the key of the entry. The number of keys is unbounded: it is no label for a
	// metric.
	Key string
	// Policy is the policy of the request: "llm", "http" or "idempotency".
	Policy string
	// Model and Version are those of a request under the LLM policy. Clients choose the
	// model: bound it before you use it as a label.
	Model, Version string
	// Reason is, in Bypassed and NotStored, a word for the cause.
	Reason string
	// Tag is, in Purged, what was purged.
	Tag Tag
	// Status is, in Hit, Coalesced, Stored and NotStored, that of the response.
	Status int
	// Bytes is, in Stored and Evicted, the approximate memory use of the entry.
	Bytes int64
	// TTL is, in Hit and Stored, how long the entry is fresh. In a Hit it is negative when
	// the entry is stale.
	TTL time.Duration
	// FetchDuration is, in Stored and Refreshed, how long the upstream took.
	FetchDuration time.Duration
	// Err is the cause of StoreDown and Failed.
	Err error
}

// Status is what the cache did with a request, as in Cache-Status (RFC 9211).
type Status struct {
	// Policy is the policy of the request: "llm", "http" or "idempotency". "": the cache
	// was bypassed.
	Policy string
	// Hit reports that the response is from the cache.
	Hit bool
	// Forward is why the request was forwarded to the upstream: "bypass", "method",
	// "uri-miss", "vary-miss", "miss", "request", "stale" or "partial".
	Forward string
	// ForwardStatus is the status of the upstream, if the client got another.
	ForwardStatus int
	// Collapsed reports that the response is that of a concurrent request.
	Collapsed bool
	// Stored reports that the response was stored. A stream is stored after its head was
	// sent, so that its header does not say so.
	Stored bool
	// TTL is how long the entry is fresh, if it is a hit or was stored. Negative: it is
	// stale.
	TTL time.Duration
	// Key is the key of the entry.
	Key string
	// Detail is the reason of a bypass, or the kind of a hit.
	Detail string
}

// Free reports whether the response cost the upstream nothing.
func (s Status) Free() bool { return s.Hit || s.Collapsed }

// appendStatus appends the value of Cache-Status.
func appendStatus(b []byte, s *Status, cfg *Config) []byte {
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

func addCacheStatus(h http.Header, value string) {
	h["Cache-Status"] = append(slices.Clip(h["Cache-Status"]), value)
}

type statusKey struct{}

// statusContext is the context of a request with its Status. It is a part of the exchange,
// so that it needs no allocation.
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

// FromContext returns what the cache did with a request, if it passed a cache. During the
// request it returns what is known so far.
func FromContext(ctx context.Context) (Status, bool) {
	if s, ok := ginctx.Value(ctx, statusKey{}).(*Status); ok {
		return *s, true
	}
	return Status{}, false
}
