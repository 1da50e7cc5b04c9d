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
// Of a request that no rollout measures nothing is kept. It reports whether it was.
func Judge(ctx context.Context, good bool) bool {
	d, ok := ctx.Value(contextKey{}).(*Decision)
	if !ok || d.sample == nil {
		return false
	}
	d.sample.stage.rollout.learn(ctx, d.sample, finding{check: quality, bad: !good})
	return true
}

// measurement is of one try at the version that was decided on.
type measurement struct {
	*sample

	ctx   context.Context //nolint:containedctx // the try's own, asked for its verdict when the body is closed
	begun time.Time
	once  sync.Once
}

func (s *sample) begin(req *http.Request) *measurement {
	return &measurement{sample: s, ctx: req.Context(), begun: time.Now()}
}

// failed takes the try's end without an answer.
func (m *measurement) failed(err error) {
	if m != nil {
		m.end(err, false, 0)
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
	b := &measuredBody{ReadCloser: res.Body, m: m, status: res.StatusCode, whole: res.Body == http.NoBody || res.StatusCode == http.StatusSwitchingProtocols}
	res.Body = b
	if w, ok := b.ReadCloser.(io.Writer); ok {
		res.Body = measuredDuplex{b, w}
	}
}

// end tells the rollout once how the try went. A client that left before the end of the
// answer says nothing, nor does one that gave too little time. Any status from 400 on is
// a failure: what is a client's own fault strikes both versions alike, and a version that
// refuses what the other one takes must not pass.
func (m *measurement) end(err error, whole bool, status int) {
	m.once.Do(func() {
		try := attempt.From(m.ctx)
		verdict := try.Err()
		f := finding{check: failures}
		switch {
		case err == nil && verdict == nil && whole && status < http.StatusBadRequest:
			// A client that has everything may well be gone.
		case verdict == nil && (attempt.Abandoned(m.ctx) || err == nil && try.Late(status) || isRefusal(err)):
			return
		case err != nil, verdict != nil, status >= http.StatusBadRequest, m.ctx.Err() != nil:
			f.bad, f.own = true, err == nil && verdict == nil && !isFailed(status)
		default:
			return // who wanted no more of it
		}
		m.stage.rollout.learn(m.ctx, m.sample, f)
	})
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
	begun  bool
	whole  bool
	err    error
}

// Read implements io.Reader.
func (b *measuredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 && !b.begun {
		b.begun = true
		if b.status < http.StatusBadRequest {
			b.m.stage.rollout.began(b.m.ctx, b.m.sample, time.Since(b.m.begun))
		}
	}
	switch {
	case err == io.EOF: // one that is wrapped is no clean end
		b.whole = true
	case err != nil:
		b.err = err
	}
	return n, err
}

// Close implements io.Closer.
func (b *measuredBody) Close() error {
	err := b.ReadCloser.Close()
	b.m.end(b.err, b.whole, b.status)
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
