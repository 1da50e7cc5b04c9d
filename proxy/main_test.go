package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience is how long a test waits for something that happens at once on success.
const patience = 10 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(peerVariable) != "" {
		if err := playPeer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m,
		// hystrix never ends them; see package breaker.
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*metricExchange).Monitor"),
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*poolMetrics).Monitor"),
	)
}

// transport is a function as a RoundTripper.
type transport func(req *http.Request) (*http.Response, error)

func (f transport) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// newResponse returns the response of a fake upstream.
func newResponse(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// errDial is the error of a transport when nothing listens.
var errDial = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// events collects the events of OnEvent.
type events struct {
	mu       sync.Mutex
	list     []proxy.Event
	finished chan proxy.Event
}

func newEvents() *events { return &events{finished: make(chan proxy.Event, 1000)} }

func (e *events) on(_ context.Context, ev proxy.Event) {
	e.mu.Lock()
	e.list = append(e.list, ev)
	e.mu.Unlock()
	if ev.Kind == proxy.Finished {
		e.finished <- ev
	}
}

// next waits for the end of an exchange: the client may see it before.
func (e *events) next(tb testing.TB) proxy.Event {
	tb.Helper()
	return receive(tb, e.finished)
}

func (e *events) attempts() []proxy.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []proxy.Event
	for _, ev := range e.list {
		if ev.Kind == proxy.AttemptEnded {
			list = append(list, ev)
		}
	}
	return list
}

// receive waits for a value, but not for ever.
func receive[T any](tb testing.TB, ch <-chan T) T {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		require.Fail(tb, "nothing came")
		panic("unreachable")
	}
}

// setup describes an upstream and the gateway before it, on real sockets.
type setup struct {
	upstream http.HandlerFunc                          // a net/http server, or
	raw      func(conn net.Conn, req *http.Request)    // one that writes its own bytes
	h2c      bool                                      // HTTP/2 to the upstream
	h2       bool                                      // HTTP/2 from the client
	config   proxy.Config                              // Target and Transport are filled in
	before   []gin.HandlerFunc                         // middlewares
	around   func(http.Handler) http.Handler           // for what gin must not see
	accepted func(conn net.Conn, state http.ConnState) // of the gateway
}

// rig is a running setup.
type rig struct {
	*httptest.Server

	client *http.Client
	proxy  *proxy.Proxy
	events *events
	target *url.URL
}

func (s setup) start(tb testing.TB) *rig {
	tb.Helper()
	r := &rig{events: newEvents()}
	if r.target = s.config.Target; r.target == nil {
		r.target = s.startUpstream(tb)
	}
	cfg := s.config
	cfg.Target = r.target
	if cfg.Transport == nil {
		cfg.Transport = newTransport(tb, s.h2c)
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = r.events.on
	}
	r.proxy = newProxy(tb, cfg)
	r.Server = s.startGateway(tb, r.proxy)
	r.client = newClient(tb, r.Server)
	return r
}

func (s setup) startUpstream(tb testing.TB) *url.URL {
	tb.Helper()
	if s.raw != nil {
		return rawServer(tb, s.raw)
	}
	up := httptest.NewUnstartedServer(s.upstream)
	if s.h2c {
		up.Config.Protocols = new(http.Protocols)
		up.Config.Protocols.SetUnencryptedHTTP2(true)
	}
	up.Config.ErrorLog = quiet()
	up.Start()
	tb.Cleanup(up.Close)
	return parse(tb, up.URL)
}

// startGateway mounts p behind gin's own recovery, which swallows http.ErrAbortHandler: nothing
// may depend on that panic.
func (s setup) startGateway(tb testing.TB, p *proxy.Proxy) *httptest.Server {
	tb.Helper()
	var h http.Handler = engine(p, s.before...)
	if s.around != nil {
		h = s.around(h)
	}
	gw := httptest.NewUnstartedServer(h)
	gw.Config.ErrorLog = quiet()
	gw.Config.ConnState = s.accepted
	if s.h2 {
		gw.EnableHTTP2 = true
		gw.StartTLS()
	} else {
		gw.Start()
	}
	tb.Cleanup(gw.Close)
	return gw
}

func engine(p *proxy.Proxy, before ...gin.HandlerFunc) *gin.Engine {
	e := gin.New()
	e.Use(gin.RecoveryWithWriter(io.Discard))
	e.Use(before...)
	e.Any("/*path", p.Handler())
	return e
}

func newProxy(tb testing.TB, cfg proxy.Config) *proxy.Proxy {
	tb.Helper()
	p, err := proxy.New(cfg)
	require.NoError(tb, err)
	return p
}

func newTransport(tb testing.TB, h2c bool) *proxy.Transport {
	tb.Helper()
	cfg := proxy.TransportConfig{}
	if h2c {
		cfg.Protocol = "h2c"
	}
	tr, err := proxy.NewTransport(cfg)
	require.NoError(tb, err)
	tb.Cleanup(tr.CloseIdleConnections)
	return tr
}

// newClient returns a client without compression and redirects.
func newClient(tb testing.TB, s *httptest.Server) *http.Client {
	tb.Helper()
	c := s.Client()
	tr := c.Transport.(*http.Transport)
	tr.DisableCompression = true
	tr.MaxIdleConnsPerHost = 100
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	tb.Cleanup(tr.CloseIdleConnections)
	return c
}

// rawServer reads one request of each connection, calls serve with both, and then closes the
// connection.
func rawServer(tb testing.TB, serve func(conn net.Conn, req *http.Request)) *url.URL {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	var wg sync.WaitGroup
	handle := func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			serve(conn, req)
		}
	}
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { handle(conn) })
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return parse(tb, "http://"+ln.Addr().String())
}

// writes returns a raw upstream that sends fixed bytes and hangs up.
func writes(text string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, _ *http.Request) { _, _ = io.WriteString(conn, text) }
}

func parse(tb testing.TB, s string) *url.URL {
	tb.Helper()
	u, err := url.Parse(s)
	require.NoError(tb, err)
	return u
}

// response is what a client received, read to its end.
type response struct {
	status  int
	header  http.Header
	trailer http.Header
	length  int64
	body    string
	err     error // why the body broke off; nil for a clean end
}

func (r *rig) do(tb testing.TB, req *http.Request) response {
	tb.Helper()
	res, err := r.client.Do(req)
	require.NoError(tb, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return response{status: res.StatusCode, header: res.Header, trailer: res.Trailer, length: res.ContentLength, body: string(body), err: err}
}

func (r *rig) request(tb testing.TB, method, path string, body io.Reader) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, r.URL+path, body)
	require.NoError(tb, err)
	return req
}

func (r *rig) get(tb testing.TB) response {
	tb.Helper()
	return r.do(tb, r.request(tb, http.MethodGet, "/", http.NoBody))
}

func (r *rig) post(tb testing.TB, path string, body io.Reader) response {
	tb.Helper()
	return r.do(tb, r.request(tb, http.MethodPost, path, body))
}

// dial opens a connection to the gateway for a test's own bytes.
func (r *rig) dial(tb testing.TB) (net.Conn, *bufio.Reader) {
	tb.Helper()
	conn, err := net.Dial("tcp", r.Listener.Addr().String())
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	require.NoError(tb, conn.SetDeadline(time.Now().Add(patience)))
	return conn, bufio.NewReader(conn)
}

// serve passes a request through p without a network.
func serve(p *proxy.Proxy, req *http.Request, before ...gin.HandlerFunc) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	engine(p, before...).ServeHTTP(w, req)
	return w
}

func request(tb testing.TB, method string, body io.Reader) *http.Request {
	tb.Helper()
	return httptest.NewRequestWithContext(tb.Context(), method, "/v1/x", body)
}

// pattern returns n bytes in which a lost or duplicate piece is detected.
func pattern(n int) string {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		b.WriteString(time.Duration(i).String())
	}
	return b.String()[:n]
}

// quiet is a log for servers that complain about a test.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
