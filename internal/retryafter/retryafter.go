// Package retryafter reads the Retry-After field.
package retryafter

import (
	"net/http"
	"strconv"
	"time"
)

// most is the longest time that is told apart, in seconds: no Duration runs over.
const most = 1<<31 - 1

// Parse reads seconds or a date (RFC 9110 §10.2.3); one that has passed is 0. It
// reports whether there was one.
func Parse(h http.Header, now time.Time) (time.Duration, bool) {
	v := h.Get("Retry-After")
	if v == "" {
		return 0, false
	}
	if s, err := strconv.ParseInt(v, 10, 64); err == nil && s >= 0 {
		return time.Duration(min(s, most)) * time.Second, true
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}
