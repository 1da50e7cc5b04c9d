// Package faulty is an upstream for tests that speaks HTTP/1.1 over raw TCP and
// misbehaves according to a plan.
package faulty

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Response is a sequence of steps in response to a request. After the last one the
// connection can be reused.
type Response []Step

// Plan has the responses to consecutive requests at all servers that share it; the last
// one repeats. It is safe for concurrent use.
type Plan struct {
	mu        sync.Mutex
	responses []Response
	calls     []string
}

// InTurn returns a plan of at least one response.
func InTurn(responses ...Response) *Plan { return &Plan{responses: responses} }

// Calls returns the names of the servers that received a request, in order.
func (p *Plan) Calls() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.calls...)
}

func (p *Plan) next(server string) Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, server)
	return p.responses[min(len(p.calls), len(p.responses))-1]
}

// Server is a server on loopback.
type Server struct {
	// URL is the base URL, Addr the host and port.
	URL, Addr string

	name   string
	plan   *Plan
	listen net.Listener
	ctx    context.Context //nolint:containedctx // the server's own life
	end    context.CancelFunc
	served sync.WaitGroup
}

// Start starts a server of that name. It runs until the test ends.
func Start(tb testing.TB, name string, plan *Plan) *Server {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{URL: "http://" + l.Addr().String(), Addr: l.Addr().String(), name: name, plan: plan, listen: l}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.served.Go(s.accept)
	tb.Cleanup(s.Close)
	return s
}

// Close ends the server and its connections.
func (s *Server) Close() {
	s.end()
	_ = s.listen.Close()
	s.served.Wait()
}

// Refusing returns the base URL of a server that refuses connections. A connection
// occupies the port, so that no other server can listen on it.
func Refusing(tb testing.TB) string {
	tb.Helper()
	s := Start(tb, "", nil)
	c, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", s.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return "http://" + c.LocalAddr().String()
}

func (s *Server) accept() {
	for {
		c, err := s.listen.Accept()
		if err != nil {
			return
		}
		s.served.Go(func() { s.serve(c) })
	}
}

func (s *Server) serve(nc net.Conn) {
	defer context.AfterFunc(s.ctx, func() { _ = nc.Close() })()
	defer func() { _ = nc.Close() }()
	c := &conn{Conn: nc, ctx: s.ctx, in: bufio.NewReader(nc)}
	for {
		req, err := http.ReadRequest(c.in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		for _, step := range s.plan.next(s.name) {
			if step(c) != nil {
				return
			}
		}
	}
}

// errOver ends a connection.
var errOver = errors.New("over")
