package routing

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/attempt"
)

// sample is one request that a rollout learns from.
type sample struct {
	stage  *stage
	key    uint64 // stands for the user
	canary bool
}

// Judge tells the rollout that a request belongs to whether its answer was of use. The
// context is that of a request that passed the Middleware, be it the one that was
// answered, or a later one of the same user for the same model that brings a verdict.
// It reports whether that counts: not of a request that no rollout measures, nor after
// the step at which it was decided on.
func Judge(ctx context.Context, good bool) bool {
	d, ok := ctx.Value(contextKey{}).(*Decision)
	if !ok || d.sample == nil {
		return false
	}
	return d.sample.stage.rollout.learn(ctx, d.sample, finding{check: quality, bad: !good})
}

// measurement is of one try at the version that was decided on.
type measurement struct {
	*sample

	ctx   context.Context //nolint:containedctx // the try's own, asked for its verdict when the body is closed
	begun time.Time
	once  sync.Once

	mu      sync.Mutex // a connection that was taken over is closed while it is read
	talking bool       // the first byte came
	whole   bool
	closed  bool // what is read then is no fault
	err     error
}

func (s *sample) begin(req *http.Request) *measurement {
	return &measurement{sample: s, ctx: req.Context(), begun: time.Now()}
}

// errPanic stands for what an upstream panicked with.
var errPanic = errors.New("routing: the upstream panicked")

// failed takes the try's end without an answer.
func (m *measurement) failed(err error) {
	if m != nil {
		m.err = err
		m.end(0)
	}
}

// follow takes the answer, and how it goes on.
func (m *measurement) follow(res *http.Response) {
	if m == nil {
		return
	}
	if res.Body == nil {
		res.Body = http.NoBody
	}
	m.whole = res.Body == http.NoBody || res.StatusCode == http.StatusSwitchingProtocols
	b := &measuredBody{ReadCloser: res.Body, m: m, status: res.StatusCode}
	res.Body = b
	if w, ok := b.ReadCloser.(io.Writer); ok {
		res.Body = measuredDuplex{b, w}
	}
}

// end tells the rollout once how the try went. Of a client that left before the end of
// the answer, or gave too little time, it is only known how long it had waited. Any
// status from 400 on is a failure: what is a client's own fault strikes both versions
// alike, and a version that refuses what the other one takes must not pass.
func (m *measurement) end(status int) {
	m.once.Do(func() {
		m.mu.Lock()
		err, whole, talking := m.err, m.whole, m.talking
		m.mu.Unlock()
		try := attempt.From(m.ctx)
		verdict := try.Err()
		f := finding{check: failures}
		switch {
		case err == nil && verdict == nil && whole && status < http.StatusBadRequest:
			// A client that has everything may well be gone.
		case verdict == nil && isRefusal(err):
			return
		case verdict == nil && (attempt.Abandoned(m.ctx) || err == nil && try.Late(status)):
			if !talking {
				m.took((*evidence).waited)
			}
			return
		case err != nil, verdict != nil, status >= http.StatusBadRequest, m.ctx.Err() != nil:
			f.bad, f.own = true, err == nil && verdict == nil && !isFailed(status)
		default:
			return // who wanted no more of it
		}
		m.stage.rollout.learn(m.ctx, m.sample, f)
	})
}

// took tells the rollout how long it has been.
func (m *measurement) took(add func(e *evidence, key uint64, canary bool, after time.Duration) (reason string)) {
	after := time.Since(m.begun)
	m.stage.rollout.take(m.ctx, m.sample, func(e *evidence) string { return add(e, m.key, m.canary, after) })
}

// saw takes a read of the answer.
func (m *measurement) saw(n int, ended bool, err error, status int) {
	m.mu.Lock()
	first := n > 0 && !m.talking
	m.talking = m.talking || first
	switch {
	case ended:
		m.whole = true
	case err != nil && !m.closed:
		m.err = err
	}
	m.mu.Unlock()
	if first && status < http.StatusBadRequest {
		m.took((*evidence).began)
	}
}

// isRefusal tells an error of the gateway's own that is about the request.
func isRefusal(err error) bool {
	own, ok := errors.AsType[*apierror.Error](err)
	return ok && own.Status >= 400 && own.Status < 500
}

// measuredBody sees the first byte of an answer, and how it ends.
type measuredBody struct {
	io.ReadCloser

	m      *measurement
	status int
}

// Read implements io.Reader.
func (b *measuredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.m.saw(n, err == io.EOF, err, b.status) // one that is wrapped is no clean end
	return n, err
}

// Close implements io.Closer.
func (b *measuredBody) Close() error {
	b.m.mu.Lock()
	b.m.closed = true
	b.m.mu.Unlock()
	err := b.ReadCloser.Close()
	b.m.end(b.status)
	return err
}

// measuredDuplex is the body of a 101: the connection itself.
type measuredDuplex struct {
	*measuredBody
	io.Writer
}

// CloseWrite passes the end of one direction on, where that is possible.
func (b measuredDuplex) CloseWrite() error {
	if c, ok := b.ReadCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
