package cache

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache/internal/cachekey"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	"github.com/ginfer/ginfer/internal/llm"
)

// passUnrouted calls the handlers for a request without a route, which is not cached: its
// method may be one that a router does not know. It may change what is stored all the same.
func (c *Cache) passUnrouted(g *gin.Context) {
	if c.cfg.HTTP.Off || isSafe(g.Request.Method) {
		g.Next()
		return
	}
	x := &exchange{Cache: c, request: request{start: time.Now(), incoming: g.Request}}
	x.g, x.w, x.ctx, x.options = g, g.Writer, g.Request.Context(), &c.cfg
	g.Next()
	x.invalidate(g.Writer.Status())
}

// invalidate forgets what an unsafe request changed, if it succeeded (RFC 9111 §4.4): the
// responses of its own address and of those that the response names. The copies of other
// replicas expire.
func (x *exchange) invalidate(status int) {
	if x.cfg.HTTP.Off || status >= http.StatusBadRequest || isSafe(x.incoming.Method) || llm.Of(x.incoming.Method, x.incoming.URL.Path) != llm.Unknown {
		return // inference changes nothing
	}
	x.forget(x.incoming.URL)
	for _, name := range []string{"Location", "Content-Location"} {
		v := x.w.Header().Get(name)
		if v == "" {
			continue
		}
		u, err := x.incoming.URL.Parse(v)
		if err == nil && (u.Host == "" || u.Host == x.incoming.Host) {
			x.forget(u)
		}
	}
}

// isSafe reports whether a method changes nothing, as the registry of methods says. An
// unknown one may change something.
func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodConnect, "PROPFIND", "REPORT", "SEARCH", "QUERY", "PRI":
		return true
	}
	return false
}

// forget makes entries of an address unusable, also those that are fetched now, and
// deletes the entry of this scope.
func (x *exchange) forget(u *url.URL) {
	b := x.keys.Get()
	defer x.keys.Put(b)
	x.http.changes.Add(addressKey(b, x.incoming.Host, u), time.Now())
	r := &request{incoming: &http.Request{Method: http.MethodGet, URL: u, Host: x.incoming.Host, Header: x.incoming.Header, TLS: x.incoming.TLS}}
	if x.cfg.Scope != nil && !x.findScope(x.g, r, b) {
		return
	}
	x.findVersion(x.g, r)
	base := x.httpKey(b, r)
	stored, _ := x.generations.key(&base, r)
	ctx := context.WithoutCancel(x.ctx)
	if err := x.cfg.Store.Delete(ctx, stored); err != nil {
		x.failed(ctx, err)
	}
}

func addressKey(b *cachekey.Builder, host string, u *url.URL) string {
	b.Reset()
	b.Add("address")
	b.Add(host)
	b.Add(u.EscapedPath())
	b.Add(u.RawQuery)
	k := b.Sum()
	return string(k[:])
}

// updateByHead updates a stored response by the header of a HEAD, or removes it if the
// upstream has another by now (RFC 9111 §4.3.5). Before is the header before the response.
func (x *exchange) updateByHead(e *Entry, before http.Header) {
	if e == nil || e.Status != http.StatusOK || x.w.Status() != http.StatusOK || cachekey.HasCredentials(x.incoming.Header) {
		return
	}
	head := flight.SharedHeader(x.w.Header(), before)
	delete(head, "Cache-Status")
	ctx := context.WithoutCancel(x.ctx)
	var err error
	if rfc9111.Describes(head, e.Header, len(e.Body)) {
		err = x.cfg.Store.Set(ctx, x.key, x.http.freshen(&x.request, e, head, time.Now()))
	} else {
		err = x.cfg.Store.Delete(ctx, x.key)
	}
	if err != nil {
		x.failed(ctx, err)
	}
}
