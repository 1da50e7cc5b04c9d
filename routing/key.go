package routing

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// cookieAge is the lifetime of an anonymous user's assignment.
const cookieAge = 365 * 24 * time.Hour

// stickyKey identifies the user for sticky assignment: by the sticky header, else the
// identity's subject, else a cookie, which is set if it is missing. Each kind has its own
// prefix, so that values of different kinds do not collide.
func (r *Router) stickyKey(c *gin.Context) string {
	if r.cfg.StickyHeader != "" {
		if v := c.Request.Header.Get(r.cfg.StickyHeader); v != "" {
			return "h:" + v
		}
	}
	if r.cfg.Subject != nil {
		if v, ok := r.cfg.Subject(c.Request.Context()); ok && v != "" {
			return "s:" + v
		}
	}
	if r.cfg.Cookie == "-" {
		return "a:" + c.RemoteIP()
	}
	for _, k := range c.Request.CookiesNamed(r.cfg.Cookie) {
		if isID(k.Value) {
			return "c:" + k.Value
		}
	}
	id := rand.Text()
	http.SetCookie(c.Writer, &http.Cookie{ //nolint:gosec // Secure on TLS connections only
		Name: r.cfg.Cookie, Value: id, Path: "/", MaxAge: int(cookieAge / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.Request.TLS != nil,
	})
	return "c:" + id
}

// isID reports whether v has the form of an id made by stickyKey.
func isID(v string) bool {
	return len(v) == 26 && strings.Trim(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}
