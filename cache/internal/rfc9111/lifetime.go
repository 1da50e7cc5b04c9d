package rfc9111

import "time"

// Lifetime is for how long a stored response may be used, and how (RFC 9111 §4.2).
type Lifetime struct {
	// ResponseTime is when the age of the response was 0.
	ResponseTime time.Time
	// FreshUntil is when it becomes stale.
	FreshUntil time.Time
	// ExpiresAt is when it is of no further use.
	ExpiresAt time.Time
	// StaleWhileRevalidate and StaleIfError are how long after FreshUntil it may be used
	// during a refresh, and instead of an error (RFC 5861).
	StaleWhileRevalidate, StaleIfError time.Duration
	// Validate requires a revalidation before every use, MustRevalidate once it is stale.
	Validate, MustRevalidate bool
}

// Reuse is how a stored response may be used for a request.
type Reuse uint8

const (
	// MustValidate requires a revalidation with the upstream before use.
	MustValidate Reuse = iota
	// Fresh responses are used.
	Fresh
	// AllowedStale responses are stale and are used, because the request allows it.
	AllowedStale
	// StaleWhileRevalidate responses are stale and are used during a refresh.
	StaleWhileRevalidate
)

// Reuse decides about a request with the directives c (RFC 9111 §4.2 and §5.2.1, RFC 5861).
func (l *Lifetime) Reuse(c *Control, now time.Time) Reuse {
	left, age := l.FreshUntil.Sub(now), now.Sub(l.ResponseTime)
	switch {
	case l.Validate || c.NoCache:
		return MustValidate
	case c.MaxAge != None && age > c.MaxAge:
		return MustValidate
	case left > 0 && c.MinFresh != None && left < c.MinFresh:
		return MustValidate
	case left > 0:
		return Fresh
	case l.MustRevalidate:
		return MustValidate
	case c.MaxStale != None && -left <= c.MaxStale:
		return AllowedStale
	case c.MinFresh == None && -left < l.StaleWhileRevalidate:
		return StaleWhileRevalidate
	}
	return MustValidate
}
