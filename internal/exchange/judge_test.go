package exchange_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden table anew")

func show(v exchange.Verdict) string {
	s := [...]string{"success", "failure", "canceled"}[v.Outcome] + " " + v.Blame.String()
	if v.Repeatable {
		s += " repeatable"
	}
	if v.Elsewhere {
		s += " elsewhere"
	}
	if v.Unsent {
		s += " unsent"
	}
	return s
}

var senders = []struct{ name, inbound, outbound string }{
	{"none", "", ""}, {"client", "Bearer a", "Bearer a"}, {"operator", "Bearer a", "Bearer b"},
}

var errorBodies = []struct{ name, body string }{
	{"-", "no JSON"},
	{"request", `{"error":{"type":"invalid_request_error","message":"no"}}`},
	{"model", `{"error":{"code":"model_not_found"}}`},
	{"context", `{"error":{"code":"context_length_exceeded"}}`},
	{"quota", `{"error":{"code":"insufficient_quota"}}`},
	{"rate", `{"error":{"type":"rate_limit_error"}}`},
	{"auth", `{"error":{"type":"authentication_error"}}`},
	{"overloaded", `{"error":{"type":"overloaded_error"}}`},
	{"server", `{"error":{"type":"server_error"}}`},
	{"code 500", `{"error":{"code":500,"message":"oh"}}`},
	{"unknown", `{"error":{"type":"strange"}}`},
}

func sent(t *testing.T, inbound, outbound string) (*exchange.Attempt, *http.Request, *counted) {
	t.Helper()
	x := &exchange.Exchange{Known: true}
	in := post(t.Context(), chat)
	if inbound != "" {
		in.Header.Set("Authorization", inbound)
	}
	x.Credentials = exchange.Credentials(in)
	c := count(x)
	a, req := x.Begin(in)
	if outbound != "" {
		req.Header.Set("Authorization", outbound)
	}
	return a, req, c
}

// judged returns the verdict on a response that is read to its end, and requires the one before.
func judged(t *testing.T, a *exchange.Attempt, req *http.Request, next http.RoundTripper) *exchange.End {
	t.Helper()
	res, err := a.Do(req, next)
	if err == nil {
		a.Prefetch()
		_, _ = io.Copy(io.Discard, res.Body)
		require.NoError(t, res.Body.Close())
	}
	e := endOf(a)
	require.NotNil(t, e)
	return e
}

// table is a golden table of verdicts.
type table struct{ strings.Builder }

// add judges a response for each owner of the credential.
func (b *table) add(t *testing.T, name string, next http.RoundTripper) {
	t.Helper()
	for _, sender := range senders {
		a, req, c := sent(t, sender.inbound, sender.outbound)
		e := judged(t, a, req, next)
		c.requireBalanced(t)
		fmt.Fprintf(b, "%-32s %-10s %s\n", name, sender.name, show(e.Verdict))
		if e.Status >= 400 && e.Status < 500 {
			assert.False(t, e.Bad(), "%s: a response below 500 is no failure", name)
		}
	}
}

func TestGoldenTableOfErrors(t *testing.T) {
	t.Parallel()
	b := new(table)
	for _, status := range []int{400, 401, 402, 403, 404, 405, 408, 409, 413, 422, 429, 499, 500, 501, 502, 503, 504, 529, 599} {
		for _, kind := range errorBodies {
			b.add(t, fmt.Sprint(status, " ", kind.name), give(status, "application/json", kind.body))
		}
	}
	for _, kind := range errorBodies[1:] {
		b.add(t, fmt.Sprint("200 ", kind.name, " json"), give(200, "application/json", kind.body))
		b.add(t, fmt.Sprint("200 ", kind.name, " first"), give(200, sse, "data: "+kind.body+"\n\n"))
		b.add(t, fmt.Sprint("200 ", kind.name, " late"), give(200, sse, text+"data: "+kind.body+"\n\n"))
	}
	for code := range 17 {
		b.add(t, fmt.Sprint("grpc ", code, " header"), grpc(code, "header"))
		b.add(t, fmt.Sprint("grpc ", code, " trailer"), grpc(code, "trailer"))
	}
	const golden = "testdata/errors.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String())
}

// grpc responds to a call: with its status in the header, or after a message in the trailer.
func grpc(code int, where string) transport {
	return func(*http.Request) (*http.Response, error) {
		res := response(200, "application/grpc+proto", body("\x00\x00\x00\x00\x00"))
		value := []string{strconv.Itoa(code)}
		if where == "header" {
			res.Body, res.Header["Grpc-Status"] = http.NoBody, value
		} else {
			res.Trailer = http.Header{"Grpc-Status": value}
		}
		return res, nil
	}
}

var errLost = errors.New("connection reset by peer")

func fail(err error) transport {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

var errDial = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

func TestVerdictWithoutResponse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(r *http.Request)
		upload func() error
		err    error
		want   string
	}{
		{"lost", nil, nil, errLost, "failure endpoint repeatable"},
		{"dial", nil, nil, errDial, "failure endpoint repeatable unsent"},
		{"dial of a proxy", nil, nil, &net.OpError{Op: "proxyconnect", Err: errDial}, "failure endpoint repeatable unsent"},
		{"an idle connection that was closed", nil, nil, errors.Join(exchange.ErrStale, errLost), "failure nobody repeatable"},
		{"neither response nor error", nil, nil, nil, "failure endpoint repeatable"},
		{"method", func(r *http.Request) { r.Method = "GE T" }, nil, errLost, "failure request"},
		{"header name", func(r *http.Request) { r.Header["a b"] = []string{"1"} }, nil, errLost, "failure request"},
		{"header value", func(r *http.Request) { r.Header["A"] = []string{"1\n"} }, nil, errLost, "failure request"},
		{"query", func(r *http.Request) { r.URL.RawQuery = "a b" }, nil, errLost, "failure request"},
		{"query DEL", func(r *http.Request) { r.URL.RawQuery = "\x7f" }, nil, errLost, "failure request"},
		{"host", func(r *http.Request) { r.Host = "a\x00b" }, nil, errLost, "failure request"},
		{"no URL", func(r *http.Request) { r.URL = nil }, nil, errLost, "failure request"},
		{"query, but no server", func(r *http.Request) { r.URL.RawQuery = "a b" }, nil, errDial, "failure endpoint repeatable unsent"},
		{"long header over HTTP/2", nil, nil, errors.New("http2: request header list larger than peer's advertised limit"), "failure request"},
		{"own 4xx", nil, nil, &apierror.Error{Status: 413}, "failure request"},
		{"own 500", nil, nil, &apierror.Error{Status: 500}, "failure gateway"},
		{"own 502", nil, nil, &apierror.Error{Status: 502}, "failure endpoint"},
		{"own 504 of a limit", nil, nil, &apierror.Error{Status: 504, Err: exchange.ErrTimeout}, "failure endpoint repeatable"},
		{"upload", nil, func() error { return io.ErrUnexpectedEOF }, errLost, "canceled client"},
		{"canceled between", nil, nil, context.Canceled, "canceled nobody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, req, c := begin(t, &exchange.Exchange{Upload: tt.upload}, chat)
			if tt.change != nil {
				tt.change(req)
			}
			_, err := a.Do(req, fail(tt.err)) //nolint:bodyclose // there is none, or it is closed elsewhere
			require.Error(t, err)
			assert.Equal(t, tt.want, show(endOf(a).Verdict))
			require.Error(t, a.Context().Err(), "the context of an attempt that failed is released")
			c.requireBalanced(t)
		})
	}
}

func TestVerdictOfRefusal(t *testing.T) {
	t.Parallel()
	a, req, c := begin(t, new(exchange.Exchange), chat)
	for range 2 {
		_, err := a.Do(req, fail(&apierror.Error{Status: 503, Err: &exchange.NotSentError{}})) //nolint:bodyclose // there is none, or it is closed elsewhere
		require.True(t, exchange.IsRefused(err))
		require.Nil(t, endOf(a), "a refusal is no end")
		require.NoError(t, req.Context().Err())
	}
	a.Finish(&exchange.NotSentError{})
	assert.Equal(t, "failure nobody repeatable unsent", show(endOf(a).Verdict))
	c.requireBalanced(t)
}

func TestVerdictOfPanic(t *testing.T) {
	t.Parallel()
	for _, nested := range []bool{false, true} {
		a, req, c := begin(t, new(exchange.Exchange), chat)
		var next http.RoundTripper = transport(func(*http.Request) (*http.Response, error) { panic(http.ErrAbortHandler) })
		if nested {
			next = layer{next: next}
		}
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { _, _ = a.Do(req, next) }) //nolint:bodyclose // there is none, or it is closed elsewhere
		assert.Equal(t, "failure gateway", show(endOf(a).Verdict))
		require.ErrorIs(t, endOf(a).Err, exchange.ErrPanic)
		require.Error(t, a.Context().Err())
		c.requireBalanced(t)
	}
}

func TestVerdictOfNote(t *testing.T) {
	t.Parallel()
	a, req, c := begin(t, new(exchange.Exchange), chat)
	a.Note(exchange.Verdict{Outcome: exchange.Canceled, Blame: exchange.Gateway})
	a.Note(exchange.Verdict{Blame: exchange.Endpoint})
	e := judged(t, a, req, give(200, sse, whole))
	assert.Equal(t, "canceled gateway", show(e.Verdict))
	a.Note(exchange.Verdict{})
	assert.Equal(t, "canceled gateway", show(a.Verdict()))
	c.requireBalanced(t)
}

// Responses with a good status, by how they end.
func TestVerdictOfBody(t *testing.T) {
	t.Parallel()
	const jsonType, lines = "application/json", "application/x-ndjson"
	for _, tt := range []struct {
		name, path, contentType string
		src                     *source
		want                    string
		err                     error
	}{
		{"stream", chat, sse, body(whole), "success nobody", nil},
		{"stream without marker", chat, sse, body(text + stop), "success nobody", nil},
		{"stream without marker, lost", chat, sse, &source{pieces: []string{text + stop}, err: errLost}, "success nobody", nil},
		{"cut", chat, sse, body(text), "failure endpoint", exchange.ErrCut},
		{"lost after content", chat, sse, &source{pieces: []string{text}, err: errLost}, "failure endpoint", errLost},
		{"lost before content", chat, sse, &source{err: errLost}, "failure endpoint repeatable", errLost},
		{"wrapped EOF", chat, sse, &source{pieces: []string{text}, err: fmt.Errorf("x: %w", io.EOF)}, "failure endpoint", nil},
		{"marker only", chat, sse, body(done), "failure endpoint repeatable", exchange.ErrEmpty},
		{"comments only", chat, sse, body(":\n\n: ping\n\n"), "failure endpoint repeatable", exchange.ErrEmpty},
		{"nothing", chat, sse, body(""), "failure endpoint repeatable", exchange.ErrEmpty},
		{"JSON", chat, jsonType, body(`{"choices":[{"message":{"content":"Hi"}}]}`), "success nobody", nil},
		{"white space", chat, jsonType, body(" \n"), "failure endpoint repeatable", exchange.ErrEmpty},
		{"white space of no type", chat, "", body(" \n"), "failure endpoint repeatable", exchange.ErrEmpty},
		{"JSON cut", chat, jsonType, body(`{"choices":[`), "failure endpoint repeatable", exchange.ErrCut},
		{"no JSON", chat, jsonType, body(`<html>`), "failure endpoint repeatable", exchange.ErrNoJSON},
		{"text", chat, "text/plain", body(`Hello`), "success nobody", nil},
		{"messages cut", "/v1/messages", sse, body("data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n"), "failure endpoint", exchange.ErrCut},
		{"messages stop reason", "/v1/messages", sse, body("data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n"), "success nobody", nil},
		{"unknown stream", "/other", sse, body("data: {\"x\":1}\n\n"), "success nobody", nil},
		{"unknown JSON cut", "/other", jsonType, body(`{"a":`), "failure nobody repeatable", exchange.ErrCut},
		{"unknown empty", "/other", jsonType, body(""), "success nobody", nil},
		{"unknown no JSON", "/other", jsonType, body("hello"), "success nobody", nil},
		{"unknown lost", "/other", "", &source{pieces: []string{"a"}, err: errLost}, "failure endpoint", errLost},
		{"embeddings empty", "/v1/embeddings", jsonType, body(""), "failure endpoint repeatable", exchange.ErrEmpty},
		{"speech", "/v1/audio/speech", "audio/mpeg", body("\xff\xfb"), "success nobody", nil},
		{"ollama", "/api/chat", lines, body("{\"message\":{\"content\":\"a\"},\"done\":false}\n{\"done\":true}\n"), "success nobody", nil},
		{"ollama empty", "/api/chat", lines, body(""), "failure endpoint repeatable", exchange.ErrEmpty},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, prefetch := range []bool{false, true} {
				src := &source{pieces: append([]string(nil), tt.src.pieces...), err: tt.src.err}
				a, req, c := begin(t, &exchange.Exchange{Limits: exchange.Limits{Prefetch: prefetch}}, tt.path)
				e := judged(t, a, req, transport(func(*http.Request) (*http.Response, error) { return response(200, tt.contentType, src), nil }))
				assert.Equal(t, tt.want, show(e.Verdict), "prefetch %v", prefetch)
				if tt.err != nil {
					require.ErrorIs(t, e.Err, tt.err)
				}
				assert.Equal(t, 1, src.closed)
				c.requireBalanced(t)
			}
		})
	}
}

func TestEmptyResponseOfEachAPI(t *testing.T) {
	t.Parallel()
	for path, fails := range map[string]bool{
		chat: true, "/v1/completions": true, "/v1/responses": true, "/v1/messages": true, "/api/chat": true, "/completion": true,
		"/generate": true, "/v2/chat": true, "/v1beta/models/m:generateContent": true,
		"/v1/embeddings": false, "/v1/audio/speech": true, "/v1/audio/transcriptions": false, "/v1/images/generations": false,
		"/v1/messages/count_tokens": false, "/other": false,
	} {
		for name, change := range map[string]func(*http.Response){
			"no body":   func(res *http.Response) { res.Body = http.NoBody },
			"nil body":  func(res *http.Response) { res.Body = nil },
			"length 0":  func(res *http.Response) { res.ContentLength = 0; res.Header.Set("Content-Length", "0") },
			"HTTP/2":    func(res *http.Response) { res.ContentLength, res.ProtoMajor = 0, 2 },
			"chunked":   func(*http.Response) {},
			"no length": func(res *http.Response) { res.ContentLength = 0 },
		} {
			a, req, c := begin(t, new(exchange.Exchange), path)
			e := judged(t, a, req, transport(func(*http.Request) (*http.Response, error) {
				res := response(200, "", body(""))
				change(res)
				return res, nil
			}))
			want := "success nobody"
			if fails {
				want = "failure endpoint repeatable"
			}
			assert.Equal(t, want, show(e.Verdict), "%s, %s", path, name)
			c.requireBalanced(t)
		}
	}
}
