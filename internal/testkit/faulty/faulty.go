// Package faulty is an upstream for tests that speaks HTTP/1.1 over raw TCP, and
// misbehaves as it is told.
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

// Response is what a server does with a request, step by step. After the last one the
// connection can be used again.
type Response []Step

// Plan has the answers to the requests that come, in turn, to all the servers which
// share it; the last one goes on. It is safe for concurrent use.
type Plan struct {
	mu        sync.Mutex
	responses []Response
	calls     []string
}

// InTurn returns a plan of at least one answer.
func InTurn(responses ...Response) *Plan { return &Plan{responses: responses} }

// Calls returns which servers were asked, in order, by their names.
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
	// URL is its base, Addr its host and port.
	URL, Addr string

	name   string
	plan   *Plan
	listen net.Listener
	ctx    context.Context //nolint:containedctx // the server's own life
	end    context.CancelFunc
	served sync.WaitGroup
}

// Start starts a server of that name, for as long as the test runs.
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

// Close ends the server and all that it does.
func (s *Server) Close() {
	s.end()
	_ = s.listen.Close()
	s.served.Wait()
}

// Refusing returns the base URL of a server that refuses connections. The port is in
// use by a connection, so that nobody else gets it meanwhile.
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
