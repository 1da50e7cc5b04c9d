package rfc9111

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxVary is the largest number of request headers that a stored response may vary by.
const MaxVary = 16

// Vary returns the request headers that a response varies by, sorted. An encoded response
// varies by Accept-Encoding even if it does not declare it.
func Vary(h http.Header) []string {
	names := Names(h["Vary"])
	if len(h["Content-Encoding"]) > 0 {
		names = append(names, "Accept-Encoding")
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// MergeVary adds names to those that earlier responses varied by, unless that makes too
// many: one client must not undo the variants of others.
func MergeVary(known, names []string) []string {
	all := append(slices.Clone(known), names...)
	slices.Sort(all)
	if all = slices.Compact(all); len(all) > MaxVary {
		return names
	}
	return all
}

// StoredHeader returns the header to store with a response that was received now.
func StoredHeader(h http.Header, now time.Time) http.Header {
	h = h.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Del("Age")
	h.Del("Content-Length")
	if h.Get("Date") == "" {
		h.Set("Date", now.UTC().Format(http.TimeFormat))
	}
	return h
}

// Freshen returns the header of a stored response after a 304, or a HEAD, with the header
// update (RFC 9111 §3.2). What describes the stored bytes stays as it is.
func Freshen(stored, update http.Header, now time.Time) http.Header {
	h := stored.Clone()
	h.Set("Date", now.UTC().Format(http.TimeFormat)) // unless the update has another
	for name, values := range update {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Range", "Content-Md5":
		case "Etag":
			if len(h[name]) == 0 {
				h[name] = values
			}
		default:
			h[name] = values
		}
	}
	return h
}

// Describes reports whether the header of a response to HEAD is of the stored response, of
// that length (RFC 9111 §4.3.5).
func Describes(head, stored http.Header, length int) bool {
	for _, name := range [...]string{"Etag", "Last-Modified"} {
		if v := head.Get(name); v != "" && v != stored.Get(name) {
			return false
		}
	}
	v := head.Get("Content-Length")
	return v == "" || v == strconv.Itoa(length)
}

// SetConditions replaces the conditions of a request by the validators of a stored
// response. Without a stored response it removes them.
func SetConditions(req, stored http.Header) {
	req.Del("If-None-Match")
	req.Del("If-Modified-Since")
	if tag := stored.Get("ETag"); tag != "" {
		req.Set("If-None-Match", tag)
	}
	if modified := stored.Get("Last-Modified"); modified != "" {
		req.Set("If-Modified-Since", modified)
	}
}

// NotModified reports whether 304 is the response to a request with these conditions
// (RFC 9110 §13.2.2).
func NotModified(req http.Header, status int, header http.Header) bool {
	if status != http.StatusOK {
		return false
	}
	if wanted := req["If-None-Match"]; len(wanted) > 0 {
		return matches(wanted, header.Get("ETag"))
	}
	since, ok := ParseDate(req.Get("If-Modified-Since"))
	if !ok {
		return false
	}
	modified, ok := ParseDate(header.Get("Last-Modified"))
	return ok && !modified.After(since)
}

// NotModifiedHeader returns the header of the 304 that stands for a response.
func NotModifiedHeader(header http.Header) http.Header {
	out := header.Clone()
	for name := range out {
		if strings.HasPrefix(name, "Content-") && name != "Content-Location" {
			delete(out, name)
		}
	}
	return out
}

// matches compares entity tags weakly.
func matches(wanted []string, tag string) bool {
	for _, list := range wanted {
		if strings.TrimSpace(list) == "*" {
			return true
		}
		for rest := list; tag != ""; {
			var one string
			if one, rest = nextTag(rest); one == "" {
				break
			}
			if one == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}

// nextTag cuts the first entity tag off a list, without its W/.
func nextTag(list string) (tag, rest string) {
	list = strings.TrimPrefix(strings.TrimLeft(list, " \t,"), "W/")
	if !strings.HasPrefix(list, `"`) {
		return "", ""
	}
	end := strings.IndexByte(list[1:], '"')
	if end < 0 {
		return "", ""
	}
	return list[:end+2], list[end+2:]
}
