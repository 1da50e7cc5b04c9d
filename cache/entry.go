package cache

import (
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// Entry is an answer that is kept, and what it takes to know whether it still holds. It
// must not be changed once a store has it.
type Entry struct {
	// Status is the answer's HTTP status. 0 is no answer but a note that there are
	// several, by the headers in Vary.
	Status int
	// Header is its header, but for what belongs to one connection or to one request.
	Header http.Header
	// Body is its body, as the upstream sent it.
	Body []byte

	// RequestTime is when the upstream was asked for it.
	RequestTime time.Time
	// ResponseTime is when its age began: when the upstream made it.
	ResponseTime time.Time
	// FreshUntil is until when it holds without question.
	FreshUntil time.Time
	// ExpiresAt is until when it may be of any use.
	ExpiresAt time.Time
	// FetchDuration is how long the upstream took to make it.
	FetchDuration time.Duration

	// StaleWhileRevalidate is for how long after Fresh it may be used while a newer one
	// is fetched, StaleIfError when none can be had (RFC 5861).
	StaleWhileRevalidate, StaleIfError time.Duration
	// Validate says that it must not be used without asking the upstream, MustRevalidate
	// that it must not be once it is stale.
	Validate, MustRevalidate bool

	// Vary are the request headers that it depends on, in canonical form and sorted.
	Vary []string
	// Mark tells this entry from another one: of a note the variants that belong to it,
	// of an answer to an Idempotency-Key the request that it is for.
	Mark string
}

func isStream(h http.Header) bool { return llm.IsEventStream(h.Get("Content-Type")) }

// stream reports whether the body is one of server-sent events.
func (e *Entry) stream() bool { return isStream(e.Header) }

// entryOverhead is about what an entry costs besides its bytes.
const entryOverhead = 512

// size is about how much memory the entry takes.
func (e *Entry) size() int64 {
	n := len(e.Body) + len(e.Mark) + entryOverhead
	for name, values := range e.Header {
		n += len(name) + 48
		for _, v := range values {
			n += len(v) + 16
		}
	}
	for _, v := range e.Vary {
		n += len(v) + 16
	}
	return int64(n)
}

// held is the entry with another end of its time in a store.
func (e *Entry) held(until time.Time) *Entry {
	if !until.Before(e.ExpiresAt) {
		return e
	}
	short := *e
	short.ExpiresAt = until
	return &short
}
