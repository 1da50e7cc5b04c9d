package balance

import (
	"container/list"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/retryafter"
)

// maxRest bounds how long an endpoint's Retry-After is believed.
const maxRest = time.Minute

// exchange is one request at one endpoint, until its body is closed.
type exchange struct {
	pool *Pool
	node *node
	ctx  context.Context //nolint:containedctx // the request's own, asked for its end when the body is closed

	left     sync.Once
	waits    atomic.Pointer[list.Element] // its place in line for a first event
	reported sync.Once
	status   int

	mu     sync.Mutex // a connection that was taken over is closed while it is read
	err    error      // of the transport or of reading the body
	whole  bool       // the body was read to its end
	closed bool       // what is read then is no fault
}

// leave takes the exchange out of the in-flight count.
func (x *exchange) leave() {
	x.left.Do(func() {
		x.node.inflight.Add(-1)
		x.unlisted()
	})
}

// unlisted takes the exchange out of the line of those that wait for a first event.
func (x *exchange) unlisted() {
	if e := x.waits.Swap(nil); e != nil {
		x.node.pace.gone(e)
	}
}

// begun is unlisted by the first event.
func (x *exchange) begun() {
	if e := x.waits.Swap(nil); e != nil {
		x.node.pace.begun(e)
	}
}

func (x *exchange) failed(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil && !x.closed {
		x.err = err
	}
}

func (x *exchange) ended() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.whole = true
}

func (x *exchange) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
}

// rest leaves the endpoint alone for a time.
func (x *exchange) rest(d time.Duration) {
	if d > 0 {
		x.node.resting.Store(time.Now().Add(min(d, maxRest)).UnixNano())
		x.pool.changed()
	}
}

// answered wraps the body of an answer.
func (x *exchange) answered(res *http.Response) {
	x.status = res.StatusCode
	if d, ok := restAsked(res, time.Now()); ok {
		x.rest(d)
	}
	if res.Body == nil {
		res.Body = http.NoBody
	}
	x.whole = res.Body == http.NoBody || res.StatusCode == http.StatusSwitchingProtocols
	x.paced(res)
	b := &body{ReadCloser: res.Body, x: x}
	if w, ok := res.Body.(io.Writer); ok {
		res.Body = &duplexBody{body: b, Writer: w}
		return
	}
	res.Body = b
}

// report counts how the exchange ended, once. A client that left says nothing about
// the endpoint, unless it has the whole answer, nor does a body that the caller
// did not want to the end.
func (x *exchange) report() {
	x.reported.Do(func() {
		x.mu.Lock()
		err, whole := x.err, x.whole
		x.mu.Unlock()
		verdict := attempt.From(x.ctx).Err()
		switch {
		case verdict == nil && err == nil && whole && x.status < 500:
			x.pool.count(x.node, true) // a client that has everything may well be gone
		case verdict == nil && (attempt.Abandoned(x.ctx) || err == nil && attempt.From(x.ctx).Late(x.status)):
		case err != nil, verdict != nil, x.status >= 500:
			x.pool.count(x.node, false)
		}
	})
}

// body watches a body being read.
type body struct {
	io.ReadCloser
	x *exchange
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF: // one that is wrapped is no clean end
		b.x.ended()
		b.x.leave()
	case err != nil:
		b.x.failed(err)
	}
	return n, err
}

func (b *body) Close() error {
	b.x.close()
	err := b.ReadCloser.Close()
	b.x.leave()
	b.x.report()
	return err
}

// duplexBody is the body of a 101: the connection itself.
type duplexBody struct {
	*body
	io.Writer
}

// CloseWrite passes the end of one direction on, where that is possible.
func (b *duplexBody) CloseWrite() error {
	if c, ok := b.Writer.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// restAsked reads the Retry-After of an endpoint that has enough for now.
func restAsked(res *http.Response, now time.Time) (time.Duration, bool) {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	d, _ := retryafter.Parse(res.Header, now)
	return min(d, maxRest), d > 0
}
