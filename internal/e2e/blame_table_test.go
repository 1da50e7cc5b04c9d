package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// wrong is a way in which a request can be wrong, or its client.
type wrong struct {
	name string
	only string           // "h1" or "h2": it cannot be said in the other
	does http.HandlerFunc // of the upstream; nil: it serves whatever comes
	do   func(w *wire, up *upstreamSeen) int
	want []int // statuses that are right; nil: any, or none

	unsent bool // it can be known before an attempt begins: no upstream is asked
	once   bool // it is asked once: the next one would say the same
	wide   bool // all are sent at once, because each takes long
	served bool // nothing is wrong with it, however it looks
}

// upstreamSeen is what a client that misbehaves wants to know of the upstream.
type upstreamSeen struct {
	came chan struct{}   // gets one for each request that says so
	over <-chan struct{} // closed when the test has waited long enough
}

// wait waits until the upstream has a request.
func (u *upstreamSeen) wait() {
	select {
	case <-u.came:
	case <-u.over:
	}
}

// blameUpstream is an endpoint that does as the case says, and serves what is good.
func blameUpstream(t *testing.T, does http.HandlerFunc, came chan struct{}) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if does != nil && r.Header.Get("X-Good") == "" {
			does(w, r.WithContext(context.WithValue(r.Context(), cameKey{}, came)))
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, goodJSON)
	}))
	t.Cleanup(s.Close)
	return s
}

type cameKey struct{}

// tellCame tells the client that its request has come so far.
func tellCame(r *http.Request) {
	if came, _ := r.Context().Value(cameKey{}).(chan struct{}); came != nil {
		came <- struct{}{}
	}
}

// plainly sends a good body in a request that is otherwise as it is.
func plainly(a rawRequest) func(*wire, *upstreamSeen) int {
	return func(w *wire, _ *upstreamSeen) int {
		if status := w.post(a, goodBody); status != 0 {
			_, _ = w.rest()
			return status
		}
		return 0
	}
}

// rawly writes a request of HTTP/1.1 as text, ends the client's direction and reads the
// response.
func rawly(text string) func(*wire, *upstreamSeen) int {
	return func(w *wire, _ *upstreamSeen) int {
		w.raw(text)
		_ = w.CloseWrite()
		return w.code()
	}
}

func field(name, value string) [][2]string { return [][2]string{{name, value}} }

// malformed are requests whose head is wrong.
func malformed() []wrong {
	bad, long := []int{0, 400}, strings.Repeat("a", 80<<10)
	head := "POST /raw/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bad\r\n"
	return []wrong{
		{name: "a space in the query", want: bad, unsent: true, do: plainly(rawRequest{path: "/v1/chat/completions?q=a b"})},
		{name: "a space in the query of a path that nobody reads", want: bad, unsent: true, do: plainly(rawRequest{path: "/raw/x?q=a b"})},
		{name: "a control byte in the query", want: bad, unsent: true, do: plainly(rawRequest{path: "/v1/chat/completions?q=\x01"})},
		{name: "a tab in the query", want: bad, unsent: true, do: plainly(rawRequest{path: "/raw/x?q=\t"})},
		{name: "a line end in the query", only: "h2", want: bad, unsent: true, do: plainly(rawRequest{path: "/raw/x?q=\r\nX-Good: 1"})},
		{name: "DEL in the query", want: bad, unsent: true, do: plainly(rawRequest{path: "/raw/x?q=\x7f"})},
		{name: "bytes beyond ASCII in the query", served: true, do: plainly(rawRequest{path: "/raw/x?q=\"<>\xff\xc3\xa4"})},
		{name: "a space in the path", want: bad, unsent: true, only: "h1", do: plainly(rawRequest{path: "/raw/a b"})},
		{name: "a space in the path", only: "h2", do: plainly(rawRequest{path: "/raw/a b"})},
		{name: "a bad escape in the path", want: bad, unsent: true, do: plainly(rawRequest{path: "/raw/%zz"})},
		{name: "no path", only: "h2", unsent: true, do: plainly(rawRequest{path: "raw/x"})},
		{name: "a method with a space", want: []int{0, 400, 405, 501}, unsent: true, do: plainly(rawRequest{method: "GE T", path: "/raw/x"})},
		{name: "a method with an at sign", want: []int{0, 400, 405, 501}, unsent: true, do: plainly(rawRequest{method: "G@T", path: "/raw/x"})},
		{name: "a method beyond ASCII", want: []int{0, 400, 405, 501}, unsent: true, do: plainly(rawRequest{method: "GÉT", path: "/raw/x"})},
		{name: "a method with a line end", only: "h2", unsent: true, do: plainly(rawRequest{method: "GET /raw/y HTTP/1.1\r\nX: y", path: "/raw/x"})},
		{name: "an unknown method", served: true, do: plainly(rawRequest{method: "BREW", path: "/raw/x"})},
		{name: "CONNECT", unsent: true, do: plainly(rawRequest{method: http.MethodConnect, path: "example.com:443"})},
		{name: "NUL in a header", unsent: true, do: plainly(rawRequest{fields: field("x-a", "a\x00b")})},
		{name: "a control byte in a header", unsent: true, do: plainly(rawRequest{fields: field("x-a", "a\x01b")})},
		{name: "a line end in a header", only: "h2", unsent: true, do: plainly(rawRequest{fields: field("x-a", "a\r\nX-Good: 1")})},
		{name: "bytes beyond ASCII in a header", served: true, do: plainly(rawRequest{fields: field("x-a", "\xff\xc3\xa4")})},
		{name: "a space in a header's name", unsent: true, do: plainly(rawRequest{fields: field("x a", "b")})},
		{name: "a huge header", unsent: true, do: plainly(rawRequest{fields: field("x-a", long)})},
		{name: "a strange host", do: plainly(rawRequest{host: "a b\"<>"})},
		{name: "a field of HTTP/1.1", only: "h2", unsent: true, do: plainly(rawRequest{fields: field("connection", "close")})},
		{name: "a bad length", only: "h1", unsent: true, do: rawly(head + "Content-Length: -1\r\n\r\n")},
		{name: "two lengths", only: "h1", unsent: true, do: rawly(head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")},
		{name: "a length and chunks", only: "h1", do: rawly(head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
		{name: "an unknown transfer coding", only: "h1", unsent: true, do: rawly(head + "Transfer-Encoding: gzip\r\n\r\n")},
		{name: "another expectation", only: "h1", unsent: true, want: []int{417}, do: plainly(rawRequest{fields: field("expect", "200-ok")})},
		{name: "another expectation", only: "h2", do: plainly(rawRequest{fields: field("expect", "200-ok")})},
		{name: "a bad timeout", do: plainly(rawRequest{fields: field("x-request-timeout", "soon")})},
		{name: "an offer of h2c", only: "h1", do: plainly(rawRequest{fields: [][2]string{{"connection", "upgrade, http2-settings"}, {"upgrade", "h2c"}, {"http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"}}})},
	}
}

// unread are requests that are wrong in what is read of them before an attempt.
func unread() []wrong {
	sends := func(body string) func(*wire, *upstreamSeen) int {
		return func(w *wire, _ *upstreamSeen) int {
			return w.post(rawRequest{fields: field("content-type", "application/json")}, body)
		}
	}
	list := []wrong{
		{name: "an unknown model", want: []int{404}, unsent: true, do: sends(`{"model":"invented"}`)},
		{name: "a model that is no string", want: []int{400}, unsent: true, do: sends(`{"model":7}`)},
		{name: "no model", unsent: true, do: sends(`{}`)},
		{name: "no JSON", unsent: true, do: sends("\x00\xff<html>")},
		{name: "half of JSON", unsent: true, do: sends(`{"model":"`)},
		{name: "very deep JSON", do: sends(`{"a":` + strings.Repeat("[", 12<<10) + `,"model":"m"}`)},
		{name: "an empty body", unsent: true, do: func(w *wire, _ *upstreamSeen) int {
			w.head(rawRequest{}, true)
			return w.code()
		}},
		// The model stands in the part that was read: the rest streams.
		{name: "too large a body", want: []int{200}, do: sends(`{"model":"m","x":"` + strings.Repeat("a", chainRead) + `"}`)},
		{name: "too large a body in chunks", want: []int{200}, do: func(w *wire, _ *upstreamSeen) int {
			return w.post(rawRequest{length: chunked}, `{"model":"m","x":"`+strings.Repeat("a", chainRead)+`"}`)
		}},
		{name: "no credential", want: []int{401}, unsent: true, only: "h1", do: rawly("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")},
	}
	return list
}
