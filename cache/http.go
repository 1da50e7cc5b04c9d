package cache

import (
	"net/http"
	"slices"
	"time"

	"github.com/ginfer/ginfer/cache/internal/cachekey"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/ginfer/ginfer/cache/internal/recent"
	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	"github.com/ginfer/ginfer/internal/upgrade"
)

// unsharedFor is how long requests of a key with an unshareable response are not
// coalesced: until then none waits for another's response in vain.
const unsharedFor = 10 * time.Second

// httpPolicy is the policy for GET and HEAD (RFC 9111, for a shared cache).
type httpPolicy struct {
	cfg      *Config
	rules    rfc9111.Rules
	keys     *cachekey.Pool
	variants func(r *request, vary []string, mark string) (key, shown string)

	unshared recent.Times // by key
	changes  recent.Times // by address
}

func newHTTPPolicy(c *Cache) *httpPolicy {
	h := &c.cfg.HTTP
	return &httpPolicy{
		cfg: &c.cfg, keys: &c.keys, variants: c.variantKey,
		rules: rfc9111.Rules{
			Heuristic: h.Heuristic, MaxTTL: h.MaxTTL, NegativeTTL: h.NegativeTTL, StaleWhileRevalidate: h.StaleWhileRevalidate,
			StaleIfError: h.StaleIfError, KeepStale: h.KeepStale, MaxKeep: MaxKeep, StripCookies: h.StripCookies,
		},
	}
}

func (*httpPolicy) String() string { return "http" }

// planHTTP plans a GET or a HEAD.
func (x *exchange) planHTTP(b *cachekey.Builder) (reason string, err error) {
	x.policy, x.conditional = x.http, true
	req := x.incoming
	h := req.Header
	switch {
	case upgrade.Requested(req):
		return "upgrade", nil
	case req.ContentLength != 0 || len(req.TransferEncoding) > 0:
		return "body", nil // the key does not include it
	case len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0:
		return "precondition", nil
	}
	x.ranged = isRangeRequest(req)
	if !x.ranged && len(h["Range"]) > 0 && req.Method == http.MethodGet {
		return "range", nil
	}
	x.control = rfc9111.NoControl()
	if !x.cfg.HTTP.IgnoreRequest {
		x.control = rfc9111.ParseRequest(h)
	}
	if x.control.NoStore {
		x.status.Forward = "request"
		return "no-store", nil
	}
	if x.cfg.Scope != nil && !x.findScope(x.g, &x.request, b) {
		return "no-scope", nil
	}
	x.findVersion(x.g, &x.request)
	x.setKey(x.httpKey(b, &x.request))
	return "", nil
}

// httpKey returns the key of a GET: unlike a model's response, that of another host or
// scheme is another.
func (c *Cache) httpKey(b *cachekey.Builder, r *request) cachekey.Key {
	c.beginKey(b, "http", r)
	b.Add(r.incoming.Host)
	if r.incoming.TLS != nil {
		b.Add("https")
	}
	return b.Sum()
}

func (p *httpPolicy) judge(r *request, e *Entry, now time.Time) (verdict, error) {
	if p.changedSince(r, e.RequestTime) {
		return verdict{}, nil
	}
	life := rfc9111.Lifetime{
		ResponseTime: e.ResponseTime, FreshUntil: e.FreshUntil, ExpiresAt: e.ExpiresAt,
		StaleWhileRevalidate: e.StaleWhileRevalidate, StaleIfError: e.StaleIfError,
		Validate: e.Validate, MustRevalidate: e.MustRevalidate,
	}
	switch life.Reuse(&r.control, now) {
	case rfc9111.Fresh:
		return verdict{use: true, refresh: refreshEarly(p.cfg, e, now)}, nil
	case rfc9111.AllowedStale:
		return verdict{use: true, detail: "stale"}, nil
	case rfc9111.StaleWhileRevalidate:
		return verdict{use: true, refresh: true, detail: "stale-while-revalidate"}, nil
	case rfc9111.MustValidate:
	}
	return verdict{validate: true}, nil
}

func (*httpPolicy) render(r *request, e *Entry, now time.Time) (reply, bool) {
	a := e.reply(now)
	if r.notModified(e.Status, e.Header) {
		a.status, a.header, a.body = http.StatusNotModified, rfc9111.NotModifiedHeader(e.Header), nil
	}
	if r.ranged {
		return ranges(r.incoming, a)
	}
	return a, true
}

func (p *httpPolicy) fits(r *request, of *shared, _ *flight.Head) flight.Outcome {
	if of.key == "" {
		return flight.Live
	}
	if key, _ := p.variants(r, of.vary, of.variant); key != of.key {
		return flight.Again
	}
	r.vary = of.vary
	return flight.Live
}

// outgoing requests the whole response, or the validation of a stale one: the conditions
// of the client are for the cache.
func (*httpPolicy) outgoing(r *request, stale *Entry) *http.Request {
	req := r.incoming.Clone(r.incoming.Context())
	var stored http.Header
	if stale != nil {
		stored = stale.Header
	}
	rfc9111.SetConditions(req.Header, stored)
	return req
}

func (p *httpPolicy) admit(r *request, res *response) admission {
	a := admission{share: flight.Live}
	a.entry, a.reason = p.assess(r, res.Head, time.Now())
	switch {
	case a.reason != "" && isFailure(res.Status) && !cachekey.HasCredentials(r.incoming.Header):
		a.share = flight.Failed
		return a
	case a.reason != "":
		p.unshared.Add(r.key, time.Now().Add(unsharedFor))
		a.share = flight.Alone
		return a
	}
	p.unshared.Remove(r.key)
	a.vary = rfc9111.Vary(res.Header)
	a.varies = len(a.vary) > 0 || len(r.vary) > 0
	return a
}

func (*httpPolicy) conclude(_ *request, res *response) (e *Entry, reason string) {
	res.entry.Status, res.entry.Body = res.Status, res.body
	return res.entry, ""
}

// assess returns the entry for the head of a response, and why it must not be stored.
func (p *httpPolicy) assess(r *request, head *flight.Head, now time.Time) (e *Entry, reason string) {
	life, reason := p.rules.Assess(&rfc9111.Response{
		Status: head.Status, Header: head.Header, SetCookie: head.SetCookie,
		Authorized: cachekey.HasCredentials(r.incoming.Header), Query: r.incoming.URL.RawQuery != "",
		RequestTime: r.start, Received: now,
	})
	return &Entry{
		Header: rfc9111.StoredHeader(head.Header, now), RequestTime: r.start, FetchDuration: now.Sub(r.start),
		ResponseTime: life.ResponseTime, FreshUntil: life.FreshUntil, ExpiresAt: life.ExpiresAt,
		StaleWhileRevalidate: life.StaleWhileRevalidate, StaleIfError: life.StaleIfError,
		Validate: life.Validate, MustRevalidate: life.MustRevalidate,
	}, reason
}

// freshen returns a stale entry after the upstream confirmed it (RFC 9111 §4.3.4).
func (p *httpPolicy) freshen(r *request, stale *Entry, update http.Header, now time.Time) *Entry {
	head := flight.Head{Status: stale.Status, Header: rfc9111.Freshen(stale.Header, update, now)}
	e, reason := p.assess(r, &head, now)
	e.Status, e.Body = stale.Status, stale.Body
	if reason != "" { // it is valid now, and no longer
		e.FreshUntil, e.ExpiresAt = now, now
	}
	return e
}

// changedSince reports whether the address was changed after an entry was requested.
func (p *httpPolicy) changedSince(r *request, requested time.Time) bool {
	if p.changes.Empty() {
		return false
	}
	b := p.keys.Get()
	defer p.keys.Put(b)
	return !p.changes.Latest(addressKey(b, r.incoming.Host, r.incoming.URL)).Before(requested)
}

// toVariant sets the key of the variant that a note leads to. It reports whether that is
// another key.
func (x *exchange) toVariant(note *Entry) bool {
	if len(x.vary) > 0 && x.variant == note.Mark && slices.Equal(x.vary, note.Vary) {
		return false
	}
	x.vary, x.variant = note.Vary, note.Mark
	x.key, x.status.Key = x.variantKey(&x.request, note.Vary, note.Mark)
	return true
}

// variantKey returns the key of a request's variant, in the store and to show.
func (c *Cache) variantKey(r *request, vary []string, mark string) (key, shown string) {
	b := c.keys.Get()
	defer c.keys.Put(b)
	b.Reset()
	b.Add("variant")
	b.AddBytes(r.base[:])
	b.Add(mark)
	b.AddVariant(r.incoming, vary)
	base := b.Sum()
	return c.generations.key(&base, r)
}
