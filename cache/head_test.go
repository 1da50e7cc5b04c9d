package cache_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
)

// The response to a HEAD updates a stale response to GET, or removes it if the upstream has
// another by now (RFC 9111 §4.3.5).
func TestHeadUpdatesAStaleResponse(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		head   []string // of the second response
		status int
		auth   bool
		want   string // of the GET after it
		a      string // its header A
	}{
		"same":                {head: []string{"ETag", `"1"`, "Cache-Control", "max-age=60", "A", "2"}, want: "1", a: "2"},
		"kept header":         {head: []string{"ETag", `"1"`, "Cache-Control", "max-age=60"}, want: "1", a: "1"},
		"no validators":       {head: []string{"Cache-Control", "max-age=60"}, want: "1", a: "1"},
		"another tag":         {head: []string{"ETag", `"2"`, "Cache-Control", "max-age=60"}, want: "3", a: "1"},
		"another length":      {head: []string{"ETag", `"1"`, "Content-Length", "5", "Cache-Control", "max-age=60"}, want: "3", a: "1"},
		"stale again":         {head: []string{"ETag", `"1"`, "Cache-Control", "max-age=0"}, want: "3", a: "1"},
		"no longer cacheable": {head: []string{"ETag", `"1"`, "Cache-Control", "no-store"}, want: "3", a: "1"},
		"an error":            {status: 410, head: []string{"ETag", `"1"`, "Cache-Control", "max-age=60"}, want: "3", a: "1"},
		"of another caller":   {auth: true, head: []string{"ETag", `"1"`, "Cache-Control", "max-age=60"}, want: "3", a: "1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			u := &upstream{}
			u.handle = func(c *gin.Context) {
				if c.Request.Method != http.MethodHead {
					c.Header("Cache-Control", "max-age=10")
					c.Header("ETag", `"1"`)
					c.Header("A", "1")
					c.String(http.StatusOK, "%d", u.calls.Load())
					return
				}
				for i := 0; i+1 < len(tt.head); i += 2 {
					c.Header(tt.head[i], tt.head[i+1])
				}
				c.Status(orElse(tt.status, http.StatusOK))
			}
			r := app(newCache(t, cache.Config{Beta: -1}), func(c *gin.Context) { c.Header("X-Request-Id", "mine") }, u.serve)
			get(r, "/")
			time.Sleep(11 * time.Second)
			req := httptest.NewRequest(http.MethodHead, "/", nil)
			if tt.auth {
				req.Header.Set("Authorization", "Bearer b")
			}
			assert.Contains(t, status(do(r, req)), "fwd=method", name)
			w := get(r, "/")
			assert.Equal(t, tt.want, w.Body.String(), "%s: %s", name, status(w))
			assert.Equal(t, tt.a, w.Header().Get("A"), name)
			assert.Len(t, w.Header().Values("Cache-Status"), 1, name)
		})
	}
}
