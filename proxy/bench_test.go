//go:build unix

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// BenchmarkProxy measures the relay beside httputil.ReverseProxy, both in gin
// and over the same kind of transport to a real upstream on the loopback. Wall
// time says little there; cpu-µs/op is the CPU time of the whole process, client
// and upstream included, which are the same for both.
//
//	go test -run '^$' -bench Proxy -count 6 ./proxy
func BenchmarkProxy(b *testing.B) {
	for _, load := range loads() {
		b.Run(load.name, func(b *testing.B) {
			up := httptest.NewServer(load.upstream)
			b.Cleanup(up.Close)
			for _, impl := range []struct {
				name    string
				handler func(testing.TB, *url.URL) gin.HandlerFunc
			}{{"ginfer", ours}, {"reverseproxy", theirs}} {
				b.Run(impl.name, func(b *testing.B) { exchanges(b, impl.handler(b, parse(b, up.URL)), load, impl.name == "reverseproxy") })
			}
		})
	}
}

// load is one kind of exchange.
type load struct {
	name     string
	request  string // as it goes over the wire
	length   int    // of the answer's body
	upstream http.HandlerFunc
}

func loads() []load {
	kilobyte := `{"pad":"` + strings.Repeat("x", 1014) + `"}`
	event := "data: " + strings.Repeat("x", 100) + "\n\n"
	body := pattern(100 << 10)
	post := fmt.Sprintf("POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(kilobyte), kilobyte)
	return []load{
		{"json", post, len(kilobyte), func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, kilobyte)
		}},
		{"sse", post, 50 * len(event), func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "text/event-stream")
			rc := http.NewResponseController(w)
			for range 50 {
				_, _ = io.WriteString(w, event)
				_ = rc.Flush()
			}
		}},
		{"body100k", "GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n", len(body), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, body)
		}},
	}
}

func ours(tb testing.TB, target *url.URL) gin.HandlerFunc {
	tb.Helper()
	return newProxy(tb, proxy.Config{Transport: newTransport(tb, false), Target: target}).Handler()
}

// theirs is tuned as its documentation advises.
func theirs(tb testing.TB, target *url.URL) gin.HandlerFunc {
	tb.Helper()
	rp := &httputil.ReverseProxy{
		Transport: newTransport(tb, false), BufferPool: &buffers{}, ErrorLog: quiet(),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
	}
	return func(c *gin.Context) { rp.ServeHTTP(c.Writer, c.Request) }
}

type buffers struct{ pool sync.Pool }

func (p *buffers) Get() []byte {
	if b, ok := p.pool.Get().(*[32 << 10]byte); ok {
		return b[:]
	}
	return make([]byte, 32<<10)
}

func (p *buffers) Put(b []byte) { p.pool.Put((*[32 << 10]byte)(b)) }

// exchanges sends requests one after another on one connection. An answer that
// is cut is a fault of ours; of ReverseProxy's it is counted, as it does cut a
// few POST streams (golang/go#40747), which gin.Recovery then makes look whole.
func exchanges(b *testing.B, h gin.HandlerFunc, l load, mayCut bool) {
	b.Helper()
	e := gin.New()
	e.Use(gin.RecoveryWithWriter(io.Discard))
	e.Any("/*path", h)
	gw := httptest.NewServer(e)
	b.Cleanup(gw.Close)
	conn, in := connect(b, gw)
	exchange(b, conn, in, l) // connections and pools are ready
	b.ReportAllocs()
	before, cut := cpu(b), 0
	b.ResetTimer()
	for range b.N {
		if exchange(b, conn, in, l) {
			continue
		}
		if !mayCut {
			b.Fatal("the answer was cut")
		}
		cut++
		conn, in = connect(b, gw)
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(cut), "cut")
}

func connect(b *testing.B, gw *httptest.Server) (net.Conn, *bufio.Reader) {
	b.Helper()
	conn, err := net.Dial("tcp", gw.Listener.Addr().String())
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	return conn, bufio.NewReader(conn)
}

// exchange reports whether the answer was whole.
func exchange(b *testing.B, conn net.Conn, in *bufio.Reader, l load) bool {
	b.Helper()
	if _, err := io.WriteString(conn, l.request); err != nil {
		b.Fatal(err)
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		b.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return err == nil && n == int64(l.length) && res.StatusCode == http.StatusOK
}

// cpu is the time that this process has spent on processors.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
