package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/sse"
	"github.com/ginfer/ginfer/internal/usage"
)

// bufferSize is one read of an answer's body.
const bufferSize = 32 << 10

// relay sends the answer to the client and reports the exchange's outcome to
// whoever waits for the body to be closed.
func (x *exchange) relay(res *http.Response) {
	defer func() { _ = res.Body.Close() }() // also when a writer panics
	events := sse.Is(res.Header.Get("Content-Type"))
	x.commit(res, events)
	var f *follower
	if events {
		f = x.follow(res)
	}
	err := x.copyBody(res, f)
	if err == nil {
		x.sendTrailers(res)
		x.finish(res)
		return
	}
	x.settle(err)
	if x.outcome == Failure {
		x.try.Fail(err)
	}
	x.tried(x.try, res, err, x.bytes)
	switch {
	case errors.Is(err, ErrClientClosed):
		apierror.Cut(x.c, err)
	case events && f.between.At() && res.Header.Get("Content-Encoding") == "":
		begun := x.c.Writer.Written()
		x.p.cfg.ErrorHandler(x.c, err)
		if begun { // whatever the handler did, this answer is not complete
			apierror.Cut(x.c, nil)
		}
	default:
		apierror.Cut(x.c, err)
	}
}

// finish ends an exchange whose answer went through whole.
func (x *exchange) finish(res *http.Response) {
	x.c.Writer.WriteHeaderNow() // an empty answer; gin would replace its Content-Type
	x.outcome, x.err = Success, nil
	switch said := x.try.Err(); {
	case res.StatusCode >= 500:
		x.outcome, x.err = Failure, statusError(res.StatusCode)
	case said != nil: // by an event: the client knows
		x.outcome, x.err = Failure, fmt.Errorf("%w: %w", ErrUpstream, said)
	}
	x.tried(x.try, res, x.err, x.bytes)
}

// commit writes the head of the answer.
func (x *exchange) commit(res *http.Response, events bool) {
	x.early.stop()
	x.committed = true
	h := x.c.Writer.Header()
	copyHeader(h, res.Header)
	h.Del("Content-Length")
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // keeps the server from guessing one
	}
	headOnly := x.c.Request.Method == http.MethodHead || res.StatusCode == http.StatusNotModified
	switch {
	case headOnly:
		copyIfSet(h, res.Header, "Content-Length")
	case events: // an error event may follow
		h.Set("X-Accel-Buffering", "no")
	case res.ContentLength >= 0 && len(res.Trailer) == 0 && res.StatusCode != http.StatusNoContent:
		h["Content-Length"] = []string{strconv.FormatInt(res.ContentLength, 10)}
	}
	for name := range res.Trailer {
		if mayTrail(name) {
			h.Add("Trailer", name)
		}
	}
	x.giveUpConnection()
	x.c.Writer.WriteHeader(res.StatusCode)
}

// copyBody relays the body. It flushes whenever a read came back short: then
// nothing more was buffered, and the client should have what there is.
func (x *exchange) copyBody(res *http.Response, f *follower) error {
	head := lateHead{w: x.c.Writer}
	if res.ContentLength < 0 && x.c.Request.Method != http.MethodHead {
		head.timer = time.AfterFunc(headDelay, head.flush)
	}
	defer head.stop()
	buf := x.p.buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer x.p.buffers.Put(buf)
	for {
		asked := time.Now()
		if err := x.readTooSlowly(asked); err != nil {
			return err
		}
		x.try.dog.arm(limitIdle, asked, f.limit(x.timeouts))
		n, readErr := res.Body.Read(buf[:])
		x.try.dog.disarm()
		head.stop()
		if n > 0 {
			if err := x.copyPart(buf[:n]); err != nil {
				return err
			}
			f.saw(buf[:n], asked)
		}
		switch {
		case readErr == io.EOF: // one that is wrapped is no clean end
			return x.bodyEnded(f)
		case readErr != nil:
			return x.explain(x.try, readErr)
		case n < len(buf):
			x.c.Writer.Flush()
		}
	}
}

// readTooSlowly ends an exchange whose time passed while the gateway waited for its
// client to read. The upstream is told that it was given up, not that it failed.
func (x *exchange) readTooSlowly(now time.Time) error {
	if x.bytes == 0 || x.deadline.IsZero() || now.Before(x.deadline) {
		return nil
	}
	err := deadlineError()
	x.try.cancel(err)
	return err
}

func (x *exchange) copyPart(b []byte) error {
	if _, err := x.c.Writer.Write(b); err != nil {
		return x.clientFault(err)
	}
	x.bytes += int64(len(b))
	return nil
}

// headDelay is how long the head of an answer may wait for its first bytes.
// With them it is one write; but a stream may be silent for long, and then its
// head should not wait.
const headDelay = 5 * time.Millisecond

// lateHead flushes the head while the handler waits for the first bytes.
type lateHead struct {
	w     gin.ResponseWriter
	timer *time.Timer // nil: nothing to do
	mu    sync.Mutex
	over  bool
}

func (h *lateHead) flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.w.Flush()
	}
}

// stop gives the writer back to the handler. It may be called often.
func (h *lateHead) stop() {
	if h.timer == nil {
		return
	}
	h.timer.Stop()
	h.timer = nil
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
}

// follower follows a stream of events while it is relayed. Nil, of other answers, does
// nothing.
type follower struct {
	between sse.Boundary
	pauses  gaps
	scanner *usage.Scanner // nil: a layer below reads it
}

func (x *exchange) follow(res *http.Response) *follower {
	f := new(follower)
	if !x.try.Watched() {
		f.scanner = new(usage.Scanner)
		f.scanner.Reset(res.Header)
	}
	return f
}

// limit is how long the answer may pause.
func (f *follower) limit(t *Timeouts) time.Duration {
	if f == nil {
		return t.Idle
	}
	return f.pauses.limit(t)
}

// saw takes what was read, and since when it was waited for.
func (f *follower) saw(p []byte, since time.Time) {
	if f == nil {
		return
	}
	f.pauses.add(time.Since(since))
	f.between.Write(p)
	if f.scanner != nil {
		_, _ = f.scanner.Write(p) // never fails
	}
}

// bodyEnded catches an upload that broke while the answer came through whole, and a
// stream of a model that lacks its last event: a client would take it for whole.
func (x *exchange) bodyEnded(f *follower) error {
	if f != nil && f.scanner != nil {
		x.try.Judge(f.scanner, true)
	}
	if x.upload != nil && x.upload.failed() != nil {
		return x.upload.failed()
	}
	if err := x.try.Err(); errors.Is(err, attempt.ErrCut) {
		return upstreamError(err)
	}
	return nil
}

// clientFault explains a failed write.
func (x *exchange) clientFault(err error) error {
	if x.clientGone() {
		return clientError(x.c.Request.Context())
	}
	if errors.Is(err, http.ErrContentLength) || errors.Is(err, http.ErrBodyNotAllowed) {
		return upstreamError(err)
	}
	return refusal(apierror.StatusClientClosed, "client_closed_request", "The client closed the request.", errors.Join(ErrClientClosed, err))
}

// sendTrailers passes on what came after the body.
func (x *exchange) sendTrailers(res *http.Response) {
	h := x.c.Writer.Header()
	for name, values := range res.Trailer {
		if !mayTrail(name) {
			continue
		}
		if !announced(h, name) {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

func announced(h http.Header, name string) bool {
	return slices.Contains(h["Trailer"], name)
}

// mayTrail reports whether a field may stand in a trailer (RFC 9110 §6.5.1).
func mayTrail(name string) bool {
	return !isHop(name) && !isRequestOnly(name) && name != "Set-Cookie" && name != "Content-Type" && name != "Content-Encoding"
}

func copyIfSet(dst, src http.Header, name string) {
	if v, ok := src[name]; ok {
		dst[name] = v
	}
}
