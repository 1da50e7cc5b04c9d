package cache

import (
	"bufio"
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

var (
	// errCut: a handler broke the answer off.
	errCut = errors.New("cache: the answer was cut")
	// errShort: the body has another length than was promised.
	errShort = errors.New("cache: the answer has another length than it says")
	// errPanic: a handler panicked.
	errPanic = errors.New("cache: a handler panicked")
)

// holdBytes is how much of an answer that is no stream is held back until it is whole.
const holdBytes = 256 << 10

// recorder is the writer that the handlers of a leader see. What they write goes to the
// flight's tape; the leader's own client reads from there as others do. So a handler is
// never held up by a client, and nothing of it reaches a writer that the server has
// taken back.
type recorder struct {
	x     *exchange
	f     *flight
	r     *reader // the leader's client; nil: there is none
	stale *Entry  // may stand in for an error, or be made fresh
	base  http.Header

	mu        sync.Mutex
	header    http.Header
	status    int
	size      int
	committed bool
	sealed    bool
	swallowed bool // the answer is another: the flight's entry
	cut       bool
	own       http.Header // of the leader's answer
	ownStatus int
	reason    string // why it will not be stored
	pump      *pump
}

func newRecorder(x *exchange, f *flight, r *reader, stale *Entry) *recorder {
	rec := &recorder{x: x, f: f, r: r, stale: stale, status: http.StatusOK, size: -1}
	if x.w != nil {
		rec.base, rec.status = x.w.Header().Clone(), x.w.Status()
	}
	rec.header = rec.base.Clone()
	if rec.header == nil {
		rec.header = http.Header{}
	}
	return rec
}

// Header implements http.ResponseWriter.
func (rec *recorder) Header() http.Header { return rec.header }

// WriteHeader implements http.ResponseWriter.
func (rec *recorder) WriteHeader(code int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !rec.committed && code >= http.StatusOK {
		rec.status = code
	}
}

// WriteHeaderNow implements gin.ResponseWriter.
func (rec *recorder) WriteHeaderNow() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.commit()
}

// Write implements http.ResponseWriter.
func (rec *recorder) Write(p []byte) (int, error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.commit()
	if rec.sealed {
		return 0, errEnded
	}
	if rec.cut {
		return 0, errCut
	}
	if !hasBody(rec.status) && len(p) > 0 {
		return 0, http.ErrBodyNotAllowed
	}
	if !rec.swallowed && len(p) > 0 {
		rec.f.resolve(live, nil) // not before the first byte: until then another one may try
		if rec.r != nil && rec.pump == nil && rec.size+len(p) > rec.holdLimit() {
			rec.startPump()
		}
		if err := rec.f.tape.write(p); err != nil {
			return 0, err
		}
	}
	rec.size += len(p)
	return len(p), nil
}

func (rec *recorder) holdLimit() int {
	return int(min(holdBytes, rec.x.cfg.MaxEntry, rec.x.cfg.MaxLag/2))
}

// WriteString implements io.StringWriter.
func (rec *recorder) WriteString(s string) (int, error) { return rec.Write([]byte(s)) }

// Flush implements http.Flusher.
func (rec *recorder) Flush() { _ = rec.FlushError() }

// FlushError is what http.ResponseController calls. Clients get what is written at once
// anyway.
func (rec *recorder) FlushError() error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.commit()
	if rec.cut {
		return errCut
	}
	return nil
}

// SetWriteDeadline is what http.ResponseController calls. One in the past breaks the
// answer off; others are for clients, which have their own.
func (rec *recorder) SetWriteDeadline(t time.Time) error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !t.IsZero() && !t.After(time.Now()) && !rec.sealed {
		rec.cut = true
		if rec.committed {
			rec.f.tape.end(errCut)
		}
	}
	return nil
}

// SetReadDeadline is what http.ResponseController calls.
func (rec *recorder) SetReadDeadline(t time.Time) error {
	if rec.x.w == nil {
		return http.ErrNotSupported
	}
	return http.NewResponseController(rec.x.w).SetReadDeadline(t)
}

// Status implements gin.ResponseWriter.
func (rec *recorder) Status() int {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.status
}

// Size implements gin.ResponseWriter.
func (rec *recorder) Size() int {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.size
}

// Written implements gin.ResponseWriter.
func (rec *recorder) Written() bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.committed
}

// Hijack implements http.Hijacker. An answer that others share can't be taken over.
func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrNotSupported
}

// CloseNotify implements http.CloseNotifier.
func (rec *recorder) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(rec.f.ctx, func() { gone <- true })
	return gone
}

// Pusher implements gin.ResponseWriter.
func (rec *recorder) Pusher() http.Pusher { return nil }

// commit looks at what kind of answer this is, when its head is written. The caller holds
// mu.
func (rec *recorder) commit() {
	if rec.committed {
		return
	}
	rec.committed, rec.size = true, 0
	h := head{status: rec.status, header: rec.others(), cookies: len(rec.header["Set-Cookie"]) > 0}
	if rec.swallow(h) {
		rec.swallowed = true
		return
	}
	x, f := rec.x, rec.f
	share, reason := x.policy.admit(x, f, &h)
	rec.own, rec.ownStatus, rec.reason = rec.header.Clone(), rec.status, reason
	if share != live {
		if share == failed && f.attempt >= maxAttempts {
			share = live // it is an answer after all
		} else {
			x.flights.remove(f)
		}
	}
	f.head = h // nobody looks before it is resolved
	if share != live {
		f.resolve(share, nil)
	}
	private := share != live && reason != ""
	if private {
		f.tape.pass()
	}
	if rec.r != nil && (private || isStream(rec.header)) {
		rec.startPump()
	}
	if rec.cut {
		f.tape.end(errCut)
	}
}

// swallow finds that another answer is better than this one: the entry that it makes
// fresh again, or the stale one that is better than an error.
func (rec *recorder) swallow(h head) bool {
	if rec.stale == nil {
		return false
	}
	x, f, now := rec.x, rec.f, time.Now()
	switch {
	case h.status == http.StatusNotModified && x.policy == policy(x.http):
		e := freshen(x, rec.stale, h.header, now)
		x.keep(f, e)
		f.resolve(stored, func() { f.entry = e })
		return true
	case isFailure(h.status) && x.mayStandIn(rec.stale, now):
		f.resolve(stored, func() { f.entry, f.stale = rec.stale, true })
		return true
	}
	return false
}

// others is the header as others may have it: what the handlers set, and not what those
// before the cache had set for the leader.
func (rec *recorder) others() http.Header {
	h := make(http.Header, len(rec.header))
	for name, values := range rec.header {
		if len(values) > 0 && !isOwn(name) && !slices.Equal(values, rec.base[name]) {
			h[name] = slices.Clone(values)
		}
	}
	for _, v := range rec.header["Connection"] {
		for _, name := range listNames(v) {
			delete(h, name)
		}
	}
	return h
}

// isOwn: a header of one connection, or of one client.
func isOwn(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Te",
		"Trailer", "Transfer-Encoding", "Upgrade", "Set-Cookie", "X-Request-Id":
		return true
	}
	return false
}

// startPump has the leader's client be told from now on.
func (rec *recorder) startPump() {
	if rec.pump != nil {
		return
	}
	rec.f.tape.hurry(rec.r)
	p := &pump{done: make(chan struct{})}
	rec.pump = p
	x, status, header := rec.x, rec.ownStatus, rec.own
	mark := x.markText() // the handler's goroutine changes the status
	go p.run(func() error {
		defer rec.f.tape.leave(rec.r) // also when a writer panics
		if x.notModified(status, header) {
			x.headOfNotModified(header, mark)
			return nil
		}
		filter := x.unusaged(header)
		if filter != nil {
			header = header.Clone() // the handler's goroutine reads it
			header.Del("Content-Length")
		}
		x.ownHead(header, status, mark)
		return x.play(rec.f, rec.r, filter)
	})
}

// seal ends the recording, when the handlers have returned. Its error is why the answer
// is not whole.
func (rec *recorder) seal(panicked bool) error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	var err error
	switch {
	case panicked:
		err = errPanic
	case rec.cut:
		err = errCut
	}
	if !panicked {
		rec.commit()
	}
	rec.sealed = true
	if err == nil && !rec.swallowed && rec.short() {
		err = errShort
	}
	if err == nil {
		rec.f.resolve(live, nil)
	}
	rec.f.trailer = trailers(rec.header, rec.own)
	rec.f.tape.end(err)
	return err
}

// short reports whether the body is not as long as was promised.
func (rec *recorder) short() bool {
	v := rec.own.Get("Content-Length")
	return v != "" && hasBody(rec.status) && v != strconv.Itoa(rec.size)
}

// trailers are the fields that came after the head.
func trailers(now, before http.Header) http.Header {
	var t http.Header
	for name, values := range now {
		announced := slices.ContainsFunc(before["Trailer"], func(v string) bool { return slices.Contains(listNames(v), name) })
		if _, was := before[name]; was || !announced && len(name) < len(http.TrailerPrefix) {
			continue
		}
		if announced || name[:len(http.TrailerPrefix)] == http.TrailerPrefix {
			if t == nil {
				t = http.Header{}
			}
			t[name] = values
		}
	}
	return t
}

// hasBody: an answer of this status may have a body.
func hasBody(status int) bool {
	return status >= http.StatusOK && status != http.StatusNoContent && status != http.StatusNotModified
}

// pump tells the leader's client what the others are told, beside the leader's handlers.
type pump struct {
	done  chan struct{}
	err   error
	value any // of a panic
}

func (p *pump) run(play func() error) {
	defer close(p.done)
	defer func() { p.value = recover() }() // it belongs to the leader's goroutine
	p.err = play()
}

// ownHead writes the head of the leader's own answer.
func (x *exchange) ownHead(header http.Header, status int, mark string) {
	h := x.w.Header()
	clear(h)
	maps.Copy(h, header)
	x.sendHead(status, mark)
}

var _ gin.ResponseWriter = (*recorder)(nil)
