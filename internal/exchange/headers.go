package exchange

import (
	"net/http"
	"slices"
	"strings"
)

// MergeHeader adds an upstream's response header to those that middlewares have set. List headers
// are joined, what the application has set of [owner] stands, others are replaced. Names for which
// skip returns true are left out; skip may be nil.
func MergeHeader(dst, src http.Header, skip func(name string) bool) {
	set := ownersOf(dst)
	for name, values := range src {
		switch {
		case skip != nil && skip(name):
		case IsJoined(name):
			dst[name] = join(dst[name], values)
		case len(set) > 0 && slices.Contains(set, owner(name)):
		default:
			dst[name] = slices.Clip(values)
		}
	}
}

// ownersOf returns the groups of headers that are set.
func ownersOf(h http.Header) []string {
	var set []string
	for name, values := range h {
		if o := owner(name); o != "" && len(values) > 0 {
			set = append(set, o)
		}
	}
	return set
}

// owner returns the group of a header that belongs to the application rather than to the upstream
// once the application has set one of the group; "": the upstream's header counts. The headers of
// CORS are one group, because one of them alone changes the meaning of the others: an upstream's
// Access-Control-Allow-Credentials must not extend the application's origins.
func owner(name string) string {
	switch name {
	case "Strict-Transport-Security", "X-Frame-Options", "Content-Security-Policy", "Content-Security-Policy-Report-Only",
		"X-Content-Type-Options", "X-Xss-Protection", "X-Permitted-Cross-Domain-Policies", "X-Download-Options", "X-Dns-Prefetch-Control",
		"Referrer-Policy", "Permissions-Policy", "Permissions-Policy-Report-Only", "Feature-Policy", "Timing-Allow-Origin",
		"Origin-Agent-Cluster", "Expect-Ct", "Public-Key-Pins":
		return name
	}
	switch {
	case strings.HasPrefix(name, "Access-Control-"):
		return "Access-Control-"
	case strings.HasPrefix(name, "Cross-Origin-"):
		return name
	}
	return ""
}

// IsJoined reports whether values of several servers along the way stand side by side in a
// response header.
func IsJoined(name string) bool {
	switch name {
	case "Set-Cookie", "Vary", "Link", "Server-Timing", "Via", "Cache-Status":
		return true
	}
	return false
}

// join appends the values that are not there yet.
func join(before, values []string) []string {
	out := slices.Clip(before)
	for _, v := range values {
		if !slices.Contains(before, v) {
			out = append(out, v)
		}
	}
	return out
}
