package cache

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"github.com/ginfer/ginfer/cache/internal/rfc9111"
)

// maxRanges is the largest number of ranges in one request that are served; a request for
// more gets the whole response (RFC 9110 §14.2).
const maxRanges = 16

const bytesUnit = "bytes="

// isRangeRequest reports whether a request is for ranges of bytes, of which a whole stored
// response has all (RFC 9110 §14.2). Other units are left to the upstream.
func isRangeRequest(req *http.Request) bool {
	values := req.Header["Range"]
	return req.Method == http.MethodGet && len(values) == 1 && len(values[0]) > len(bytesUnit) && strings.EqualFold(values[0][:len(bytesUnit)], bytesUnit)
}

// ranges makes a reply with the wanted ranges of the reply a: 206, 416, or a itself where
// If-Range, or too many of them, require the whole. It reports false if they cannot be
// parsed.
func ranges(req *http.Request, a reply) (reply, bool) {
	if a.status != http.StatusOK || strings.Count(req.Header.Get("Range"), ",") >= maxRanges {
		return a, true
	}
	w := &replyWriter{header: a.header.Clone()}
	if len(w.header["Content-Type"]) == 0 {
		w.header["Content-Type"] = nil // do not guess
	}
	wanted := bytesUnit + req.Header.Get("Range")[len(bytesUnit):]
	only := &http.Request{Method: http.MethodGet, Header: http.Header{"Range": {wanted}}}
	if condition := req.Header["If-Range"]; len(condition) > 0 {
		only.Header["If-Range"] = condition
	}
	http.ServeContent(w, only, "", strongDate(a.header), bytes.NewReader(a.body))
	switch w.status {
	case http.StatusPartialContent:
		a.status, a.header, a.body = w.status, w.header, w.body.Bytes()
	case http.StatusRequestedRangeNotSatisfiable:
		unsatisfied := w.header["Content-Range"]
		a.status, a.header, a.body = w.status, http.Header{"Content-Range": unsatisfied, "Accept-Ranges": {"bytes"}}, nil
		return a, len(unsatisfied) > 0
	}
	return a, true
}

// strongDate returns the Last-Modified of a response if it is a strong validator (RFC 9110
// §8.8.2.2): only that fulfils an If-Range. Otherwise it returns zero.
func strongDate(h http.Header) time.Time {
	modified, ok := rfc9111.ParseDate(h.Get("Last-Modified"))
	date, dated := rfc9111.ParseDate(h.Get("Date"))
	if !ok || !dated || date.Sub(modified) < time.Second {
		return time.Time{}
	}
	return modified
}

// replyWriter is an http.ResponseWriter that keeps what is written.
type replyWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *replyWriter) Header() http.Header         { return w.header }
func (w *replyWriter) WriteHeader(status int)      { w.status = status }
func (w *replyWriter) Write(p []byte) (int, error) { return w.body.Write(p) }
