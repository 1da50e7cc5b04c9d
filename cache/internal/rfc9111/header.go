package rfc9111

import (
	"net/http"
	"slices"
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

// Freshen returns the header of a stored response after a 304 with the header update
// (RFC 9111 §4.3.4).
func Freshen(stored, update http.Header, now time.Time) http.Header {
	h := stored.Clone()
	h.Set("Date", now.UTC().Format(http.TimeFormat)) // unless the update has another
	for name, values := range update {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Range", "Content-Type":
		default:
			h[name] = values
		}
	}
	return h
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
	since, err := http.ParseTime(req.Get("If-Modified-Since"))
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(header.Get("Last-Modified"))
	return err == nil && !modified.After(since)
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
