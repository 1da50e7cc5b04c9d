package cache

import (
	"net/http"
	"time"

	"github.com/ginfer/ginfer/cache/internal/directive"
)

// httpPolicy is the policy for GET and HEAD (RFC 9111, for a shared cache).
type httpPolicy struct{}

func (*httpPolicy) String() string { return "http" }

// planHTTP looks at a GET or a HEAD. A reason says that it is not cached.
func (x *exchange) planHTTP(s *scratch) (reason string, err error) {
	x.policy = x.http
	h := x.req.Header
	switch {
	case upgrades(x.req):
		return "upgrade", nil
	case x.req.ContentLength != 0 || len(x.req.TransferEncoding) > 0:
		return "body", nil // a part of the request that the key does not have
	case len(h["Range"]) > 0:
		return "range", nil
	case len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0 || len(h["If-Range"]) > 0:
		return "precondition", nil
	}
	x.control = directive.Empty()
	if !x.cfg.HTTP.IgnoreRequest {
		x.control = requestControl(h)
	}
	if x.control.NoStore {
		x.status.Forward = "request"
		return "no-store", nil
	}
	if x.cfg.Scope != nil && !x.findScope(s) {
		return "no-scope", nil
	}
	x.findVersion()
	s.begin("http", x)
	x.base = s.done()
	x.at(x.base)
	return "", nil
}

func requestControl(h http.Header) directive.Control {
	if cc := h["Cache-Control"]; len(cc) > 0 {
		return directive.Parse(cc)
	}
	c := directive.Empty()
	if p := h["Pragma"]; len(p) > 0 { // of HTTP/1.0
		c.NoCache = directive.Parse(p).NoCache
	}
	return c
}

// judge follows RFC 9111 §4.2 and §5.2.1, and RFC 5861.
func (*httpPolicy) judge(x *exchange, e *Entry, now time.Time) (verdict, error) {
	if x.wasChanged(e) {
		return useless, nil
	}
	c := &x.control
	left, age := e.FreshUntil.Sub(now), now.Sub(e.ResponseTime)
	switch {
	case e.Validate || c.NoCache:
		return validate, nil
	case c.MaxAge != directive.None && age > c.MaxAge:
		return validate, nil
	case left > 0 && c.MinFresh != directive.None && left < c.MinFresh:
		return validate, nil
	case left > 0 && x.early(e, now):
		return useAndRefresh, nil
	case left > 0:
		return use, nil
	case e.MustRevalidate:
		return validate, nil
	case c.MaxStale != directive.None && -left <= c.MaxStale:
		x.status.Detail = "stale"
		return use, nil
	case c.MinFresh == directive.None && -left < e.StaleWhileRevalidate:
		x.status.Detail = "stale-while-revalidate"
		return useAndRefresh, nil
	}
	return validate, nil
}

func (*httpPolicy) render(x *exchange, e *Entry, now time.Time) (rendered, bool) {
	a := rendered{status: e.Status, header: e.Header, body: e.Body, age: max(now.Sub(e.ResponseTime), 0)}
	if x.notModified(e.Status, e.Header) {
		a.status, a.header, a.body = http.StatusNotModified, ofNotModified(e.Header), nil
	}
	return a, true
}

func (*httpPolicy) fits(x *exchange, f *flight) outcome {
	if f.name == "" {
		return live
	}
	if name, _ := x.variantKey(f.about.vary, f.about.variant); name != f.name {
		return again
	}
	x.vary = f.about.vary
	return live
}

// outgoing asks for all of the answer, or whether the stale one still holds: what the
// client has of its own is the cache's to compare.
func (*httpPolicy) outgoing(x *exchange, stale *Entry) *http.Request {
	req := x.req.Clone(x.req.Context())
	req.Header.Del("If-None-Match")
	req.Header.Del("If-Modified-Since")
	if stale == nil {
		return req
	}
	if tag := stale.Header.Get("ETag"); tag != "" {
		req.Header.Set("If-None-Match", tag)
	}
	if modified := stale.Header.Get("Last-Modified"); modified != "" {
		req.Header.Set("If-Modified-Since", modified)
	}
	return req
}

// lonelyFor is how long a key is remembered whose answers are each client's own: until
// then nobody waits for another's answer in vain.
const lonelyFor = 10 * time.Second

func (*httpPolicy) admit(x *exchange, f *flight, h *head) (share outcome, reason string) {
	x.life = x.assess(h, time.Now())
	reason = x.life.reason
	switch {
	case isFailure(h.status) && !x.hasCredentials():
		return failed, reason
	case reason != "":
		x.lonely.note(x.key, time.Now().Add(lonelyFor))
		return alone, reason
	}
	x.lonely.forget(x.key)
	if len(x.life.vary) > 0 || len(x.vary) > 0 {
		x.splitByVary(f)
	}
	return live, ""
}

func (*httpPolicy) conclude(x *exchange, f *flight, body []byte) (e *Entry, reason string) {
	e = x.life.entry
	e.Status, e.Body = f.head.status, body
	return e, ""
}

// freshen is a stale entry after the upstream said that it still holds (RFC 9111 §4.3.4).
func freshen(x *exchange, stale *Entry, update http.Header, now time.Time) *Entry {
	header := stale.Header.Clone()
	header.Set("Date", now.UTC().Format(http.TimeFormat)) // unless it says another
	for name, values := range update {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Range", "Content-Type":
		default:
			header[name] = values
		}
	}
	l := x.assess(&head{status: stale.Status, header: header}, now)
	e := l.entry
	e.Status, e.Body = stale.Status, stale.Body
	if l.reason != "" { // it is true now, and not for longer
		e.FreshUntil, e.ExpiresAt = now, now
	}
	return e
}
