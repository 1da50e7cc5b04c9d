package exchange_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serve starts a server and returns its address and a transport to it.
func serve(t *testing.T, proto string, h http.HandlerFunc) (string, *http.Transport) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = proto == "h2"
	s.Config.ErrorLog = nil
	if proto == "h2" {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	next, ok := s.Client().Transport.(*http.Transport)
	require.True(t, ok)
	t.Cleanup(next.CloseIdleConnections)
	return s.URL, next
}

func TestVerdictOverTheWire(t *testing.T) {
	t.Parallel()
	reply := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, body)
		}
	}
	ok := reply("application/json", `{"choices":[{"message":{"content":"Hi"}}]}`)
	nothing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	trailer := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(make([]byte, 5))
		w.Header().Set("Grpc-Status", "14")
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", sse)
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		change  func(r *http.Request)
		want    string
	}{
		{"a response", ok, nil, "success nobody"},
		{"a stream", reply(sse, whole), nil, "success nobody"},
		{"nothing", nothing, nil, "failure endpoint repeatable"},
		{"cut", cut, nil, "failure endpoint"},
		{"gRPC", trailer, nil, "failure endpoint"},
		{"method", ok, func(r *http.Request) { r.Method = "PO ST" }, "failure request"},
		{"header name", ok, func(r *http.Request) { r.Header["a b"] = []string{"c"} }, "failure request"},
		{"header value", ok, func(r *http.Request) { r.Header["A"] = []string{"\x00"} }, "failure request"},
		{"query with a control character", ok, func(r *http.Request) { r.URL.RawQuery = "a\x01b" }, "failure request"},
		{"upload", ok, func(r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("x"), new(brokenReader)))
			r.ContentLength = 10
		}, "canceled client"},
	} {
		for _, proto := range []string{"h1", "h2"} {
			t.Run(tt.name+" "+proto, func(t *testing.T) {
				t.Parallel()
				url, next := serve(t, proto, tt.handler)
				x := &exchange.Exchange{Limits: exchange.Limits{FirstByte: 2 * time.Second}}
				if tt.name == "upload" {
					x.Upload = func() error { return io.ErrUnexpectedEOF }
				}
				in, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+chat, http.NoBody)
				require.NoError(t, err)
				if tt.change != nil {
					tt.change(in)
				}
				c := count(x)
				a, req := c.Begin(in)
				assert.Equal(t, tt.want, show(judged(t, a, req, next).Verdict))
				c.requireBalanced(t)
			})
		}
	}
}

type brokenReader struct{}

func (*brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestHeadersThatAServerRejects(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.EnableHTTP2, s.Config.MaxHeaderBytes = true, 1<<10
	s.StartTLS()
	defer s.Close()
	next := s.Client().Transport
	for i := range 2 { // the first one learns the limit
		in, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+chat, http.NoBody)
		require.NoError(t, err)
		if i == 1 {
			in.Header.Set("A", string(bytes.Repeat([]byte("x"), 1<<20)))
		}
		c := count(new(exchange.Exchange))
		a, req := c.Begin(in)
		if e := judged(t, a, req, next); i == 1 {
			assert.False(t, e.Bad(), "%v", e.Err)
		}
		c.requireBalanced(t)
	}
}

func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	in, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr().String()+chat, http.NoBody)
	require.NoError(t, err)
	a, req := exchange.Start(in)
	next := new(http.Transport)
	assert.Equal(t, "failure endpoint repeatable unsent", show(judged(t, a, req, next).Verdict))
}

func TestPoolInAPlainClient(t *testing.T) {
	t.Parallel()
	url, next := serve(t, "h1", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", sse)
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		<-time.After(300 * time.Millisecond)
	})
	var end *exchange.End
	ended := make(chan struct{})
	client := &http.Client{Timeout: 100 * time.Millisecond, Transport: layer{next: layer{next: next}, seen: func(a *exchange.Attempt, _ *http.Request, _ *http.Response) {
		a.OnEnd(func(e *exchange.End) { end = e; close(ended) })
	}}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+chat, http.NoBody)
	require.NoError(t, err)
	res, err := client.Do(req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, res.Body)
	require.Error(t, err)
	<-ended
	require.NoError(t, res.Body.Close())
	assert.Equal(t, "failure endpoint", show(end.Verdict))
	require.Error(t, end.Err)
}
