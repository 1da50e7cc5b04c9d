package h1

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/body"
)

// Config configures a Transport. All fields but Proxy are required.
type Config struct {
	// Dial opens a connection. One of package connect is not used beyond its Lifetime.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Proxy returns the forward proxy of a request, which then goes to Rest. Nil: there is none.
	Proxy func(*http.Request) (*url.URL, error)
	// Rest handles the requests that this package does not.
	Rest http.RoundTripper
	// MaxIdle is the number of idle connections that are kept per server.
	MaxIdle int
	// IdleTimeout is the time after which an idle connection is closed, unless the server announced
	// a shorter one; 0: never.
	IdleTimeout time.Duration
	// MaxHeader bounds the head of a response with all 1xx before it, in bytes.
	MaxHeader int64
}

// Transport is an http.RoundTripper for plain-text HTTP/1.1 requests with a body in memory. It is safe for
// concurrent use.
type Transport struct {
	cfg   Config
	mu    sync.Mutex
	hosts map[string]*host
}

// New returns a Transport.
func New(cfg Config) *Transport { return &Transport{cfg: cfg, hosts: map[string]*host{}} }

// RoundTrip implements http.RoundTripper. Of a request's httptrace it calls only GotConn and
// Got1xxResponse. A request on a reused connection that ends before a byte of the response is
// sent once more on a new connection, whatever its method.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	parts, ok := t.takes(req)
	if !ok {
		return t.cfg.Rest.RoundTrip(req)
	}
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }()
	}
	release, ok := body.Borrow(req)
	if !ok {
		return nil, http.ErrBodyReadAfterClose
	}
	defer release()
	if err := req.Context().Err(); err != nil {
		return nil, context.Cause(req.Context())
	}
	address := req.URL.Host
	if req.URL.Port() == "" {
		address = net.JoinHostPort(req.URL.Hostname(), "80")
	}
	h := t.host(address)
	if c := h.unused(); c != nil {
		gotConn(req, c.Conn, true)
		res, err := c.exchange(req, parts)
		// A server may close an idle connection just as it is reused: that is no failure. A new
		// connection can't be stale.
		if !errors.Is(err, errStale) || req.Context().Err() != nil {
			return res, err
		}
	}
	nc, err := t.cfg.Dial(req.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	gotConn(req, nc, false)
	return newConn(nc, h).exchange(req, parts)
}

// gotConn passes the connection to the request's trace.
func gotConn(req *http.Request, c net.Conn, reused bool) {
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: c, Reused: reused})
	}
}

// takes reports whether this package can make the request, and returns its body.
func (t *Transport) takes(req *http.Request) (parts [][]byte, ok bool) {
	u := req.URL
	if u == nil || u.Scheme != "http" || u.Host == "" || u.Opaque != "" || req.Close || len(req.Trailer) > 0 || len(req.TransferEncoding) > 0 {
		return nil, false
	}
	if req.Method == http.MethodConnect || strings.ContainsFunc(u.Host, func(r rune) bool { return r >= 0x80 }) {
		return nil, false
	}
	for _, name := range [...]string{"Connection", "Upgrade", "Transfer-Encoding", "Expect"} {
		if _, ok := req.Header[name]; ok {
			return nil, false
		}
	}
	if t.cfg.Proxy != nil {
		if forward, err := t.cfg.Proxy(req); forward != nil || err != nil {
			return nil, false
		}
	}
	parts, size, ok := body.Segments(req)
	return parts, ok && req.ContentLength == size
}

func (t *Transport) host(address string) *host {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hosts[address]
	if h == nil {
		h = &host{cfg: &t.cfg}
		t.hosts[address] = h
	}
	return h
}

// CloseIdleConnections closes all idle connections.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for address, h := range t.hosts {
		h.closeIdle()
		delete(t.hosts, address)
	}
}
