package cache

import (
	"net/http"
	"slices"
	"time"

	"github.com/ginfer/ginfer/cache/internal/directive"
)

// maxVary bounds by how many headers an answer may vary.
const maxVary = 16

// maxHeuristic bounds what is guessed.
const maxHeuristic = 24 * time.Hour

// life is for how long an answer may be kept, and for whom.
type life struct {
	reason string // why it may not; "" if it may
	entry  *Entry // without status and body
	vary   []string
}

// assess looks at the head of an answer (RFC 9111 §3 and §4.2).
func (x *exchange) assess(h *head, now time.Time) *life {
	c := directive.Parse(h.header["Cache-Control"])
	l := &life{entry: &Entry{RequestTime: x.start, Header: h.header.Clone(), FetchDuration: now.Sub(x.start)}}
	l.entry.Header.Del("Age")
	l.entry.Header.Del("Content-Length")
	if l.entry.Header.Get("Date") == "" {
		l.entry.Header.Set("Date", now.UTC().Format(http.TimeFormat))
	}
	l.vary = varyOf(h.header)
	l.reason = x.forbidden(h, &c, l.vary)
	x.setTimes(l, h, &c, now)
	return l
}

// forbidden is why an answer must not be stored, by anything but its freshness.
func (x *exchange) forbidden(h *head, c *directive.Control, vary []string) string {
	switch {
	case h.status >= http.StatusInternalServerError || isFailure(h.status) || !isUnderstood(h.status):
		return "status"
	case c.NoStore && !c.MustUnderstand:
		return "no-store"
	case c.Private:
		return "private"
	case h.cookies && !x.cfg.HTTP.StripCookies:
		return "set-cookie"
	case x.hasCredentials() && !c.Public && !c.MustRevalidate && c.SMaxAge == directive.None:
		return "authorization"
	case slices.Contains(vary, "*") || len(vary) > maxVary:
		return "vary"
	}
	return ""
}

// isUnderstood: a status whose meaning for a cache is known here. Partial answers are
// not put together.
func isUnderstood(status int) bool {
	switch status {
	case http.StatusPartialContent, http.StatusNotModified:
		return false
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent, http.StatusMultipleChoices,
		http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
		http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusRequestURITooLong,
		http.StatusUnavailableForLegalReasons:
		return true
	}
	return false
}

// hasCredentials reports whether the request says who asks.
func (x *exchange) hasCredentials() bool {
	h := x.req.Header
	for _, name := range credentials() {
		if len(h[name]) > 0 {
			return true
		}
	}
	return len(h["Cookie"]) > 0 || len(h["Proxy-Authorization"]) > 0
}

// setTimes fills in for how long the answer is of use.
func (x *exchange) setTimes(l *life, h *head, c *directive.Control, now time.Time) {
	e, cfg := l.entry, &x.cfg.HTTP
	e.ResponseTime = born(h.header, x.start, now)
	fresh, known := x.freshness(h, c, now)
	fresh = min(fresh, cfg.MaxTTL)
	e.FreshUntil = e.ResponseTime.Add(fresh)
	e.MustRevalidate = c.MustRevalidate || c.SMaxAge != directive.None
	e.Validate = c.NoCache
	e.StaleWhileRevalidate, e.StaleIfError = cfg.StaleWhileRevalidate, cfg.StaleIfError
	if c.StaleWhileRevalidate != directive.None {
		e.StaleWhileRevalidate = min(c.StaleWhileRevalidate, MaxKeep)
	}
	if c.StaleIfError != directive.None {
		e.StaleIfError = min(c.StaleIfError, MaxKeep)
	}
	if e.MustRevalidate {
		e.StaleWhileRevalidate, e.StaleIfError = 0, 0
	}
	more := max(e.StaleWhileRevalidate, e.StaleIfError)
	if validators := h.header.Get("ETag") != "" || h.header.Get("Last-Modified") != ""; validators {
		more = max(more, cfg.KeepStale)
	}
	e.ExpiresAt = e.FreshUntil.Add(more)
	if latest := now.Add(MaxKeep); e.ExpiresAt.After(latest) {
		e.ExpiresAt = latest
	}
	switch {
	case l.reason != "":
	case !known && (!c.Public || more == 0):
		l.reason = "no-freshness"
	case !now.Before(e.ExpiresAt) || e.Validate && more == 0:
		l.reason = "stale"
	}
}

// freshness is for how long an answer is fresh, from when it was made (RFC 9111 §4.2.1).
// Known: it says so, or it may be guessed.
func (x *exchange) freshness(h *head, c *directive.Control, now time.Time) (d time.Duration, known bool) {
	switch {
	case c.SMaxAge != directive.None:
		return c.SMaxAge, true
	case c.MaxAge != directive.None:
		return c.MaxAge, true
	}
	date := now
	if t, err := http.ParseTime(h.header.Get("Date")); err == nil {
		date = t
	}
	if expires := h.header["Expires"]; len(expires) > 0 {
		t, err := http.ParseTime(expires[0])
		if err != nil || len(expires) > 1 {
			return 0, true // an odd one has passed
		}
		return max(t.Sub(date), 0), true
	}
	if c.NoCache {
		return 0, true // it is asked for each time anyway
	}
	return x.guess(h, c, date)
}

// guess is for how long an answer is fresh that does not say.
func (x *exchange) guess(h *head, c *directive.Control, date time.Time) (d time.Duration, known bool) {
	cfg := &x.cfg.HTTP
	switch h.status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusRequestURITooLong:
		return cfg.NegativeTTL, cfg.NegativeTTL > 0
	case http.StatusBadRequest:
		return cfg.NegativeTTL, cfg.NegativeTTL > 0 && c.Public
	case http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect:
		return 0, false // these must say
	}
	t, err := http.ParseTime(h.header.Get("Last-Modified"))
	if err != nil || cfg.Heuristic <= 0 || x.req.URL.RawQuery != "" {
		return 0, false
	}
	return min(time.Duration(float64(max(date.Sub(t), 0))*cfg.Heuristic), maxHeuristic), true
}

// born is when an answer's age began (RFC 9111 §4.2.3).
func born(h http.Header, asked, now time.Time) time.Time {
	age := max(directive.Seconds(h["Age"]), 0) + now.Sub(asked)
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		age = max(age, now.Sub(date).Truncate(time.Second))
	}
	return now.Add(-max(age, 0))
}

// varyOf are the request headers that an answer depends on. One that is packed depends on
// what may be packed, whether it says so or not.
func varyOf(h http.Header) []string {
	names := directive.Names(h["Vary"])
	if len(h["Content-Encoding"]) > 0 {
		names = append(names, "Accept-Encoding")
	}
	slices.Sort(names)
	return slices.Compact(names)
}
