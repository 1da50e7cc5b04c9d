package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// clientCase is a way in which a request or its client can be wrong.
type clientCase struct {
	name      string
	onlyProto string           // "h1" or "h2": not possible in the other
	upstream  http.HandlerFunc // nil: it serves every request
	client    func(w *wire, up *upstreamSignal) int
	statuses  []int // expected, one of them; nil: any, or none

	neverSent  bool // rejected before an attempt begins
	noRetry    bool // an attempt is never repeated
	concurrent bool // all run concurrently, because each takes long
	valid      bool // the request is valid, although unusual
}

// upstreamSignal lets a client wait for the upstream.
type upstreamSignal struct {
	arrived chan struct{}   // receives once for each call of signalArrived
	done    <-chan struct{} // closed when the case times out
}

// wait waits until the upstream has received a request.
func (u *upstreamSignal) wait() {
	select {
	case <-u.arrived:
	case <-u.done:
	}
}

// blameUpstream is an endpoint with the behaviour of a case; it serves good requests.
func blameUpstream(t *testing.T, serve http.HandlerFunc, arrived chan struct{}) *httptest.Server {
	t.Helper()
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if serve != nil && r.Header.Get("X-Good") == "" {
			serve(w, r.WithContext(context.WithValue(r.Context(), arrivedKey{}, arrived)))
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, goodJSON)
	}))
	return s
}

type arrivedKey struct{}

// signalArrived signals the client that the upstream has its request.
func signalArrived(r *http.Request) {
	if arrived, _ := r.Context().Value(arrivedKey{}).(chan struct{}); arrived != nil {
		arrived <- struct{}{}
	}
}

// sendPlain sends a request with a good body.
func sendPlain(a rawRequest) func(*wire, *upstreamSignal) int {
	return func(w *wire, _ *upstreamSignal) int {
		if status := w.post(a, goodBody); status != 0 {
			_, _ = w.readBody()
			return status
		}
		return 0
	}
}

// sendRaw writes an HTTP/1.1 request as text, closes the client's direction and reads the
// response.
func sendRaw(text string) func(*wire, *upstreamSignal) int {
	return func(w *wire, _ *upstreamSignal) int {
		w.writeRaw(text)
		_ = w.CloseWrite()
		return w.statusCode()
	}
}

func field(name, value string) [][2]string { return [][2]string{{name, value}} }

// malformedHeads are requests with an invalid head.
func malformedHeads() []clientCase {
	bad, long := []int{0, 400}, strings.Repeat("a", 80<<10)
	head := "POST /raw/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bad\r\n"
	return []clientCase{
		{name: "a space in the query", statuses: bad, neverSent: true, client: sendPlain(rawRequest{path: "/v1/chat/completions?q=a b"})},
		{name: "a space in the query of a raw path", statuses: bad, neverSent: true, client: sendPlain(rawRequest{path: "/raw/x?q=a b"})},
		{name: "a control byte in the query", statuses: bad, neverSent: true, client: sendPlain(rawRequest{path: "/v1/chat/completions?q=\x01"})},
		{name: "a tab in the query", statuses: bad, neverSent: true, client: sendPlain(rawRequest{path: "/raw/x?q=\t"})},
		{name: "a line end in the query", onlyProto: "h2", statuses: bad, neverSent: true, client: sendPlain(rawRequest{path: "/raw/x?q=\r\nX-Good: 1"})},
		{name: "DEL in the query", statuses: bad, neverSent: true, client: sendPlain(rawRequest{path: "/raw/x?q=\x7f"})},
		{name: "bytes beyond ASCII in the query", valid: true, client: sendPlain(rawRequest{path: "/raw/x?q=\"<>\xff\xc3\xa4"})},
		{name: "a space in the path", statuses: bad, neverSent: true, onlyProto: "h1", client: sendPlain(rawRequest{path: "/raw/a b"})},
		{name: "a space in the path", onlyProto: "h2", client: sendPlain(rawRequest{path: "/raw/a b"})},
		{name: "a bad escape in the path", statuses: bad, neverSent: true, client: sendPlain(rawRequest{path: "/raw/%zz"})},
		{name: "no path", onlyProto: "h2", neverSent: true, client: sendPlain(rawRequest{path: "raw/x"})},
		{name: "a method with a space", statuses: []int{0, 400, 405, 501}, neverSent: true, client: sendPlain(rawRequest{method: "GE T", path: "/raw/x"})},
		{name: "a method with an at sign", statuses: []int{0, 400, 405, 501}, neverSent: true, client: sendPlain(rawRequest{method: "G@T", path: "/raw/x"})},
		{name: "a method beyond ASCII", statuses: []int{0, 400, 405, 501}, neverSent: true, client: sendPlain(rawRequest{method: "GÉT", path: "/raw/x"})},
		{name: "a method with a line end", onlyProto: "h2", neverSent: true, client: sendPlain(rawRequest{method: "GET /raw/y HTTP/1.1\r\nX: y", path: "/raw/x"})},
		{name: "an unknown method", valid: true, client: sendPlain(rawRequest{method: "BREW", path: "/raw/x"})},
		{name: "CONNECT", neverSent: true, client: sendPlain(rawRequest{method: http.MethodConnect, path: "example.com:443"})},
		{name: "NUL in a header", neverSent: true, client: sendPlain(rawRequest{fields: field("x-a", "a\x00b")})},
		{name: "a control byte in a header", neverSent: true, client: sendPlain(rawRequest{fields: field("x-a", "a\x01b")})},
		{name: "a line end in a header", onlyProto: "h2", neverSent: true, client: sendPlain(rawRequest{fields: field("x-a", "a\r\nX-Good: 1")})},
		{name: "bytes beyond ASCII in a header", valid: true, client: sendPlain(rawRequest{fields: field("x-a", "\xff\xc3\xa4")})},
		{name: "a space in a header's name", neverSent: true, client: sendPlain(rawRequest{fields: field("x a", "b")})},
		{name: "a huge header", neverSent: true, client: sendPlain(rawRequest{fields: field("x-a", long)})},
		{name: "a strange host", client: sendPlain(rawRequest{host: "a b\"<>"})},
		{name: "a field of HTTP/1.1", onlyProto: "h2", neverSent: true, client: sendPlain(rawRequest{fields: field("connection", "close")})},
		{name: "a bad length", onlyProto: "h1", neverSent: true, client: sendRaw(head + "Content-Length: -1\r\n\r\n")},
		{name: "two lengths", onlyProto: "h1", neverSent: true, client: sendRaw(head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")},
		{name: "a length and chunks", onlyProto: "h1", client: sendRaw(head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
		{name: "an unknown transfer coding", onlyProto: "h1", neverSent: true, client: sendRaw(head + "Transfer-Encoding: gzip\r\n\r\n")},
		{name: "another expectation", onlyProto: "h1", neverSent: true, statuses: []int{417}, client: sendPlain(rawRequest{fields: field("expect", "200-ok")})},
		{name: "another expectation", onlyProto: "h2", client: sendPlain(rawRequest{fields: field("expect", "200-ok")})},
		{name: "a bad timeout", client: sendPlain(rawRequest{fields: field("x-request-timeout", "soon")})},
		{name: "an offer of h2c", onlyProto: "h1", client: sendPlain(rawRequest{fields: [][2]string{{"connection", "upgrade, http2-settings"}, {"upgrade", "h2c"}, {"http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"}}})},
	}
}

// invalidBodies are requests that are invalid in what the gateway reads before an attempt.
func invalidBodies() []clientCase {
	sends := func(body string) func(*wire, *upstreamSignal) int {
		return func(w *wire, _ *upstreamSignal) int {
			return w.post(rawRequest{fields: field("content-type", "application/json")}, body)
		}
	}
	list := []clientCase{
		{name: "an unknown model", statuses: []int{404}, neverSent: true, client: sends(`{"model":"invented"}`)},
		{name: "a model that is no string", statuses: []int{400}, neverSent: true, client: sends(`{"model":7}`)},
		{name: "no model", neverSent: true, client: sends(`{}`)},
		{name: "no JSON", neverSent: true, client: sends("\x00\xff<html>")},
		{name: "half of JSON", neverSent: true, client: sends(`{"model":"`)},
		{name: "very deep JSON", client: sends(`{"a":` + strings.Repeat("[", 12<<10) + `,"model":"m"}`)},
		{name: "an empty body", neverSent: true, client: func(w *wire, _ *upstreamSignal) int {
			w.writeHead(rawRequest{}, true)
			return w.statusCode()
		}},
		// The model is within the part that is read: the rest streams.
		{name: "too large a body", statuses: []int{200}, client: sends(`{"model":"m","x":"` + strings.Repeat("a", chainRead) + `"}`)},
		{name: "too large a body in chunks", statuses: []int{200}, client: func(w *wire, _ *upstreamSignal) int {
			return w.post(rawRequest{length: chunked}, `{"model":"m","x":"`+strings.Repeat("a", chainRead)+`"}`)
		}},
		{name: "no credential", statuses: []int{401}, neverSent: true, onlyProto: "h1", client: sendRaw("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")},
	}
	return list
}
