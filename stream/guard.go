package stream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/reach"
)

// heartbeat is the shortest comment. No blank line follows it: some decoders dispatch an event
// without data at every blank line.
const heartbeat = ":\n"

// endGrace is how long a client may take to receive the reason why its stream ends.
const endGrace = time.Second

// past is a deadline that cuts a connection: a started write can't be completed any more.
var past = time.Unix(1, 0) //nolint:gochecknoglobals // a constant

// guard is the writer of a guarded response. The handler's goroutine and the timer's write
// through it, one at a time.
type guard struct {
	gin.ResponseWriter
	streams *Streams
	req     *http.Request // the inbound request
	cancel  context.CancelCauseFunc
	conn    reach.Conn // of ResponseWriter
	h2      bool
	plain   bool     // clients of this API don't support comments
	packing []string // the encoding of an outer middleware, which compresses what is written here

	life sync.Mutex // guards done; taken alone
	done bool       // the handler has returned: the writer belongs to the server again

	ending  atomic.Bool // another goroutine waits to end the stream
	mu      sync.Mutex
	begun   bool // the head is written
	stream  bool // the response is an event stream
	packed  bool // it has an encoding or a length: nothing can be inserted
	between llm.Splitter
	timer   *time.Timer
	cut     bool      // no more can be written
	taken   bool      // the connection was hijacked
	broken  bool      // it was cut before the handler returned
	limit   time.Time // the handler's write deadline
	due     time.Time // the deadline of the current write
	err     error     // the reason why the guard ended the stream

	start     time.Time
	lastEvent time.Time // the handler's last write
	lastWrite time.Time // the last write of handler or guard
	bytes     int64
	beats     int
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (g *guard) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// Write implements http.ResponseWriter.
func (g *guard) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.ready(); err != nil {
		return 0, err
	}
	defer g.rest()
	skipped := 0
	if g.beats > 0 && g.bytes == 0 && bytes.HasPrefix(p, []byte("\ufeff")) {
		skipped = len("\ufeff") // a byte order mark counts only at the very beginning
	}
	n, err := g.ResponseWriter.Write(p[skipped:])
	g.wrote(p[skipped : skipped+max(n, 0)])
	return skipped + n, g.explain(err)
}

// WriteString implements io.StringWriter.
func (g *guard) WriteString(s string) (int, error) { return g.Write([]byte(s)) }

// WriteHeaderNow implements gin.ResponseWriter.
func (g *guard) WriteHeaderNow() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ready() == nil {
		defer g.rest()
		g.ResponseWriter.WriteHeaderNow()
	}
}

// Flush implements http.Flusher.
func (g *guard) Flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ready() == nil {
		defer g.rest()
		_ = g.explain(g.flush()) // http.Flusher has no error; the next write will fail
	}
}

// FlushError is used by http.ResponseController.
func (g *guard) FlushError() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.ready(); err != nil {
		return err
	}
	defer g.rest()
	return g.explain(g.flush())
}

// WriteHeader implements http.ResponseWriter.
func (g *guard) WriteHeader(code int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ResponseWriter.WriteHeader(code)
}

// Status implements gin.ResponseWriter.
func (g *guard) Status() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ResponseWriter.Status()
}

// Size implements gin.ResponseWriter.
func (g *guard) Size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ResponseWriter.Size()
}

// Written implements gin.ResponseWriter.
func (g *guard) Written() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ResponseWriter.Written()
}

// Hijack implements http.Hijacker. The connection is no longer guarded.
func (g *guard) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline(time.Time{})
	conn, rw, err := g.ResponseWriter.Hijack()
	if err == nil {
		g.begun, g.cut, g.taken = true, true, true
	}
	return conn, rw, err
}

// SetWriteDeadline is used by http.ResponseController. A deadline in the past cuts the
// connection, and a later one does not restore it.
func (g *guard) SetWriteDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.taken:
		return nil
	case g.cut:
		return g.conn.SetWriteDeadline(past)
	}
	g.limit, g.due = t, time.Time{}
	g.cut = !t.IsZero() && !t.After(time.Now())
	return g.conn.SetWriteDeadline(t)
}

// ready prepares a write. The caller holds mu.
func (g *guard) ready() error {
	if g.err != nil {
		return g.err
	}
	if !g.begun {
		g.begin()
	}
	if g.err != nil {
		return g.err
	}
	if !g.cut {
		g.renew()
	}
	return nil
}

// rest ends a write. HTTP/1 checks a deadline only during a write; HTTP/2 resets a stream at its
// deadline even in silence, so there it must be lifted.
func (g *guard) rest() {
	if g.h2 && !g.cut {
		g.deadline(g.limit)
	}
}

// renew sets the deadline of the next write, unless at least three quarters of the timeout are left
// of the one that is set: to set one costs more than the rest of the guard.
func (g *guard) renew() {
	next := g.nextDeadline()
	if !g.h2 && !g.due.After(next) && next.Sub(g.due) <= g.streams.cfg.WriteTimeout/4 && !g.due.IsZero() {
		return
	}
	g.due = next
	g.deadline(next)
}

func (g *guard) nextDeadline() time.Time {
	timeout := g.streams.cfg.WriteTimeout
	if g.ending.Load() {
		timeout = endGrace
	}
	if timeout <= 0 {
		return g.limit
	}
	t := time.Now().Add(timeout)
	if !g.limit.IsZero() && g.limit.Before(t) {
		return g.limit
	}
	return t
}

// deadline sets a write deadline if the connection can be reached; test recorders have none.
func (g *guard) deadline(t time.Time) { _ = g.conn.SetWriteDeadline(t) }

// begin classifies the response when its head is written.
func (g *guard) begin() {
	g.begun = true
	h := g.Header()
	g.stream = llm.IsEventStream(h.Get("Content-Type")) && g.ResponseWriter.Status() == http.StatusOK
	if !g.stream {
		return
	}
	g.packed = isOwn(h["Content-Encoding"], g.packing) || h.Get("Content-Length") != ""
	g.start = time.Now()
	g.lastEvent, g.lastWrite = g.start, g.start
	if !g.streams.enter(g) {
		g.end(ErrDraining)
		return
	}
	if wait := g.untilDue(g.start); wait >= 0 {
		g.timer = time.AfterFunc(wait, g.tick)
	}
}

// isOwn reports whether a handler set the encoding. That of an outer middleware, which was there
// before, is still the same slice.
func isOwn(encoding, before []string) bool {
	return len(encoding) > 0 && (len(before) == 0 || &encoding[0] != &before[0])
}

func (g *guard) wrote(p []byte) {
	if !g.stream {
		return
	}
	_ = g.between.Write(p) // takes all: the splitter has no sink that stops it
	g.bytes += int64(len(p))
	g.lastEvent = time.Now()
	g.lastWrite = g.lastEvent
}

// explain turns the error of a write into [ErrSlowClient] if its deadline passed.
func (g *guard) explain(err error) error {
	if err == nil || g.cut || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	g.cut = true
	g.err = fault.Join(ErrSlowClient, err)
	g.cancel(g.err)
	return g.err
}

func (g *guard) flush() error {
	err := http.NewResponseController(g.ResponseWriter).Flush()
	now := time.Now()
	if g.stream {
		g.lastEvent = now // the client's slowness is not the handler's silence
	}
	if err == nil && !g.due.IsZero() && now.After(g.due) {
		return os.ErrDeadlineExceeded // gin's writer drops the error
	}
	return err
}

// finish ends guarding when the handler has returned or panicked.
func (g *guard) finish(ctx context.Context, panicked bool) {
	g.life.Lock()
	g.done = true
	g.life.Unlock()
	g.mu.Lock()
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	if panicked && g.stream && !g.cut && (g.packed || !g.between.Between()) {
		g.cut = true // no event may be inserted within an event
		g.deadline(past)
	}
	if g.begun && !g.cut {
		g.deadline(serverDeadline(ctx)) // the connection's next response may be another handler's
	}
	if g.h2 && g.stream && !g.cut && ctx.Err() != nil {
		_ = g.explain(g.resetReason()) // there is no later write
	}
	g.broken = g.cut
	ended := g.cut && !g.taken && (g.err != nil || panicked) // by the guard, not by the handler
	g.cut = true
	g.mu.Unlock()
	if ended {
		defer g.conn.Cut(g.req) // last, since it may not return
	}
	if !g.stream {
		return
	}
	defer g.streams.leave(g) // after the event, so that a drain misses none
	if g.streams.cfg.OnEvent != nil {
		g.streams.cfg.OnEvent(ginctx.Detach(ctx), Event{Duration: time.Since(g.start), Bytes: g.bytes, Heartbeats: g.beats, Err: g.err})
	}
}

// resetReason returns the reason why HTTP/2 closed the stream, from the server's own writer,
// since gin's drops the errors of flushes. A deadline can pass after its write returned; the
// next flush then fails at once, well before its own deadline. A deadline set by the handler is
// not the client's slowness.
func (g *guard) resetReason() error {
	if !g.limit.IsZero() && time.Now().After(g.limit) {
		return nil
	}
	if f, ok := g.conn.Server().(interface{ FlushError() error }); ok {
		return f.FlushError()
	}
	return nil
}

// serverDeadline returns the deadline that the server itself would have set.
func serverDeadline(ctx context.Context) time.Time {
	if s, ok := ginctx.Value(ctx, http.ServerContextKey).(*http.Server); ok && s.WriteTimeout > 0 {
		return time.Now().Add(s.WriteTimeout)
	}
	return time.Time{}
}
