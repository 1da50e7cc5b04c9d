package rfc9111

import (
	"net/http"
	"time"
)

// targeted is the field with directives for shared caches near the origin, such as a
// gateway's. They replace those of Cache-Control and Expires (RFC 9213 §3.1).
const targeted = "Cdn-Cache-Control"

// responseControl returns the directives of a response, and whether they are targeted: then
// no other field is about its freshness. A targeted field that is empty or no dictionary of
// RFC 9651 is ignored.
func responseControl(h http.Header) (c Control, isTargeted bool) {
	if values := h[targeted]; len(values) > 0 {
		if c, ok := parseTargeted(values); ok {
			return c, true
		}
	}
	return ParseControl(h["Cache-Control"]), false
}

// parseTargeted parses a targeted field. Directives with a value of another type are
// ignored; the last of several wins.
func parseTargeted(values []string) (Control, bool) {
	c, some := NoControl(), false
	ok := eachMember(values, func(key string, v bareItem) {
		some = true
		if d := c.duration(key); d != nil {
			if v.kind == integer {
				*d = time.Duration(min(max(v.number, 0), int64(Max/time.Second))) * time.Second
			}
			return
		}
		if v.kind != boolean || v.number != 0 {
			c.set(key, "", false)
		}
	})
	return c, ok && some
}
