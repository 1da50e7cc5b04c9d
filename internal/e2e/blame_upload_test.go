package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// uploads are bodies that break: in a replayable body, which is refused before an attempt
// begins, and in a streamed one.
func uploads() (list []clientCase) {
	for name, do := range brokenUploads {
		only := ""
		switch {
		case strings.HasPrefix(name, "HTTP/1.1: "):
			only = "h1"
		case strings.HasPrefix(name, "HTTP/2: "):
			only = "h2"
		}
		list = append(list,
			clientCase{name: name + ", held", onlyProto: only, neverSent: true, client: func(w *wire, _ *upstreamSignal) int { return do(w, "/v1/chat/completions", `{"model":"m"`) }},
			clientCase{name: name + ", streamed", onlyProto: only, noRetry: true, client: func(w *wire, _ *upstreamSignal) int { return do(w, "/raw/files", streamedPart) }})
	}
	slices.SortFunc(list, func(a, b clientCase) int { return strings.Compare(a.name, b.name) })
	return append(list, halfUploads()...)
}

// streamedPart is longer than a replayable body and shorter than a first window.
var streamedPart = strings.Repeat("a", chainReplayed+4<<10)

// brokenUploads send the beginning of a body to a path, and then break.
var brokenUploads = map[string]func(w *wire, path, part string) int{
	"shorter than its length": func(w *wire, path, part string) int {
		w.writeHead(rawRequest{path: path, length: len(part) + 10}, false)
		if w.h2 != nil {
			w.writeBody(part, true)
			return w.statusCode()
		}
		w.writeBody(part, false)
		_ = w.CloseWrite()
		return w.statusCode()
	},
	"HTTP/2: longer than its length": func(w *wire, path, part string) int {
		w.writeHead(rawRequest{path: path, length: len(part) - 5}, false)
		w.writeBody(part, true)
		return w.statusCode()
	},
	"HTTP/1.1: a bad size of a chunk":              brokenChunk("zz\r\nhello\r\n", false),
	"HTTP/1.1: a bad size of a chunk, then closed": brokenChunk("zz\r\nhello\r\n", true),
	"HTTP/1.1: a negative size of a chunk":         brokenChunk("-5\r\nhello\r\n", false),
	"HTTP/1.1: a huge size of a chunk":             brokenChunk("fffffffffffffffff\r\nhello\r\n", false),
	"HTTP/1.1: a chunk without a line end":         brokenChunk("5\r\nhelloXYZ\r\n", false),
	"HTTP/1.1: a broken last chunk":                brokenChunk("0\r\nX\r\n\r\n", false),
	"HTTP/1.1: a broken last chunk, then closed":   brokenChunk("0\r\nX", true),
	"HTTP/1.1: a last chunk without an end":        brokenChunk("0\r\n", true),
	"HTTP/1.1: chunks that end early":              brokenChunk("a\r\nhal", true),
	"HTTP/1.1: a trailer without a name":           brokenChunk("0\r\n: x\r\n\r\n", false),
	"HTTP/1.1: NUL in a trailer":                   brokenChunk("0\r\nX-A: a\x00b\r\n\r\n", false),
	"HTTP/2: a pseudo-header as a trailer": func(w *wire, path, part string) int {
		w.writeHead(rawRequest{path: path, length: chunked}, false)
		w.writeBody(part, false)
		w.writeTrailers([2]string{":path", "/"})
		return w.statusCode()
	},
	"reset while uploading": func(w *wire, path, part string) int {
		w.writeHead(rawRequest{path: path, length: len(part) + 10}, false)
		w.writeBody(part, false)
		w.abort()
		return 0
	},
	"closed while uploading": func(w *wire, path, part string) int {
		w.writeHead(rawRequest{path: path, length: len(part) + 10}, false)
		w.writeBody(part, false)
		_ = w.Close()
		return 0
	},
	"Expect: 100-continue never followed": func(w *wire, path, part string) int {
		w.writeHead(rawRequest{path: path, length: len(part), fields: field("expect", "100-continue")}, false)
		if w.h2 == nil { // read the 100 Continue
			_, _ = w.in.ReadString('\n')
		}
		w.abort()
		return 0
	},
}

// brokenChunk sends text after a good chunk. The client then closes its direction or waits
// for the response.
func brokenChunk(text string, closes bool) func(w *wire, path, part string) int {
	return func(w *wire, path, part string) int {
		w.writeHead(rawRequest{path: path, length: chunked}, false)
		w.writeBody(part, false)
		w.writeRaw(text)
		if closes {
			_ = w.CloseWrite()
		}
		return w.statusCode()
	}
}

// halfUploads are uploads that break while the upstream responds.
func halfUploads() []clientCase {
	refusesEarly := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.ReadFull(r.Body, make([]byte, 10))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, `{"error":{"message":"too large"}}`)
		w.(http.Flusher).Flush()
		_, _ = io.Copy(io.Discard, r.Body) // so that the client can read the refusal
	}
	respondsEarly := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.ReadFull(r.Body, make([]byte, 10))
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, tokenEvent)
		w.(http.Flusher).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	}
	began := func(then func(w *wire)) func(*wire, *upstreamSignal) int {
		return func(w *wire, _ *upstreamSignal) int {
			w.writeHead(rawRequest{path: "/raw/files", length: chunked}, false)
			w.writeBody(streamedPart, false)
			status := w.statusCode()
			then(w)
			return status
		}
	}
	trailer := func(length int, fields ...[2]string) func(*wire, *upstreamSignal) int {
		return func(w *wire, _ *upstreamSignal) int {
			w.writeHead(rawRequest{path: "/raw/files", length: chunked, fields: field("trailer", "x-sum")}, false)
			w.writeBody(strings.Repeat("a", length), false)
			w.writeTrailers(fields...)
			return w.statusCode()
		}
	}
	list := []clientCase{
		{name: "refused by upstream while uploading", upstream: refusesEarly, noRetry: true, client: began(func(w *wire) { w.writeBody("more", true); _, _ = w.readBody() })},
		{name: "refused by upstream while uploading, then reset", upstream: refusesEarly, noRetry: true, client: began((*wire).abort)},
		{name: "reset while uploading, after the head", upstream: respondsEarly, noRetry: true, client: began((*wire).abort)},
		{name: "broken while uploading, after the head", onlyProto: "h1", upstream: respondsEarly, noRetry: true, client: began(func(w *wire) { w.writeRaw("zz\r\n"); _ = w.CloseWrite(); _, _ = w.readBody() })},
	}
	for _, length := range []int{10, len(streamedPart)} {
		list = append(list,
			clientCase{name: fmt.Sprintf("a trailer after %d bytes", length), valid: true, client: trailer(length, [2]string{"x-sum", "1"})},
			clientCase{name: fmt.Sprintf("a trailer that was not announced after %d bytes", length), valid: true, client: trailer(length, [2]string{"x-other", "1"})},
			clientCase{name: fmt.Sprintf("a trailer that must not be one after %d bytes", length), client: trailer(length, [2]string{"content-length", "1"})},
			clientCase{name: fmt.Sprintf("bytes beyond ASCII in a trailer after %d bytes", length), client: trailer(length, [2]string{"x-sum", "\xff\xfe"})})
	}
	return list
}
