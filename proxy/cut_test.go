package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// requireCut requires that the client saw the response break, in the way of its protocol.
func requireCut(t *testing.T, h2 bool, err error) {
	t.Helper()
	if h2 {
		require.ErrorContains(t, err, "stream error")
		return
	}
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// protocols are the client's protocols, and whether each is HTTP/2.
func protocols() map[string]bool { return map[string]bool{"HTTP/1.1": false, "HTTP/2": true} }

// TestCutIsSeen: a response that breaks off must never look complete. gin.Recovery is
// installed, as it swallows the usual panic for that.
func TestCutIsSeen(t *testing.T) {
	t.Parallel()
	abort := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, s := range map[string]setup{
		"content-length":      {raw: writes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")},
		"chunked":             {raw: writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")},
		"within a chunk":      {raw: writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf")},
		"no last chunk's end": {raw: writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n")},
		"broken chunk":        {raw: writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n")},
		"HTTP/2":              {upstream: abort, h2c: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for protocol, h2 := range protocols() {
				t.Run(protocol, func(t *testing.T) {
					t.Parallel()
					s := s
					s.h2 = h2
					r := s.start(t)
					a := r.get(t)
					require.Equal(t, 200, a.status)
					require.Equal(t, "half", a.body)
					requireCut(t, h2, a.err)
					ev := r.events.next(t)
					require.Equal(t, proxy.Failure, ev.Outcome)
					require.ErrorIs(t, ev.Err, proxy.ErrUpstream)
					require.EqualValues(t, 4, ev.Bytes)
				})
			}
		})
	}
}

// TestCutConnectionIsClosed: on HTTP/1.1 nothing may follow a broken response.
func TestCutConnectionIsClosed(t *testing.T) {
	t.Parallel()
	r := setup{raw: writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")}.start(t)
	conn, in := r.dial(t)
	_, err := io.WriteString(conn, strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2))
	require.NoError(t, err)
	got, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(got), "HTTP/1.1 200 OK"))
	require.NotContains(t, string(got), "\r\n0\r\n")
}

const sseHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"

// sseCut responds with an event stream that breaks off after text.
func sseCut(text string) func(net.Conn, *http.Request) {
	return writes(sseHead + "Content-Length: 1000\r\n\r\n" + text)
}

// TestCutEventStream: between two events the client gets an error event; within one nothing may
// be added, as it would become part of that event. [DONE] is never sent.
func TestCutEventStream(t *testing.T) {
	t.Parallel()
	const event = "event: error\n" + `data: {"type":"error","error":{"message":"The upstream server broke the connection or sent an invalid response.",` +
		`"type":"server_error","param":null,"code":"upstream_error"}}` + "\n\n"
	for name, c := range map[string]struct {
		text  string
		event bool
	}{
		"after an event":           {"data: 1\n\n", true},
		"after an event with CRLF": {"data: 1\r\n\r\n", true},
		"after a comment":          {"data: 1\n\n: still here\n\n", true},
		"after a line":             {"data: 1\n\ndata: 2\n", false},
		"within a line":            {"data: 1\n\ndata: 2", false},
		"within a field name":      {"data: 1\n\nda", false},
		"within a CRLF":            {"data: 1\r\n\r", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for protocol, h2 := range protocols() {
				t.Run(protocol, func(t *testing.T) {
					t.Parallel()
					r := setup{raw: sseCut(c.text), h2: h2}.start(t)
					a := r.get(t)
					want := c.text
					if c.event {
						want += event
					}
					require.Equal(t, want, a.body)
					requireCut(t, h2, a.err)
					require.NotContains(t, a.body, "[DONE]")
				})
			}
		})
	}
}

// TestCutEncodedEventStream: plain text would corrupt compressed bytes.
func TestCutEncodedEventStream(t *testing.T) {
	t.Parallel()
	r := setup{raw: writes(sseHead + "Content-Encoding: gzip\r\nContent-Length: 1000\r\n\r\nxx\n\n")}.start(t)
	a := r.get(t)
	require.Equal(t, "xx\n\n", a.body)
	requireCut(t, false, a.err)
}

// TestCutEventStreamBeforeAnyEvent: after its head a stream is at a boundary; before that an
// ordinary error response is still possible.
func TestCutEventStreamBeforeAnyEvent(t *testing.T) {
	t.Parallel()
	for protocol, h2 := range protocols() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			arrived := make(chan struct{})
			r := setup{raw: func(conn net.Conn, _ *http.Request) {
				_, _ = io.WriteString(conn, sseHead+"Transfer-Encoding: chunked\r\n\r\n")
				<-arrived
			}, h2: h2}.start(t)
			res, err := r.client.Do(r.request(t, http.MethodGet, "/", http.NoBody))
			close(arrived)
			require.NoError(t, err)
			defer func() { _ = res.Body.Close() }()
			require.Equal(t, 200, res.StatusCode)
			body, err := io.ReadAll(res.Body)
			require.True(t, strings.HasPrefix(string(body), "event: error\ndata: {\"type\":\"error\",\"error\":"), string(body))
			requireCut(t, h2, err)

			r = setup{raw: sseCut(""), h2: h2}.start(t)
			a := r.get(t)
			require.Equal(t, 502, a.status)
			require.NoError(t, a.err)
			require.Contains(t, a.body, `"code":"upstream_error"`)
		})
	}
}

// TestCutSilentEventStream: the idle limit cuts a silent stream, and the error event names that
// limit.
func TestCutSilentEventStream(t *testing.T) {
	t.Parallel()
	silent := func(conn net.Conn, _ *http.Request) {
		_, _ = io.WriteString(conn, sseHead+"\r\ndata: 1\n\n")
		_, _ = conn.Read(make([]byte, 1)) // until the gateway gives up
	}
	r := setup{raw: silent, config: proxy.Config{Timeouts: proxy.Timeouts{Idle: 50 * time.Millisecond}}}.start(t)
	a := r.get(t)
	require.True(t, strings.HasPrefix(a.body, "data: 1\n\nevent: error\ndata: {\"type\":\"error\",\"error\":"), a.body)
	require.Contains(t, a.body, `"code":"upstream_timeout"`)
	requireCut(t, false, a.err)
	require.ErrorIs(t, r.events.next(t).Err, proxy.ErrTimeout)
}
