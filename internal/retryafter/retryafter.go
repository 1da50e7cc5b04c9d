// Package retryafter parses the Retry-After field.
package retryafter

import (
	"net/http"
	"strconv"
	"time"
)

// most is the longest time, in seconds, so that no Duration overflows.
const most = 1<<31 - 1

// Parse parses seconds or a date (RFC 9110 §10.2.3); a past date is 0. It reports whether
// the field is valid.
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
