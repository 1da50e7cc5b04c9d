package cache_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
)

// step is one request of a case, after a pause, and its response.
type step struct {
	after  time.Duration
	method string // default GET
	target string // default /
	header []string
	mark   string // contained in Cache-Status
	body   string // the number of the upstream's call
	code   int    // default 200
	calls  int64  // so far; 0: not checked
	want   []string
}

// rfcCase is a case of the conformance table: the response of the upstream, and those to
// a sequence of requests.
type rfcCase struct {
	name  string
	cfg   cache.Config
	code  int
	give  []string // the upstream's header
	serve func(u *upstream) gin.HandlerFunc
	steps []step
}

const sec = time.Second

// httpDate is a date in the time of the bubble.
func httpDate(ago time.Duration) string { return time.Now().Add(-ago).UTC().Format(http.TimeFormat) }

func heuristic() cache.Config { return cache.Config{HTTP: cache.HTTP{Heuristic: 0.1}} }

// rfc9111 is the table. The names begin with the section.
func rfc9111() []rfcCase {
	miss, hit := "fwd=uri-miss", "; hit"
	return []rfcCase{
		{name: "3 storing: nothing says that it may be", steps: []step{{mark: miss, body: "1"}, {mark: miss, body: "2"}}},
		{name: "3 storing: any final status with an explicit lifetime", code: 418, give: []string{"Cache-Control", "max-age=60"}, steps: []step{{code: 418, body: "1"}, {code: 418, body: "1", mark: hit}}},
		{name: "3 storing: a status that must be understood", code: 418, give: []string{"Cache-Control", "max-age=60, must-understand"}, steps: []step{{code: 418, body: "1"}, {code: 418, body: "2"}}},
		{name: "3 storing: POST is not", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{method: "PUT", mark: "fwd=method", body: "1"}, {mark: miss, body: "2"}}},
		{name: "3 storing: an error of the server with an explicit lifetime", code: 503, give: []string{"Cache-Control", "max-age=60"}, steps: []step{{code: 503, body: "1"}, {code: 503, body: "1", mark: hit, calls: 1}, {after: 61 * sec, code: 503, body: "2"}}},
		{name: "3 storing: no error of the server without one", code: 503, cfg: heuristic(), give: []string{"Last-Modified", "Mon, 05 Jan 1998 15:04:05 GMT"}, steps: []step{{code: 503}, {code: 503, calls: 2}}},
		{name: "3 storing: not 429", code: 429, give: []string{"Cache-Control", "max-age=60"}, steps: []step{{code: 429}, {code: 429, calls: 2}}},
		{name: "3.3 incomplete: partial content", code: 206, give: []string{"Cache-Control", "max-age=60"}, steps: []step{{code: 206, body: "1"}, {code: 206, body: "2"}}},
		{name: "3.5 authorization: not kept", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{header: []string{"Authorization", "Bearer a"}, body: "1"}, {header: []string{"Authorization", "Bearer a"}, body: "2"}, {body: "3"}}},
		{name: "3.5 authorization: public", give: []string{"Cache-Control", "max-age=60, public"}, steps: []step{{header: []string{"Authorization", "Bearer a"}, body: "1"}, {body: "1", mark: hit}}},
		{name: "3.5 authorization: s-maxage", give: []string{"Cache-Control", "s-maxage=60"}, steps: []step{{header: []string{"Authorization", "Bearer a"}, body: "1"}, {body: "1", mark: hit}}},
		{name: "3.5 authorization: must-revalidate", give: []string{"Cache-Control", "max-age=60, must-revalidate"}, steps: []step{{header: []string{"Authorization", "Bearer a"}, body: "1"}, {body: "1", mark: hit}}},
		{name: "3.5 other credentials", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{header: []string{"X-Api-Key", "a"}, body: "1"}, {header: []string{"Cookie", "a=b"}, body: "2"}, {body: "3"}}},
		{name: "4.1 Vary", give: []string{"Cache-Control", "max-age=60", "Vary", "Accept-Language"}, steps: []step{
			{header: []string{"Accept-Language", "de"}, body: "1"},
			{header: []string{"Accept-Language", "en"}, body: "2", mark: "fwd=vary-miss"},
			{header: []string{"Accept-Language", "de"}, body: "1", mark: hit},
			{header: []string{"Accept-Language", "en"}, body: "2", mark: hit},
			{body: "3"},
			{body: "3", mark: hit},
		}},
		{name: "4.1 Vary, two fields", give: []string{"Cache-Control", "max-age=60", "Vary", "x-a, X-B"}, steps: []step{
			{header: []string{"X-A", "1", "X-B", "2"}, body: "1"},
			{header: []string{"X-A", "1"}, body: "2"},
			{header: []string{"X-B", "2", "X-A", "1"}, body: "1", mark: hit},
			{header: []string{"X-A", "2", "X-B", "1"}, body: "3"},
		}},
		{name: "4.1 Vary: *", give: []string{"Cache-Control", "max-age=60", "Vary", "*"}, steps: []step{{body: "1"}, {body: "2"}}},
		{name: "4.1 an encoded response varies", give: []string{"Cache-Control", "max-age=60", "Content-Encoding", "x"}, steps: []step{{header: []string{"Accept-Encoding", "x"}, body: "1"}, {body: "2"}, {header: []string{"Accept-Encoding", "x"}, body: "1"}}},
		{name: "4.2 fresh and then not", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {after: 59 * sec, body: "1", mark: "hit; ttl=1"}, {after: sec, body: "2", mark: miss}}},
		{name: "4.2.1 s-maxage before max-age", give: []string{"Cache-Control", "max-age=1, s-maxage=60"}, steps: []step{{body: "1"}, {after: 30 * sec, body: "1"}}},
		{name: "4.2.1 max-age before Expires", give: []string{"Cache-Control", "max-age=60", "Expires", "0"}, steps: []step{{body: "1"}, {after: 30 * sec, body: "1"}}},
		{name: "4.2.1 Expires", serve: func(u *upstream) gin.HandlerFunc {
			return func(c *gin.Context) {
				c.Header("Expires", httpDate(-time.Minute))
				c.String(200, "%d", u.calls.Load())
			}
		}, steps: []step{{body: "1"}, {after: 59 * sec, body: "1"}, {after: 2 * sec, body: "2"}}},
		{name: "4.2.1 Expires that is odd has passed", give: []string{"Expires", "0"}, steps: []step{{body: "1"}, {body: "2"}}},
		{name: "4.2.1 a max-age that is odd", give: []string{"Cache-Control", "max-age=sixty"}, steps: []step{{body: "1"}, {body: "2"}}},
		{name: "4.2.2 no heuristic by default", serve: modified(100 * sec), steps: []step{{body: "1"}, {body: "2"}}},
		{name: "4.2.2 heuristic", cfg: heuristic(), serve: modified(100 * sec), steps: []step{{body: "1"}, {after: 9 * sec, body: "1"}, {after: 2 * sec, body: "2"}}},
		{name: "4.2.2 no heuristic for a query", cfg: heuristic(), serve: modified(100 * sec), steps: []step{{target: "/?a", body: "1"}, {target: "/?a", body: "2"}}},
		{name: "4.2.2 404 for a short while", code: 404, steps: []step{{code: 404, body: "1"}, {after: 4 * sec, code: 404, body: "1", mark: hit}, {after: sec, code: 404, body: "2"}}},
		{name: "4.2.2 404, off", code: 404, cfg: cache.Config{HTTP: cache.HTTP{NegativeTTL: -1}}, steps: []step{{code: 404, body: "1"}, {code: 404, body: "2"}}},
		{name: "4.2.2 400 only if public", code: 400, steps: []step{{code: 400, body: "1"}, {code: 400, body: "2"}}},
		{name: "4.2.2 400 that is public", code: 400, give: []string{"Cache-Control", "public"}, steps: []step{{code: 400, body: "1"}, {code: 400, body: "1"}}},
		{name: "4.2.3 Age", give: []string{"Cache-Control", "max-age=60", "Age", "50"}, steps: []step{{body: "1"}, {after: 9 * sec, body: "1", want: []string{"Age", "59"}}, {after: sec, body: "2"}}},
		{name: "4.2.3 Date", serve: func(u *upstream) gin.HandlerFunc {
			return func(c *gin.Context) {
				c.Header("Date", httpDate(50*sec))
				c.Header("Cache-Control", "max-age=60")
				c.String(200, "%d", u.calls.Load())
			}
		}, steps: []step{{body: "1"}, {after: 9 * sec, body: "1", want: []string{"Age", "59"}}, {after: sec, body: "2"}}},
		{name: "4.2.4 stale only if allowed", give: []string{"Cache-Control", "max-age=10"}, steps: []step{{body: "1"}, {after: 11 * sec, body: "2"}}},
		{name: "4.3 validation", serve: validated(`"v1"`), steps: []step{{body: "1"}, {after: 11 * sec, body: "1", mark: "fwd=stale; fwd-status=304", calls: 2}, {after: 9 * sec, body: "1", mark: hit}}},
		{name: "4.3 a new version", serve: validated(`"v1"`, `"v2"`), steps: []step{{body: "1"}, {after: 11 * sec, body: "2", mark: "fwd=stale"}, {after: 9 * sec, body: "2", mark: hit}}},
		{name: "4.3.2 If-None-Match of the client", give: []string{"Cache-Control", "max-age=60", "ETag", `"a"`}, steps: []step{
			{header: []string{"If-None-Match", `"b", W/"a"`}, code: 304}, {header: []string{"If-None-Match", `"a"`}, code: 304, mark: hit}, {header: []string{"If-None-Match", `*`}, code: 304}, {header: []string{"If-None-Match", `"b"`}, body: "1", mark: hit}, {body: "1", calls: 1},
		}},
		{name: "4.3.2 If-Modified-Since of the client", cfg: heuristic(), serve: modified(1000 * sec), steps: []step{{body: "1"}, {header: []string{"If-Modified-Since", "now"}, code: 304}, {header: []string{"If-Modified-Since", "Mon, 05 Jan 1998 15:04:05 GMT"}, body: "1", calls: 1}}},
		{name: "4.3.2 If-None-Match comes first", cfg: heuristic(), serve: modified(1000 * sec), steps: []step{{body: "1"}, {header: []string{"If-Modified-Since", "now", "If-None-Match", `"x"`}, body: "1"}}},
		{name: "4.3.5 HEAD from a GET", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{method: "HEAD", mark: "fwd=method", calls: 1}, {body: "2"}, {method: "HEAD", mark: hit, calls: 2, want: []string{"Content-Length", "1"}}}},
		{name: "4.4 invalidation", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {method: "PUT", body: "2"}, {body: "3", mark: miss}, {method: "DELETE", body: "4"}, {after: time.Millisecond, body: "5"}, {target: "/other", body: "6"}, {body: "5", mark: hit}}},
		{name: "4.4 no invalidation by an error", serve: func(u *upstream) gin.HandlerFunc {
			return func(c *gin.Context) {
				if c.Request.Method == http.MethodPost {
					c.Status(400)
					return
				}
				c.Header("Cache-Control", "max-age=60")
				c.String(200, "%d", u.calls.Load())
			}
		}, steps: []step{{body: "1"}, {method: "POST", code: 400}, {body: "1", mark: hit}}},
		{name: "4.4 invalidation by Location", serve: func(u *upstream) gin.HandlerFunc {
			return func(c *gin.Context) {
				c.Header("Cache-Control", "max-age=60")
				c.Header("Location", "/item")
				c.String(200, "%d", u.calls.Load())
			}
		}, steps: []step{{target: "/item", body: "1"}, {method: "PUT", target: "/list", body: "2"}, {target: "/item", body: "3"}}},
		{name: "5.2.1.1 max-age of the request", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {after: 10 * sec, header: []string{"Cache-Control", "max-age=10"}, body: "1"}, {after: sec, header: []string{"Cache-Control", "max-age=10"}, body: "2"}}},
		{name: "5.2.1.2 max-stale", give: []string{"Cache-Control", "max-age=10", "ETag", `"a"`}, steps: []step{{body: "1"}, {after: 15 * sec, header: []string{"Cache-Control", "max-stale=5"}, body: "1", mark: "hit; ttl=-5"}, {after: sec, header: []string{"Cache-Control", "max-stale=5"}, body: "2"}}},
		{name: "5.2.1.2 max-stale without end", give: []string{"Cache-Control", "max-age=10", "ETag", `"a"`}, steps: []step{{body: "1"}, {after: 100 * sec, header: []string{"Cache-Control", "max-stale"}, body: "1"}}},
		{name: "5.2.1.3 min-fresh", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {after: 50 * sec, header: []string{"Cache-Control", "min-fresh=10"}, body: "1"}, {after: sec, header: []string{"Cache-Control", "min-fresh=10"}, body: "2"}}},
		{name: "5.2.1.4 no-cache", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {header: []string{"Cache-Control", "no-cache"}, body: "2"}, {body: "2", mark: hit}}},
		{name: "5.4 Pragma", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {header: []string{"Pragma", "no-cache"}, body: "2"}}},
		{name: "5.2.1.5 no-store", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{header: []string{"Cache-Control", "no-store"}, body: "1", mark: "fwd=request"}, {body: "2"}}},
		{name: "5.2.1.7 only-if-cached", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{header: []string{"Cache-Control", "only-if-cached"}, code: 504}, {body: "1"}, {header: []string{"Cache-Control", "only-if-cached"}, body: "1", mark: hit}}},
		{name: "5.2.1 ignored", cfg: cache.Config{HTTP: cache.HTTP{IgnoreRequest: true}}, give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {header: []string{"Cache-Control", "no-cache"}, body: "1"}, {header: []string{"Pragma", "no-cache"}, body: "1"}}},
		{name: "5.2.2.2 must-revalidate forbids stale", give: []string{"Cache-Control", "max-age=10, must-revalidate, stale-while-revalidate=60", "ETag", `"a"`}, steps: []step{{body: "1"}, {after: 11 * sec, header: []string{"Cache-Control", "max-stale"}, body: "2"}}},
		{name: "5.2.2.10 so does s-maxage", give: []string{"Cache-Control", "s-maxage=10", "ETag", `"a"`}, steps: []step{{body: "1"}, {after: 11 * sec, header: []string{"Cache-Control", "max-stale"}, body: "2"}}},
		{name: "5.2.2.3 must-understand", give: []string{"Cache-Control", "max-age=60, no-store, must-understand"}, steps: []step{{body: "1"}, {body: "1"}}},
		{name: "5.2.2.4 no-cache revalidates each time", serve: validated(`"v1"`), cfg: cache.Config{}, steps: []step{{target: "/no-cache", body: "1"}, {target: "/no-cache", body: "1", mark: "fwd=stale; fwd-status=304", calls: 2}}},
		{name: "5.2.2.4 no-cache without validator", give: []string{"Cache-Control", "no-cache"}, steps: []step{{body: "1"}, {body: "2"}}},
		{name: "5.2.2.4 no-cache of one field", give: []string{"Cache-Control", `max-age=60, no-cache="x"`}, steps: []step{{body: "1"}, {body: "2"}}},
		{name: "5.2.2.5 no-store", give: []string{"Cache-Control", "max-age=60, no-store"}, steps: []step{{body: "1"}, {body: "2"}}},
		{name: "5.2.2.7 private", give: []string{"Cache-Control", "max-age=60, private"}, steps: []step{{body: "1"}, {body: "2"}}},
		{name: "5.2.2.7 private of one field", give: []string{"Cache-Control", `max-age=60, private="x"`}, steps: []step{{body: "1"}, {body: "2"}}},
		{name: "7.3 a cookie is not kept", give: []string{"Cache-Control", "max-age=60", "Set-Cookie", "a=b"}, steps: []step{{body: "1"}, {body: "2"}}},
		{name: "7.3 stripped of its cookie", cfg: cache.Config{HTTP: cache.HTTP{StripCookies: true}}, give: []string{"Cache-Control", "max-age=60", "Set-Cookie", "a=b"}, steps: []step{{body: "1"}, {body: "1", want: []string{"Set-Cookie", ""}}}},
		{name: "3.1 fields of a connection are not kept", give: []string{"Cache-Control", "max-age=60", "Connection", "X-Hop", "X-Hop", "1", "X-End", "2"}, steps: []step{{body: "1"}, {body: "1", want: []string{"X-Hop", "", "Connection", "", "X-End", "2"}}}},
		{name: "ranges pass if nothing is stored", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{header: []string{"Range", "bytes=0-0"}, body: "1", mark: "detail=range"}, {body: "2", mark: miss}, {after: 61 * sec, header: []string{"Range", "bytes=0-0"}, body: "3", mark: "detail=range"}}},
		{name: "ranges of another unit pass", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {header: []string{"Range", "items=0-0"}, body: "2", mark: "detail=range"}}},
		{name: "RFC 9213 CDN-Cache-Control", give: []string{"Cache-Control", "no-store", "Expires", "0", "CDN-Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {after: 59 * sec, body: "1", mark: hit, want: []string{"Cache-Control", "no-store", "CDN-Cache-Control", "max-age=60"}}, {after: 2 * sec, body: "2"}}},
		{name: "RFC 9213 CDN-Cache-Control: private", give: []string{"Cache-Control", "max-age=60", "CDN-Cache-Control", "private"}, steps: []step{{body: "1"}, {body: "2"}}},
		{name: "RFC 9213 credentials", give: []string{"Cache-Control", "max-age=60, public", "CDN-Cache-Control", "max-age=60"}, steps: []step{{header: []string{"Authorization", "Bearer a"}, body: "1"}, {body: "2"}}},
		{name: "4.4 unknown methods", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {method: "M-SEARCH", body: "2"}, {body: "3", mark: miss}, {method: "PROPPATCH", body: "4"}, {after: time.Millisecond, body: "5", mark: miss}, {method: "FROB", body: "6"}, {after: time.Millisecond, body: "7", mark: miss}, {method: "PROPFIND", body: "8"}, {body: "7", mark: hit}, {method: "REPORT", body: "9"}, {body: "7", mark: hit}}},
		{name: "preconditions pass", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {header: []string{"If-Match", `"a"`}, body: "2"}}},
		{name: "max TTL", cfg: cache.Config{HTTP: cache.HTTP{MaxTTL: 10 * sec}}, give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {after: 11 * sec, body: "2"}}},
		{name: "off", cfg: cache.Config{HTTP: cache.HTTP{Off: true}}, give: []string{"Cache-Control", "max-age=60"}, steps: []step{{body: "1"}, {body: "2", mark: "detail=off"}}},
		{name: "OPTIONS", give: []string{"Cache-Control", "max-age=60"}, steps: []step{{method: "OPTIONS", mark: "fwd=method", body: "1"}, {method: "OPTIONS", body: "2"}}},
	}
}

// modified responds with a Last-Modified.
func modified(ago time.Duration) func(*upstream) gin.HandlerFunc {
	return func(u *upstream) gin.HandlerFunc {
		return func(c *gin.Context) {
			c.Header("Last-Modified", httpDate(ago))
			c.String(200, "%d", u.calls.Load())
		}
	}
}

// validated responds with one version after another, fresh for 10 s, or with 304.
func validated(tags ...string) func(*upstream) gin.HandlerFunc {
	return func(u *upstream) gin.HandlerFunc {
		return func(c *gin.Context) {
			n := u.calls.Load()
			tag := tags[min(int(n), len(tags))-1]
			c.Header("ETag", tag)
			c.Header("Cache-Control", "max-age=10")
			if c.Request.URL.Path == "/no-cache" {
				c.Header("Cache-Control", "no-cache")
			}
			if c.GetHeader("If-None-Match") == tag {
				c.Status(http.StatusNotModified)
				return
			}
			c.String(200, "%d", n)
		}
	}
}

func TestRFC9111(t *testing.T) {
	t.Parallel()
	for _, tt := range rfc9111() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tt.cfg.Beta = -1
				u := &upstream{}
				if tt.serve != nil {
					u.handle = tt.serve(u)
				} else {
					u = responds(orElse(tt.code, 200), "%d", tt.give...)
				}
				r := app(newCache(t, tt.cfg), u.serve)
				for i, s := range tt.steps {
					time.Sleep(s.after)
					s.check(t, fmt.Sprint("step ", i+1), s.send(r), u)
				}
			})
		})
	}
}

func orElse(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

func (s step) send(r http.Handler) *httptest.ResponseRecorder {
	method, target := "GET", "/"
	if s.method != "" {
		method = s.method
	}
	if s.target != "" {
		target = s.target
	}
	req := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(s.header); i += 2 {
		v := s.header[i+1]
		if v == "now" {
			v = httpDate(0)
		}
		req.Header.Set(s.header[i], v)
	}
	return do(r, req)
}

// isRouted reports whether Gin's Any has the method.
func isRouted(method string) bool {
	switch method {
	case "M-SEARCH", "PROPPATCH", "PROPFIND", "REPORT", "FROB":
		return false
	}
	return true
}

func (s step) check(t *testing.T, name string, w *httptest.ResponseRecorder, u *upstream) {
	t.Helper()
	assert.Equal(t, orElse(s.code, 200), w.Code, name)
	if isRouted(s.method) {
		assert.Contains(t, status(w), "ginfer; ", name)
	}
	assert.Contains(t, status(w), s.mark, name)
	if s.body != "" {
		assert.Equal(t, s.body, w.Body.String(), "%s: %s", name, status(w))
	}
	if s.calls != 0 {
		assert.Equal(t, s.calls, u.calls.Load(), name)
	}
	for i := 0; i+1 < len(s.want); i += 2 {
		assert.Equal(t, s.want[i+1], w.Header().Get(s.want[i]), "%s: %s", name, s.want[i])
	}
}
