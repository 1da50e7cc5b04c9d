package exchange_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// transport is a function as a RoundTripper.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// layer is a RoundTripper like those of the other packages.
type layer struct {
	next http.RoundTripper
	seen func(a *exchange.Attempt, req *http.Request, res *http.Response)
}

func (l layer) RoundTrip(req *http.Request) (*http.Response, error) {
	a, req := exchange.Start(req)
	res, err := a.Do(req, l.next)
	if exchange.IsRefused(err) {
		return nil, err
	}
	if l.seen != nil {
		l.seen(a, req, res)
	}
	return res, err
}

const (
	chat  = "/v1/chat/completions"
	sse   = "text/event-stream"
	text  = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n"
	stop  = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
	done  = "data: [DONE]\n\n"
	usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n"
	whole = text + stop + usage + done
)

func post(ctx context.Context, path string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://upstream.test"+path, http.NoBody)
	if err != nil {
		panic(err)
	}
	return r
}

// source is a response's body that arrives in the given pieces.
type source struct {
	mu     sync.Mutex
	pieces []string
	err    error  // at the end; nil: io.EOF
	panics any    // there
	before func() // each read
	closed int
	reads  int // after Close
}

func (s *source) Read(p []byte) (int, error) {
	if s.before != nil {
		s.before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed > 0:
		s.reads++
		return 0, http.ErrBodyReadAfterClose
	case len(s.pieces) > 0:
		n := copy(p, s.pieces[0])
		if s.pieces[0] = s.pieces[0][n:]; s.pieces[0] == "" {
			s.pieces = s.pieces[1:]
		}
		return n, nil
	case s.panics != nil:
		panic(s.panics)
	case s.err != nil:
		return 0, s.err
	}
	return 0, io.EOF
}

func (s *source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
	return nil
}

func response(status int, contentType string, body io.ReadCloser) *http.Response {
	res := &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, ContentLength: -1, Body: body}
	if contentType != "" {
		res.Header.Set("Content-Type", contentType)
	}
	return res
}

// give returns a transport that responds with a body in pieces.
func give(status int, contentType string, pieces ...string) transport {
	return func(*http.Request) (*http.Response, error) {
		return response(status, contentType, &source{pieces: pieces}), nil
	}
}

// counted is an exchange that records its attempts' ends.
type counted struct {
	*exchange.Exchange
	mu   sync.Mutex
	ends []*exchange.End
}

func count(x *exchange.Exchange) *counted {
	c := &counted{Exchange: x}
	x.OnEnd(func(_ *exchange.Attempt, e *exchange.End) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ends = append(c.ends, e)
	})
	return c
}

// requireBalanced requires that as many attempts ended as began.
func (c *counted) requireBalanced(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Len(t, c.ends, c.Attempts(), "attempts ended, and begun")
}

// begin makes an attempt of a new exchange.
func begin(t *testing.T, x *exchange.Exchange, path string) (*exchange.Attempt, *http.Request, *counted) {
	t.Helper()
	c := count(x)
	a, req := x.Begin(post(t.Context(), path))
	return a, req, c
}

func readAll(t *testing.T, res *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	_, err := io.Copy(&b, res.Body)
	require.NoError(t, err)
	return b.String()
}

func endOf(a *exchange.Attempt) *exchange.End {
	var end *exchange.End
	a.OnEnd(func(e *exchange.End) { end = e })
	return end
}

func body(s string) *source { return &source{pieces: []string{s}} }
