package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// dial opens a connection and sends the beginning of a request.
func (p *process) dial(text string) net.Conn {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.public, "http://"))
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(p.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, text)
	require.NoError(p.t, err)
	return conn
}

func startWithWriteTimeout(t *testing.T) (p *process, key string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.json")
	key = newKey(t, "-file", file, "-subject", "alice")
	return start(t, fmt.Sprintf(`{%s, "auth": {"keys": %q}, "queue": {"dir": %q}, "upstreams": {"a": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "upstream": "a", "queue": true, "stream": {"write_timeout": "200ms"}, "cors": {"origins": ["https://app.example.com"]}}]}`,
		ports, file, t.TempDir(), echoUpstream(t).URL)), key
}

// A client that never sends the announced body is disconnected, even when no handler reads
// the body: net/http reads it before it sends a refusal.
func TestUnsentBody(t *testing.T) {
	t.Parallel()
	p, key := startWithWriteTimeout(t)
	const form = "Content-Type: multipart/form-data; boundary=b\r\n"
	begun := time.Now()
	conns := map[string]net.Conn{}
	for name, head := range map[string]string{
		"unauthenticated":         "POST /v1/chat/completions HTTP/1.1\r\n",
		"unauthenticated, chunks": "POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
		"no route":                "POST /nowhere HTTP/1.1\r\n",
		"preflight":               "OPTIONS /v1/x HTTP/1.1\r\nOrigin: https://app.example.com\r\nAccess-Control-Request-Method: POST\r\n",
		"file":                    "POST /v1/files HTTP/1.1\r\nAuthorization: Bearer " + key + "\r\n" + form,
		"no such job":             "POST /v1/jobs/x/cancel HTTP/1.1\r\nAuthorization: Bearer " + key + "\r\n",
	} {
		if !strings.Contains(head, "chunked") {
			head += "Content-Length: 1000\r\n"
		}
		conns[name] = p.dial(head + "Host: x\r\n\r\n")
	}
	for name, conn := range conns {
		text, err := io.ReadAll(conn)
		require.NoError(t, err, "%s: closed by the gateway, not by our deadline", name)
		assert.Contains(t, string(text), "HTTP/1.1 ", name)
	}
	assert.Less(t, time.Since(begun), 40*time.Second)
}

// A client that never opens its HTTP/2 windows is disconnected, authenticated or not.
func TestClosedHTTP2Windows(t *testing.T) {
	t.Parallel()
	upstream := echoUpstream(t)
	p := start(t, fmt.Sprintf(`{"public": {"address": "127.0.0.1:0", "h2c": true}, "private": {"address": "127.0.0.1:0"},
		"upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a"}]}`, upstream.URL))
	idle := p.settledGoroutines()
	conn := p.dial(http2.ClientPreface)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	framer := http2.NewFramer(conn, conn)
	require.NoError(t, framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize}))
	const n = 90
	for i := range uint32(n) {
		var head bytes.Buffer
		fields := hpack.NewEncoder(&head)
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", []string{"/v1/x", "/nowhere"}[i%2]}} {
			require.NoError(t, fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true}))
	}
	for reset := 0; reset < n; {
		frame, err := framer.ReadFrame()
		require.NoError(t, err)
		if frame.Header().Type == http2.FrameRSTStream {
			reset++
		}
	}
	require.Eventually(t, func() bool { return p.goroutines() < idle+n/2 }, patience, 50*time.Millisecond)
}

// A client that does not read a file is disconnected.
func TestUnreadDownload(t *testing.T) {
	t.Parallel()
	p, key := startWithWriteTimeout(t)
	client := newClient(t, 1)
	form := "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n" +
		strings.Repeat("x", 32<<20) + "\r\n--b--\r\n"
	id := ""
	require.Eventually(t, func() bool { // the queue's store may still be starting
		code, text := p.sendWithKey(client, http.MethodPost, "/v1/files", key, form, "Content-Type", "multipart/form-data; boundary=b")
		_, id, _ = strings.Cut(text, `"id":"`)
		id, _, _ = strings.Cut(id, `"`)
		return code == http.StatusOK
	}, patience, 50*time.Millisecond)
	p.dial("GET /v1/files/" + id + "/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + "\r\n\r\n")
	reading := func() bool {
		_, text := p.admin(http.MethodGet, "/debug/pprof/goroutine?debug=1", "")
		return strings.Contains(text, "queue/batch.(*files).content")
	}
	require.Eventually(t, reading, patience, 10*time.Millisecond)
	require.Eventually(t, func() bool { return !reading() }, 10*time.Second, 50*time.Millisecond)
}
