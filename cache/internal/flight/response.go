package flight

import (
	"context"
	"errors"
	"net/http"
	"sync"
)

// Errors of a response that is not whole.
var (
	// ErrCut is the end of a response that a handler aborted.
	ErrCut = errors.New("cache: the response was cut")
	// ErrShort ends a response that differs in length from its Content-Length.
	ErrShort = errors.New("cache: the length of the response differs from its Content-Length")
	// ErrPanic ends a response after a panic of its handler.
	ErrPanic = errors.New("cache: a handler panicked")
	// ErrSlow is returned to a client that is too far behind the other clients.
	ErrSlow = errors.New("cache: the client reads too slowly")

	errAbandoned = errors.New("cache: all clients have disconnected")
	errEnded     = errors.New("cache: the response has ended")
)

// Outcome is what a flight means for its followers.
type Outcome uint8

// The outcomes.
const (
	// Pending: it is not known yet.
	Pending Outcome = iota
	// Live: followers get the response while it is produced.
	Live
	// Stored: followers get an entry of the cache instead.
	Stored
	// Again: followers look again, because something else is known now.
	Again
	// Alone: the response is for the leader only.
	Alone
	// Failed: there is no response, and a follower may lead the next attempt.
	Failed
)

// Head is the status and the header of a response, as all its clients get it.
type Head struct {
	Status int
	Header http.Header
	// SetCookie reports that the leader's response sets a cookie. Header has none.
	SetCookie bool
}

// Response is a response while it is produced.
type Response struct {
	// Head is valid once the response is Live, Trailer at the end of the body.
	Head    Head
	Trailer http.Header

	ctx     context.Context //nolint:containedctx // of the production: it outlives the leader's request
	cancel  context.CancelCauseFunc
	body    *tape
	ready   chan struct{}
	once    sync.Once
	outcome Outcome
}

// newResponse returns a response that is pending. Abandon is called when its last reader
// leaves before the end, unless it is pinned.
func newResponse(ctx context.Context, lag, limit int64, pinned bool, abandon func()) *Response {
	r := &Response{ready: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	r.body = newTape(lag, limit, pinned, func() {
		abandon()
		r.cancel(errAbandoned)
	})
	return r
}

// Context returns the context of the production. It ends when no reader is left.
func (r *Response) Context() context.Context { return r.ctx }

// Cancel ends the context of the production.
func (r *Response) Cancel() { r.cancel(nil) }

// Abandoned reports whether all readers left before the end.
func (r *Response) Abandoned() bool { return errors.Is(context.Cause(r.ctx), errAbandoned) }

// Resolve sets the outcome after calling set, which may be nil. Only the first call counts.
func (r *Response) Resolve(o Outcome, set func()) {
	r.once.Do(func() {
		r.outcome = o
		if set != nil {
			set()
		}
		close(r.ready)
	})
}

// Ready is closed when the outcome is known.
func (r *Response) Ready() <-chan struct{} { return r.ready }

// Outcome returns the outcome. It must not be called before Ready is closed.
func (r *Response) Outcome() Outcome { return r.outcome }

// Body returns the body, and whether it is whole: buffered from the beginning to an end
// without an error.
func (r *Response) Body() (body []byte, whole bool) { return r.body.whole() }

// Buffered returns what was written so far, if all of it is still buffered.
func (r *Response) Buffered() (body []byte, ok bool) { return r.body.buffered() }
