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
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/llm"
)

const (
	// bufferSize is the size of one read of a response's body.
	bufferSize = 32 << 10
	// smallSize is the size of a read that waits for the next event, which may take long.
	smallSize = 2 << 10
)

// buffer is the buffer of a body. For a stream it is large only while much arrives at once, so
// that a silent one uses little memory.
type buffer struct {
	pools *buffers
	small *[smallSize]byte  // nil: no stream
	large *[bufferSize]byte // nil: not needed
}

type buffers struct{ small, large sync.Pool }

func (p *buffers) get(stream bool) buffer {
	b := buffer{pools: p}
	if !stream {
		b.grow()
		return b
	}
	var ok bool
	if b.small, ok = p.small.Get().(*[smallSize]byte); !ok {
		b.small = new([smallSize]byte)
	}
	return b
}

func (b *buffer) grow() {
	var ok bool
	if b.large, ok = b.pools.large.Get().(*[bufferSize]byte); !ok {
		b.large = new([bufferSize]byte)
	}
}

func (b *buffer) shrink() {
	b.pools.large.Put(b.large)
	b.large = nil
}

func (b *buffer) bytes() []byte {
	if b.large != nil {
		return b.large[:]
	}
	return b.small[:]
}

// fit selects the next buffer after a read of n bytes.
func (b *buffer) fit(n int) {
	switch {
	case n == smallSize && b.large == nil:
		b.grow()
	case n < smallSize && b.large != nil && b.small != nil:
		b.shrink()
	}
}

func (b *buffer) release() {
	if b.large != nil {
		b.shrink()
	}
	if b.small != nil {
		b.pools.small.Put(b.small)
	}
}

// delivery sends the final response of a call to the client.
type delivery struct {
	*call
	res  *http.Response
	ends ending
}

// run relays the response: head, body, trailers.
func (x *delivery) run() {
	defer func() { _ = x.res.Body.Close() }() // also when a writer panics
	x.ends.begin(x.res.Header)
	x.commit()
	err := x.copyBody()
	if err == nil {
		x.sendTrailers()
		x.finish()
		return
	}
	x.settle(err)
	switch {
	case errors.Is(err, ErrClientClosed):
		apierror.Cut(x.c, err)
	case !x.c.Writer.Written(): // nothing was sent
		x.uncommit()
		x.p.cfg.ErrorHandler(x.c, err)
	case x.ends.takesEvent():
		begun := x.c.Writer.Written()
		if place := x.attempt.Latest().Place(); place != (llm.Place{}) {
			x.c.Request = x.c.Request.WithContext(llm.WithPlace(x.c.Request.Context(), place))
		}
		x.p.cfg.ErrorHandler(x.c, err)
		if begun { // whatever the handler did, this response is incomplete
			apierror.Cut(x.c, nil)
		}
	default:
		apierror.Cut(x.c, err)
	}
}

// uncommit removes the headers that describe a body of which nothing was sent.
func (x *delivery) uncommit() {
	h := x.c.Writer.Header()
	for _, name := range [...]string{"Content-Type", "Content-Length", "Content-Encoding", "Trailer", "Etag", "Last-Modified", "Cache-Control", "X-Accel-Buffering"} {
		h.Del(name)
	}
}

// ending tracks a relayed response, to know whether an error event, or an error line, can end it.
type ending struct {
	events, lines bool
	between       llm.Splitter
	last          byte
}

func (e *ending) begin(h http.Header) {
	if llm.Encoded(h) {
		return
	}
	contentType := h.Get("Content-Type")
	e.events, e.lines, e.last = llm.IsEventStream(contentType), llm.IsJSONLines(contentType), '\n'
	e.between.Reset(nil)
}

func (e *ending) write(p []byte) {
	if e.events {
		e.between.Write(p)
	}
	e.last = p[len(p)-1]
}

func (e *ending) takesEvent() bool {
	return e.events && e.between.Between() || e.lines && e.last == '\n'
}

// finish ends an exchange with a completely sent response.
func (x *delivery) finish() {
	x.c.Writer.WriteHeaderNow() // for an empty response; gin would replace its Content-Type
	_ = x.res.Body.Close()      // ends a body without an end of its own, as of HEAD
	v := x.attempt.Latest().Verdict()
	x.outcome, x.err = x.outcomeOf(v, x.res.StatusCode)
	if x.outcome == Failure && x.res.StatusCode < http.StatusInternalServerError { // an error event: the client has seen it
		x.err = fmt.Errorf("%w: %w", ErrUpstream, v.Err)
	}
}

// commit writes the head of the response.
func (x *delivery) commit() {
	res := x.res
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
	case x.ends.events || llm.IsEventStream(res.Header.Get("Content-Type")): // an error event may follow
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

// copyBody relays the body. It flushes after each short read, when nothing more was buffered,
// and after each read of a stream.
func (x *delivery) copyBody() error {
	res := x.res
	head := &x.head
	head.w = x.c.Writer
	if res.ContentLength < 0 && x.c.Request.Method != http.MethodHead {
		head.timer = time.AfterFunc(headDelay, head.flush)
	}
	defer head.stop()
	stream := llm.IsStream(res.Header)
	buffer := x.p.buffers.get(stream)
	defer buffer.release()
	for {
		if err := x.readTooSlowly(time.Now()); err != nil {
			return err
		}
		buf := buffer.bytes()
		n, readErr := res.Body.Read(buf)
		head.stop()
		if n > 0 {
			if err := x.copyPart(buf[:n]); err != nil {
				x.attempt.Latest().Note(exchange.Verdict{Outcome: exchange.Canceled, Blame: exchange.Client, Err: err})
				return err
			}
			x.ends.write(buf[:n])
		}
		switch {
		case readErr != nil:
			return x.readEnded(readErr)
		case n < len(buf), stream: // the next part may come late
			x.c.Writer.Flush()
		}
		buffer.fit(n)
	}
}

// readEnded returns the exchange's error at the end of the upstream's body.
func (x *delivery) readEnded(err error) error {
	if err == io.EOF { //nolint:errorlint // a wrapped EOF is no clean end
		return x.bodyEnded()
	}
	v := x.attempt.Latest().Verdict()
	if v.Err == nil { // complete but for the transport's end
		return nil
	}
	return x.explain(v, err)
}

// readTooSlowly ends an exchange that ran out of time while the gateway waited for a slow
// client. The attempt is canceled, it has not failed.
func (x *delivery) readTooSlowly(now time.Time) error {
	if x.bytes == 0 || !x.deadline.passed(now) {
		return nil
	}
	x.attempt.cancel(ErrDeadline)
	return deadlineError()
}

func (x *delivery) copyPart(b []byte) error {
	if _, err := x.c.Writer.Write(b); err != nil {
		return x.clientFault(err)
	}
	x.bytes += int64(len(b))
	return nil
}

// headDelay is how long the head of a response may wait for the first bytes, to be sent in one
// write with them. A stream may be silent for longer, and then its head must not wait.
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

// stop returns the writer to the handler. It may be called repeatedly.
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

// bodyEnded detects an upload that broke while its response was complete, and a response
// without its end, which a client would take for complete.
func (x *delivery) bodyEnded() error {
	if x.upload != nil && x.upload.failed() != nil {
		return x.upload.failed()
	}
	v := x.attempt.Latest().Verdict()
	if v.Bad() && (errors.Is(v.Err, exchange.ErrCut) || errors.Is(v.Err, exchange.ErrEmpty)) {
		return upstreamError(v.Err)
	}
	return nil
}

// clientFault returns the error for a failed write.
func (x *delivery) clientFault(err error) error {
	if x.clientGone() {
		return clientError(x.c.Request.Context())
	}
	if errors.Is(err, http.ErrContentLength) || errors.Is(err, http.ErrBodyNotAllowed) {
		return upstreamError(err)
	}
	return refusal(apierror.StatusClientClosed, "client_closed_request", "The client closed the request.", fault.Join(ErrClientClosed, err))
}

// sendTrailers relays the trailers.
func (x *delivery) sendTrailers() {
	h := x.c.Writer.Header()
	for name, values := range x.res.Trailer {
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

// mayTrail reports whether a field is allowed in a trailer (RFC 9110 §6.5.1).
func mayTrail(name string) bool {
	return !isHop(name) && !isRequestOnly(name) && name != "Set-Cookie" && name != "Content-Type" && name != "Content-Encoding"
}

func copyIfSet(dst, src http.Header, name string) {
	if v, ok := src[name]; ok {
		dst[name] = v
	}
}
