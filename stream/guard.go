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
	"github.com/ginfer/ginfer/internal/llm"
)

// heartbeat is the shortest comment. No blank line follows it: a decoder that dispatches
// at every blank line would see an event without data.
const heartbeat = ":\n"

// endGrace is how long a client may take to hear why its stream ends.
const endGrace = time.Second

// past is a deadline by which a connection is cut: what was written can't be
// completed any more.
var past = time.Unix(1, 0) //nolint:gochecknoglobals // a constant

// guard is the writer of a guarded answer. The handler's goroutine and the
// timer's write through it, one at a time.
type guard struct {
	gin.ResponseWriter
	streams *Streams
	req     *http.Request // as it came
	cancel  context.CancelCauseFunc
	h2      bool
	plain   bool // its clients know no comments

	life sync.Mutex // guards done; taken alone
	done bool       // the handler has returned: the writer is the server's again

	ending  atomic.Bool // another goroutine waits to end it
	mu      sync.Mutex
	begun   bool // the head is written
	stream  bool // and says text/event-stream
	packed  bool // with an encoding or a length: nothing can be put in
	between llm.Splitter
	timer   *time.Timer
	cut     bool      // no more can be written
	broken  bool      // and that was so before the handler returned
	limit   time.Time // write deadline that the handler asked for
	due     time.Time // the one that holds for this write
	err     error     // why the guard ended it

	start     time.Time
	lastEvent time.Time // the handler wrote
	lastWrite time.Time // anybody wrote
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

// FlushError is what http.ResponseController calls.
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
		g.begun, g.cut = true, true
	}
	return conn, rw, err
}

// SetWriteDeadline is what http.ResponseController calls. A deadline in the
// past cuts the connection, and no later one brings it back.
func (g *guard) SetWriteDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cut {
		return nil
	}
	g.limit = t
	g.cut = !t.IsZero() && !t.After(time.Now())
	return http.NewResponseController(g.ResponseWriter).SetWriteDeadline(t)
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
		g.due = g.nextDeadline()
		g.deadline(g.due)
	}
	return nil
}

// rest ends a write. HTTP/1 looks at a deadline only when it writes; HTTP/2
// resets a stream at its deadline also in silence, so there it must go.
func (g *guard) rest() {
	if g.h2 && !g.cut {
		g.deadline(g.limit)
	}
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

// deadline sets one where the connection has them; tests' recorders have not.
func (g *guard) deadline(t time.Time) {
	_ = http.NewResponseController(g.ResponseWriter).SetWriteDeadline(t)
}

// begin looks at what kind of answer this is, when its head is written.
func (g *guard) begin() {
	g.begun = true
	h := g.Header()
	g.stream = llm.IsEventStream(h.Get("Content-Type")) && g.ResponseWriter.Status() == http.StatusOK
	if !g.stream {
		return
	}
	g.packed = h.Get("Content-Encoding") != "" || h.Get("Content-Length") != ""
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

func (g *guard) wrote(p []byte) {
	if !g.stream {
		return
	}
	_ = g.between.Write(p) // takes all: nobody stops it
	g.bytes += int64(len(p))
	g.lastEvent = time.Now()
	g.lastWrite = g.lastEvent
}

// explain notes a write that failed for the client's slowness.
func (g *guard) explain(err error) error {
	if err == nil || g.cut || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	g.cut = true
	g.err = errors.Join(ErrSlowClient, err)
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
		return os.ErrDeadlineExceeded // gin's writer keeps the error to itself
	}
	return err
}

// finish ends the guarding, when the handler returned or panicked.
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
		g.cut = true // nobody may add an event within an event
		g.deadline(past)
	}
	if g.begun && !g.cut {
		g.deadline(serverDeadline(ctx)) // the connection's next answer may be another's
	}
	if g.h2 && g.stream && !g.cut && ctx.Err() != nil {
		_ = g.explain(g.resetReason()) // nobody writes any more
	}
	g.broken = g.cut
	g.cut = true
	g.mu.Unlock()
	if !g.stream {
		return
	}
	defer g.streams.leave(g) // after the event, so that a drain misses none
	if g.streams.cfg.OnEvent != nil {
		g.streams.cfg.OnEvent(context.WithoutCancel(ctx), Event{Duration: time.Since(g.start), Bytes: g.bytes, Heartbeats: g.beats, Err: g.err})
	}
}

// resetReason is why HTTP/2 closed the stream, from the server's own writer: gin's keeps
// errors of flushes to itself. A deadline can pass after its write returned, since the
// server hears of a deadline's end later; the next flush then fails at once, well before
// its own deadline. Deadlines of the handler's own are not the client's slowness.
func (g *guard) resetReason() error {
	if !g.limit.IsZero() && time.Now().After(g.limit) {
		return nil
	}
	var w http.ResponseWriter = g.ResponseWriter
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = outer.Unwrap()
	}
	if f, ok := w.(interface{ FlushError() error }); ok {
		return f.FlushError()
	}
	return nil
}

// serverDeadline is the one that the server itself would have set.
func serverDeadline(ctx context.Context) time.Time {
	if s, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok && s.WriteTimeout > 0 {
		return time.Now().Add(s.WriteTimeout)
	}
	return time.Time{}
}
