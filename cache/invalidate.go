package cache

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// invalidate forgets what an unsafe request changed, if it succeeded (RFC 9111 §4.4): the
// answers of its own address, and those that it names. Other replicas' own copies end
// with their time.
func (x *exchange) invalidate(status int) {
	if x.cfg.HTTP.Off || status >= http.StatusBadRequest || isSafe(x.req.Method) || llm.Of(x.req.Method, x.req.URL.Path) != llm.Unknown {
		return // inference changes nothing
	}
	x.forgetAddress(x.req.URL)
	for _, name := range []string{"Location", "Content-Location"} {
		v := x.w.Header().Get(name)
		if v == "" {
			continue
		}
		u, err := x.req.URL.Parse(v)
		if err == nil && (u.Host == "" || u.Host == x.req.Host) {
			x.forgetAddress(u)
		}
	}
}

func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return true
	}
	return false
}

// forgetAddress forgets the answers of an address: those that are fetched now for
// everybody, and what the store has for this scope.
func (x *exchange) forgetAddress(u *url.URL) {
	s := x.scratches.Get().(*scratch) //nolint:forcetypeassert // the pool holds nothing else
	defer x.giveBack(s)
	x.changed.note(addressKey(s, x.req.Host, u), time.Now())
	y := &exchange{Cache: x.Cache, g: x.g, client: x.client, req: &http.Request{Method: http.MethodGet, URL: u, Host: x.req.Host, Header: x.req.Header}}
	if x.cfg.Scope != nil && !y.findScope(s) {
		return
	}
	y.findVersion()
	s.begin("http", y)
	y.at(s.done())
	ctx := context.WithoutCancel(x.client)
	if err := x.cfg.Store.Delete(ctx, y.key); err != nil {
		x.failed(ctx, err)
	}
}

func addressKey(s *scratch, host string, u *url.URL) string {
	s.reset()
	s.add("address")
	s.add(host)
	s.add(u.EscapedPath())
	s.add(u.RawQuery)
	key := s.done()
	return string(key[:])
}

// wasChanged reports whether the address was changed since an entry was asked for.
func (x *exchange) wasChanged(e *Entry) bool {
	if x.changed.empty() {
		return false
	}
	s := x.scratches.Get().(*scratch) //nolint:forcetypeassert // the pool holds nothing else
	defer x.giveBack(s)
	return !x.changed.since(addressKey(s, x.req.Host, x.req.URL)).Before(e.RequestTime)
}
