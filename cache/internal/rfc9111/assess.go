package rfc9111

import (
	"net/http"
	"slices"
	"time"
)

// maxHeuristic bounds a heuristic freshness lifetime.
const maxHeuristic = 24 * time.Hour

// Rules configure what responses leave open.
type Rules struct {
	// Heuristic is the share of a response's age, by Last-Modified, for which it is fresh
	// if it has no explicit lifetime. 0: it is not stored.
	Heuristic float64
	// MaxTTL bounds the time that a response is fresh.
	MaxTTL time.Duration
	// NegativeTTL is how long 404, 405, 410, 414 and public 400 are fresh by default.
	NegativeTTL time.Duration
	// StaleWhileRevalidate and StaleIfError apply to responses without these directives.
	StaleWhileRevalidate, StaleIfError time.Duration
	// KeepStale is how long a stale response with a validator is kept.
	KeepStale time.Duration
	// MaxKeep bounds the time that anything is kept.
	MaxKeep time.Duration
	// StripCookies allows responses with Set-Cookie; the caller removes the cookies.
	StripCookies bool
}

// Response is the head of a response to a GET, with what matters of its request.
type Response struct {
	// Status is the HTTP status, Header the header.
	Status int
	Header http.Header
	// SetCookie reports that the response sets a cookie.
	SetCookie bool
	// Authorized reports that the request carries credentials.
	Authorized bool
	// Query reports that the request has a query.
	Query bool
	// RequestTime is when the request was sent, Received when the head arrived.
	RequestTime, Received time.Time
}

// Assess returns the lifetime of a response, and the reason why it must not be stored: ""
// if it may (RFC 9111 §3).
func (r *Rules) Assess(res *Response) (l Lifetime, reason string) {
	c, isTargeted := responseControl(res.Header)
	fresh, known := r.freshness(res, &c, isTargeted)
	l.ResponseTime = res.ageZero()
	l.FreshUntil = l.ResponseTime.Add(min(fresh, r.MaxTTL))
	l.MustRevalidate = c.MustRevalidate || c.SMaxAge != None
	l.Validate = c.NoCache
	if !l.MustRevalidate {
		l.StaleWhileRevalidate = r.extension(c.StaleWhileRevalidate, r.StaleWhileRevalidate)
		l.StaleIfError = r.extension(c.StaleIfError, r.StaleIfError)
	}
	more := max(l.StaleWhileRevalidate, l.StaleIfError)
	if validators := res.Header.Get("ETag") != "" || res.Header.Get("Last-Modified") != ""; validators {
		more = max(more, r.KeepStale)
	}
	l.ExpiresAt = l.FreshUntil.Add(more)
	if latest := res.Received.Add(r.MaxKeep); l.ExpiresAt.After(latest) {
		l.ExpiresAt = latest
	}
	reason = r.forbidden(res, &c)
	switch {
	case reason != "":
	case !known && (!c.Public || more == 0):
		reason = "no-freshness"
	case !res.Received.Before(l.ExpiresAt) || l.Validate && more == 0:
		reason = "stale"
	}
	return l, reason
}

func (r *Rules) extension(directive, byDefault time.Duration) time.Duration {
	if directive == None {
		return byDefault
	}
	return min(directive, r.MaxKeep)
}

// forbidden returns why a response must not be stored, apart from its freshness.
func (r *Rules) forbidden(res *Response, c *Control) string {
	vary := Vary(res.Header)
	switch {
	case !isFinal(res.Status), c.MustUnderstand && !isUnderstood(res.Status):
		return "status"
	case c.NoStore && !c.MustUnderstand:
		return "no-store"
	case c.Private:
		return "private"
	case res.SetCookie && !r.StripCookies:
		return "set-cookie"
	case res.Authorized && !c.Public && !c.MustRevalidate && c.SMaxAge == None:
		return "authorization"
	case slices.Contains(vary, "*") || len(vary) > MaxVary:
		return "vary"
	}
	return ""
}

// isFinal reports whether a response of this status can be stored at all: it is final and
// whole, and its definition does not forbid it (RFC 6585).
func isFinal(status int) bool {
	switch status {
	case http.StatusPartialContent, http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable,
		http.StatusPreconditionRequired, http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge, http.StatusNetworkAuthenticationRequired:
		return false
	}
	return status >= http.StatusOK
}

// isUnderstood reports whether the status has a meaning for caches that this package
// implements.
func isUnderstood(status int) bool {
	return isHeuristic(status) || isNegative(status) || isTemporaryRedirect(status) ||
		status == http.StatusBadRequest || status == http.StatusUnavailableForLegalReasons
}

// isHeuristic reports whether the freshness of a status may be estimated by Last-Modified.
func isHeuristic(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent, http.StatusMultipleChoices,
		http.StatusMovedPermanently, http.StatusPermanentRedirect, http.StatusUnavailableForLegalReasons, http.StatusNotImplemented:
		return true
	}
	return false
}

// isNegative reports whether a status is fresh for Rules.NegativeTTL.
func isNegative(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusRequestURITooLong:
		return true
	}
	return false
}

// isTemporaryRedirect reports whether a status is a redirect that needs an explicit lifetime.
func isTemporaryRedirect(status int) bool {
	switch status {
	case http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect:
		return true
	}
	return false
}

// freshness returns the freshness lifetime (RFC 9111 §4.2.1). It is known if it is
// explicit or may be estimated.
func (r *Rules) freshness(res *Response, c *Control, isTargeted bool) (d time.Duration, known bool) {
	switch {
	case c.SMaxAge != None:
		return c.SMaxAge, true
	case c.MaxAge != None:
		return c.MaxAge, true
	}
	date := res.Received
	if t, ok := ParseDate(res.Header.Get("Date")); ok {
		date = t
	}
	if expires := res.Header["Expires"]; len(expires) > 0 && !isTargeted {
		t, ok := ParseDate(expires[0])
		if !ok || len(expires) > 1 {
			return 0, true // an invalid one is in the past
		}
		return max(t.Sub(date), 0), true
	}
	if c.NoCache {
		return 0, true // it is validated each time anyway
	}
	return r.heuristic(res, c, date)
}

// heuristic estimates the lifetime of a response without an explicit one (§4.2.2).
func (r *Rules) heuristic(res *Response, c *Control, date time.Time) (d time.Duration, known bool) {
	switch {
	case isNegative(res.Status):
		return r.NegativeTTL, r.NegativeTTL > 0
	case res.Status == http.StatusBadRequest:
		return r.NegativeTTL, r.NegativeTTL > 0 && c.Public
	case isTemporaryRedirect(res.Status), !isHeuristic(res.Status) && !c.Public:
		return 0, false // these need an explicit one
	}
	t, ok := ParseDate(res.Header.Get("Last-Modified"))
	if !ok || r.Heuristic <= 0 || res.Query {
		return 0, false
	}
	return min(time.Duration(float64(max(date.Sub(t), 0))*r.Heuristic), maxHeuristic), true
}

// ageZero returns when the age of the response was 0 (§4.2.3).
func (res *Response) ageZero() time.Time {
	now := res.Received
	age := max(Seconds(res.Header["Age"]), 0) + now.Sub(res.RequestTime)
	if date, ok := ParseDate(res.Header.Get("Date")); ok {
		age = max(age, now.Sub(date).Truncate(time.Second))
	}
	return now.Add(-max(age, 0))
}
