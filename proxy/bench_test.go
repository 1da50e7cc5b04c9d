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
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// BenchmarkProxy compares Proxy over its Transport with httputil.ReverseProxy over a tuned
// http.Transport, both in gin, in turns, so that noise affects both alike. Client (32
// connections) and upstream are in a process of their own: the figures are the gateway's cost
// alone. Wall time says little on a loopback.
//
//	go test -run '^$' -bench Proxy -benchtime 30x ./proxy
func BenchmarkProxy(b *testing.B) {
	peer := startPeer(b)
	for _, load := range loads() {
		b.Run(load.name, func(b *testing.B) {
			up := parse(b, peer.upstreams[load.name])
			rivals := []*rival{{name: "ginfer", address: mount(b, ours(b, up))}, {name: "reverseproxy", address: mount(b, theirs(b, up))}}
			for _, r := range rivals {
				peer.drive(b, load.name, r.address, turn) // connections and pools are ready
			}
			b.ResetTimer()
			for i := range b.N {
				rivals[i%2].turn(b, peer, load.name)
				rivals[1-i%2].turn(b, peer, load.name)
			}
			b.StopTimer()
			for _, r := range rivals {
				r.report(b)
			}
			b.ReportMetric(float64(rivals[0].cpu)/float64(rivals[1].cpu), "cpu-ratio")
			b.ReportMetric(0, "ns/op")
			require.Zero(b, rivals[0].cut, "ReverseProxy may cut POST streams (golang/go#40747), Proxy must not")
		})
	}
}

// turn is the number of requests that a rival gets in its turn.
const turn = 2000

type rival struct {
	name, address string
	cpu           time.Duration
	allocs        uint64
	cut, turns    int
}

func (r *rival) turn(b *testing.B, p *peer, load string) {
	b.Helper()
	var before, after runtime.MemStats
	runtime.GC() // neither pays for the other's garbage
	runtime.ReadMemStats(&before)
	start := cpu(b)
	r.cut += p.drive(b, load, r.address, turn)
	r.cpu += cpu(b) - start
	runtime.ReadMemStats(&after)
	r.allocs += after.Mallocs - before.Mallocs
	r.turns++
}

func (r *rival) report(b *testing.B) {
	b.Helper()
	n := float64(r.turns * turn)
	b.ReportMetric(float64(r.cpu.Nanoseconds())/1e3/n, r.name+"-cpu-µs")
	b.ReportMetric(float64(r.allocs)/n, r.name+"-allocs")
	b.ReportMetric(float64(r.cut), r.name+"-cut")
}

func mount(b *testing.B, h gin.HandlerFunc) (address string) {
	b.Helper()
	e := gin.New()
	e.Use(gin.RecoveryWithWriter(io.Discard))
	e.Any("/*path", h)
	gw := httptest.NewServer(e)
	b.Cleanup(gw.Close)
	return gw.Listener.Addr().String()
}

// peer is the other process: upstreams for every load, and the client.
type peer struct {
	upstreams map[string]string // URLs by the load's name
	commands  io.Writer
	responses *bufio.Reader
}

// peerVariable makes the test binary run as the peer.
const peerVariable = "GINFER_BENCH_PEER"

func startPeer(b *testing.B) *peer {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), peerVariable+"=1")
	cmd.Stderr = os.Stderr
	commands, err := cmd.StdinPipe()
	require.NoError(b, err)
	responses, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = commands.Close()
		_ = cmd.Wait()
	})
	p := &peer{upstreams: map[string]string{}, commands: commands, responses: bufio.NewReader(responses)}
	for _, l := range loads() {
		var at string
		_, err := fmt.Fscanf(p.responses, l.name+" %s\n", &at)
		require.NoError(b, err)
		p.upstreams[l.name] = at
	}
	return p
}

// drive makes the peer send n requests, one after another, and returns the number of cut
// responses.
func (p *peer) drive(b *testing.B, load, address string, n int) (cut int) {
	b.Helper()
	_, err := fmt.Fprintf(p.commands, "%s %s %d\n", load, address, n)
	require.NoError(b, err)
	_, err = fmt.Fscanf(p.responses, "cut %d\n", &cut)
	require.NoError(b, err)
	return cut
}

// playPeer runs the other process.
func playPeer() error {
	byName := map[string]load{}
	for _, l := range loads() {
		byName[l.name] = l
		fmt.Fprintln(os.Stdout, l.name, httptest.NewServer(l.upstream).URL)
	}
	for {
		var name, address string
		var n int
		if _, err := fmt.Scanf("%s %s %d\n", &name, &address, &n); err != nil {
			return nil //nolint:nilerr // the benchmark has ended
		}
		cut, err := byName[name].send(address, n)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, "cut", cut)
	}
}

// load is one kind of exchange.
type load struct {
	name     string
	request  string // as it is sent
	length   int    // of the response's body
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
		Transport: proxy.HTTPTransport(newTransport(tb, false)), BufferPool: &buffers{}, ErrorLog: quiet(),
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

// clients is the number of connections.
const clients = 32

// send makes n exchanges over all connections and returns the number of cut responses.
func (l load) send(address string, n int) (int, error) {
	var left, cut atomic.Int64
	left.Store(int64(n))
	var first error
	var once sync.Once
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := l.sendSome(address, &left, &cut); err != nil {
					once.Do(func() { first = err })
					return
				}
			}
		})
	}
	wg.Wait()
	return int(cut.Load()), first
}

// sendSome uses one connection until a response on it is cut. One exchange has already been
// taken from left.
func (l load) sendSome(address string, left, cut *atomic.Int64) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		whole, err := l.exchange(conn, in)
		if err != nil {
			return err
		}
		if !whole {
			cut.Add(1)
			return nil
		}
		if left.Add(-1) < 0 {
			return nil
		}
	}
}

// exchange reports whether the response was complete.
func (l load) exchange(conn net.Conn, in *bufio.Reader) (bool, error) {
	if _, err := io.WriteString(conn, l.request); err != nil {
		return false, err
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(io.Discard, res.Body)
	return err == nil && n == int64(l.length) && res.StatusCode == http.StatusOK, nil
}
