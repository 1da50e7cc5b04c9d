package breaker

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/retryafter"
	"github.com/ginfer/ginfer/internal/sse"
	"github.com/ginfer/ginfer/internal/usage"
)

// Transport returns a RoundTripper that lets requests through to next while their
// circuit allows it, and learns from how the exchanges end.
func (g *Group) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{group: g, next: next}
}

type transport struct {
	group *Group
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper. What may not pass is an error that wraps
// [ErrOpen], [ErrFull] or [ErrResting].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, err := t.group.circuit(t.group.cfg.Key(req))
	if err != nil {
		return nil, err
	}
	p, err := c.allow()
	if err != nil {
		if below, ok := errors.AsType[*attempt.NotSentError](err); ok && !t.group.perHost {
			below.Rest = 0
		}
		return nil, err
	}
	ended := false
	defer func() {
		if !ended { // next panicked
			p.end(failure)
		}
	}()
	res, err := t.next.RoundTrip(req)
	ended = true
	if err != nil {
		p.end(ofError(req, err))
		return nil, err
	}
	c.heed(res)
	switch {
	case attempt.From(req.Context()).Late(res.StatusCode):
		p.end(neutral)
	case res.StatusCode >= 500:
		p.end(failure)
	case res.StatusCode >= 400:
		p.end(neutral) // the request's own fault, or a limit's
	default:
		res.Body = watch(req, res, p)
	}
	return res, nil
}

// ofError is what a failed exchange says: nothing, when it was given up for another
// reason than the endpoint's, or was refused further down.
func ofError(req *http.Request, err error) outcome {
	if attempt.Abandoned(req.Context()) || errors.Is(err, ErrOpen) || errors.Is(err, ErrFull) || errors.Is(err, ErrResting) {
		return neutral
	}
	return failure
}

// heed puts the circuit to rest when the endpoint asks for it.
func (c *circuit) heed(res *http.Response) {
	if res.StatusCode != http.StatusTooManyRequests {
		return
	}
	if d, ok := retryafter.Parse(res.Header, time.Now()); ok {
		c.restFor(d)
	}
}

// body sees how an answer goes on and ends.
type body struct {
	io.ReadCloser
	req    *http.Request
	permit *permit
	begun  bool
	ended  atomic.Bool    // it was read to its end; of a tunnel while it is closed
	held   bool           // until it had content: see package hold
	stream *usage.Scanner // nil: it is none
	once   sync.Once
}

// duplex is the body of an upgraded connection.
type duplex struct {
	*body
	io.Writer
}

func watch(req *http.Request, res *http.Response, p *permit) io.ReadCloser {
	b := &body{ReadCloser: res.Body, req: req, permit: p}
	_, held := attempt.From(req.Context()).Hold()
	b.held = held && res.StatusCode == http.StatusOK
	if sse.Is(res.Header.Get("Content-Type")) {
		b.stream = new(usage.Scanner)
		b.stream.Reset(res.Header)
		attempt.From(req.Context()).Watch()
	}
	if w, ok := res.Body.(io.Writer); ok { // what is switched to has no first byte that says something
		p.firstByte()
		return duplex{b, w}
	}
	return b
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.saw(p[:n])
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		if b.stream != nil {
			attempt.From(b.req.Context()).Judge(b.stream, true)
		}
		if !b.unsaid() {
			b.end(b.whole())
		}
		b.ended.Store(true)
	default:
		b.end(ofError(b.req, err))
	}
	return n, err
}

// saw takes what was read. A stream that begins with an error has not begun well.
func (b *body) saw(p []byte) {
	if b.stream != nil {
		_, _ = b.stream.Write(p) // never fails
	}
	if !b.begun && !b.erred() {
		b.begun = true
		b.permit.firstByte()
	}
}

// whole is the outcome of an answer that was read to its end.
func (b *body) whole() outcome {
	if b.failed() || cut(b.stream) {
		return failure
	}
	return success
}

// cut reports whether a stream that has ended lacks its end: it is a model's, and its
// last event did not come. Of other streams the end is not known.
func cut(s *usage.Scanner) bool { return s != nil && s.Events() > 0 && !s.Ended() }

// judged reports whether it is for who held the answer back to say how it went, before
// it is closed: it had no content, and an error may be the request's own fault.
func (b *body) judged() bool { return b.held && (b.stream == nil || b.stream.Events() == 0) }

// unsaid reports whether the same is so of any stream: it had no event of a model that
// is known.
func (b *body) unsaid() bool {
	return b.judged() || b.stream != nil && b.stream.Events() == 0 && !b.stream.Ended()
}

// erred reports whether an event of the stream is an error, failed whether that is the
// endpoint's failure.
func (b *body) erred() bool  { return b.stream != nil && b.stream.Failed() }
func (b *body) failed() bool { return b.erred() && !b.judged() }

// Close implements io.Closer. An answer that is not read to its end says nothing,
// but that it failed.
func (b *body) Close() error {
	o := neutral
	switch {
	case b.failed(), attempt.From(b.req.Context()).Err() != nil && !attempt.Abandoned(b.req.Context()):
		o = failure
	case b.erred(): // the request's own fault
	case b.stream != nil && b.stream.Ended(), b.ended.Load():
		o = success
	}
	b.end(o)
	return b.ReadCloser.Close()
}

func (b *body) end(o outcome) { b.once.Do(func() { b.permit.end(o) }) }
