package cache

import (
	"maps"
	"net/http"
	"strings"
)

// notModified reports whether the client has the answer already (RFC 9110 §13.2.2).
func (x *exchange) notModified(status int, header http.Header) bool {
	if status != http.StatusOK || x.policy != policy(x.http) {
		return false
	}
	if wanted := x.req.Header["If-None-Match"]; len(wanted) > 0 {
		tag := header.Get("ETag")
		return matches(wanted, tag)
	}
	since, err := http.ParseTime(x.req.Header.Get("If-Modified-Since"))
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(header.Get("Last-Modified"))
	return err == nil && !modified.After(since)
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

// nextTag takes the first entity tag off a list, without its weakness.
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

// ofNotModified is what of a header a 304 has.
func ofNotModified(header http.Header) http.Header {
	out := header.Clone()
	for name := range out {
		if strings.HasPrefix(name, "Content-") && name != "Content-Location" {
			delete(out, name)
		}
	}
	return out
}

// sendNotModified answers that the client has the answer already.
func (x *exchange) sendNotModified(header http.Header) {
	x.g.Abort()
	x.headOfNotModified(header, x.markText())
}

func (x *exchange) headOfNotModified(header http.Header, mark string) {
	h := x.w.Header()
	maps.Copy(h, ofNotModified(header))
	x.sendHead(http.StatusNotModified, mark)
}
