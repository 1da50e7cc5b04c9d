package chain_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/stretchr/testify/require"
)

const (
	completion = `{"id":"c","object":"chat.completion","created":1750000000,"model":"demo","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}`
	event      = `data: {"id":"c","object":"chat.completion.chunk","created":1750000000,"model":"demo","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}` + "\n\n"
	lastEvent  = `data: {"id":"c","object":"chat.completion.chunk","created":1750000000,"model":"demo","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
)

// model is a server that allocates nothing for a request. A request for a stream gets as many events
// as its max_tokens.
func model(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	var conns sync.WaitGroup
	done := make(chan struct{})
	tb.Cleanup(func() { close(done); _ = listener.Close(); conns.Wait() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { respond(conn) })
			conns.Go(func() { <-done; _ = conn.Close() })
		}
	}()
	return "http://" + listener.Addr().String()
}

func respond(conn net.Conn) { //nolint:gocognit // a server in one function
	defer func() { _ = conn.Close() }()
	whole := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(completion), completion)
	head := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	next, last := chunk(event), append(chunk(lastEvent), "0\r\n\r\n"...)
	r, body := bufio.NewReader(conn), make([]byte, 1<<20)
	for {
		length, events := 0, 0
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if line = bytes.TrimSpace(line); len(line) == 0 {
				break
			}
			if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				for _, c := range value {
					length = 10*length + int(c-'0')
				}
			}
		}
		if _, err := io.ReadFull(r, body[:length]); err != nil {
			return
		}
		if _, rest, ok := bytes.Cut(body[:length], []byte(`"events":`)); ok {
			for ; len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9'; rest = rest[1:] {
				events = 10*events + int(rest[0]-'0')
			}
		}
		if events == 0 {
			_, _ = conn.Write(whole)
			continue
		}
		_, _ = conn.Write(head)
		for range events {
			_, _ = conn.Write(next)
		}
		_, _ = conn.Write(last)
	}
}

func chunk(data string) []byte { return fmt.Appendf(nil, "%x\r\n%s\r\n", len(data), data) }

// discard is a response writer that can be used again.
type discard struct {
	header http.Header
	status int
	n      int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { d.n += len(p); return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Flush()                      {}

func (d *discard) SetReadDeadline(time.Time) error  { return nil }
func (d *discard) SetWriteDeadline(time.Time) error { return nil }
func (d *discard) EnableFullDuplex() error          { return nil }

// caller sends a request to the whole chain: JWT is replaced by the gateway's own token.
func caller(tb testing.TB, body string) func() {
	tb.Helper()
	endpoint := model(tb)
	g, err := gatewaytest.Load(tb, gatewaytest.Write(tb, "my.json", fmt.Sprintf(`{
		"limits": {"requests": {"unit": "requests", "by": "subject", "rate": "1000000/s", "burst": 1000000},
			"tokens": {"unit": "tokens", "by": "tenant", "rate": "1000000000/s", "burst": 10000000000}},
		"upstreams": {"v1": {"endpoints": [{"url": %q}, {"url": %q}]}},
		"groups": [{"path": "/v1", "stages": ["auth", "routing", "limits", "stream"], "limits": ["requests", "tokens"],
			"routing": {"table": {"routes": [{"model": "demo", "version": "v1"}]}}}]}`, endpoint, strings.Replace(endpoint, "127.0.0.1", "localhost", 1))))
	require.NoError(tb, err)
	g.SetReady(true)
	return sender(tb, g, body)
}

func sender(tb testing.TB, g *live.Gateway, body string) func() {
	tb.Helper()
	text := []byte(body)
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	base, err := http.NewRequestWithContext(ctx, http.MethodPost, "/v1/chat/completions", http.NoBody)
	require.NoError(tb, err)
	base.Host, base.RemoteAddr, base.ContentLength, base.RequestURI = "gateway", "127.0.0.1:1234", int64(len(text)), "/v1/chat/completions"
	header := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + g.Token()}, "User-Agent": {"bench"}, "Accept": {"*/*"}}
	reader := bytes.NewReader(nil)
	w := &discard{header: http.Header{}}
	inbound := io.NopCloser(reader)
	return func() {
		reader.Reset(text)
		clear(w.header)
		r := *base
		r.Body, r.Header = inbound, header
		g.ServeHTTP(w, &r)
		if w.status != http.StatusOK {
			tb.Fatal(w.status)
		}
	}
}

func chat(events, size int) string {
	option := ""
	if events > 0 {
		option = fmt.Sprintf(`"stream":true,"stream_options":{"include_usage":true},"events":%d,`, events)
	}
	return `{"model":"demo",` + option + `"messages":[{"role":"user","content":"` + strings.Repeat("lorem ipsum ", size/12) + `"}]}`
}

// The whole chain over a real connection, from the server's handler to the upstream and back.
func BenchmarkChain(b *testing.B) {
	for name, body := range map[string]string{"1KB": chat(0, 800), "256KB": chat(0, 256<<10), "stream of 100": chat(100, 800)} {
		b.Run(name, func(b *testing.B) {
			send := caller(b, body)
			send()
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
}
