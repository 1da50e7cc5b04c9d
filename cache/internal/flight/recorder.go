package flight

import (
	"bufio"
	"context"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Leader decides about the response that a Recorder records.
type Leader interface {
	// Admit is called once, when the handlers write the head: own is the header as they
	// set it, shared what other clients may have of it. Admit may change shared.
	Admit(own http.Header, shared *Head) Admission
	// Send returns a function that sends the response to the leader's own client. It runs
	// on a goroutine of its own, beside the handlers.
	Send(own Head) func(*Reader) error
}

// Admission is what a Leader decides.
type Admission struct {
	// Share is Live if others get the response too.
	Share Outcome
	// Replaced discards the response: the leader responds with something else.
	Replaced bool
	// Stream sends the response to the leader's client while it is produced. Otherwise it
	// is sent when it is whole, or exceeds RecorderConfig.Hold.
	Stream bool
	// Discard buffers nothing for others.
	Discard bool
}

// RecorderConfig configures a Recorder. Response and Leader are required.
type RecorderConfig struct {
	// Response is what is recorded.
	Response *Response
	// Reader is that of the leader's client. Nil: there is none.
	Reader *Reader
	// Client is the writer of the leader's client, with the header so far. Nil: there is
	// none.
	Client gin.ResponseWriter
	// Conn is the connection of Client. Default: what http.ResponseController reaches.
	Conn Conn
	// Leader decides about the response.
	Leader Leader
	// Hold is how many bytes of a response that is no stream are held back until it is
	// whole.
	Hold int
}

// Recorder is the gin.ResponseWriter that the handlers of a leader write to. The leader's
// own client reads the response as the others do, so that it never delays a handler, and
// nothing reaches its writer after the request.
type Recorder struct {
	cfg  RecorderConfig
	res  *Response
	base http.Header

	mu        sync.Mutex
	header    http.Header
	status    int
	size      int
	committed bool
	closed    bool
	replaced  bool
	cut       bool
	own       Head // the leader's
	pump      *pump
}

// NewRecorder returns a Recorder.
func NewRecorder(cfg RecorderConfig) *Recorder {
	rec := &Recorder{cfg: cfg, res: cfg.Response, status: http.StatusOK, size: -1}
	if cfg.Client != nil {
		rec.base, rec.status = cfg.Client.Header().Clone(), cfg.Client.Status()
	}
	rec.header = rec.base.Clone()
	if rec.header == nil {
		rec.header = http.Header{}
	}
	return rec
}

// Header implements http.ResponseWriter.
func (rec *Recorder) Header() http.Header { return rec.header }

// SendsInformational marks a writer for package reach.
func (rec *Recorder) SendsInformational() {}

// WriteHeader implements http.ResponseWriter. A 1xx goes to the leader's client at once.
func (rec *Recorder) WriteHeader(code int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	switch {
	case rec.committed:
	case code >= http.StatusOK:
		rec.status = code
	case rec.cfg.Client != nil:
		rec.inform(code)
	}
}

// inform writes a 1xx with the header as it is now. The caller holds mu.
func (rec *Recorder) inform(code int) {
	var w http.ResponseWriter = rec.cfg.Client
	h := w.Header()
	saved := maps.Clone(h)
	clear(h)
	maps.Copy(h, rec.header)
	for { // gin's writer does not write it
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = u.Unwrap()
	}
	w.WriteHeader(code)
	clear(h)
	maps.Copy(h, saved)
}

// WriteHeaderNow implements gin.ResponseWriter.
func (rec *Recorder) WriteHeaderNow() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.commit()
}

// Write implements http.ResponseWriter.
func (rec *Recorder) Write(p []byte) (int, error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.commit()
	if rec.closed {
		return 0, errEnded
	}
	if rec.cut {
		return 0, ErrCut
	}
	if !HasBody(rec.status) && len(p) > 0 {
		return 0, http.ErrBodyNotAllowed
	}
	if !rec.replaced && len(p) > 0 {
		rec.res.Resolve(Live, nil) // not before the first byte: until then another attempt may follow
		if rec.cfg.Reader != nil && rec.size+len(p) > rec.cfg.Hold {
			rec.startPump()
		}
		if err := rec.res.body.write(p); err != nil {
			return 0, err
		}
	}
	rec.size += len(p)
	return len(p), nil
}

// WriteString implements io.StringWriter.
func (rec *Recorder) WriteString(s string) (int, error) { return rec.Write([]byte(s)) }

// Flush implements http.Flusher.
func (rec *Recorder) Flush() { _ = rec.FlushError() }

// FlushError implements the flush of http.ResponseController. Clients get what is written
// at once anyway.
func (rec *Recorder) FlushError() error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.commit()
	if rec.cut {
		return ErrCut
	}
	return nil
}

// SetWriteDeadline implements the deadline of http.ResponseController. One in the past
// cuts the response; others concern clients, which have their own.
func (rec *Recorder) SetWriteDeadline(t time.Time) error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !t.IsZero() && !t.After(time.Now()) && !rec.closed {
		rec.cut = true
		if rec.committed {
			rec.res.body.end(ErrCut)
		}
	}
	return nil
}

// SetReadDeadline implements the deadline of http.ResponseController.
func (rec *Recorder) SetReadDeadline(t time.Time) error {
	if rec.cfg.Client == nil {
		return http.ErrNotSupported
	}
	return connOf(rec.cfg.Conn, rec.cfg.Client).SetReadDeadline(t)
}

// Status implements gin.ResponseWriter.
func (rec *Recorder) Status() int {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.status
}

// Size implements gin.ResponseWriter.
func (rec *Recorder) Size() int {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.size
}

// Written implements gin.ResponseWriter.
func (rec *Recorder) Written() bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.committed
}

// Hijack implements http.Hijacker. A shared response cannot be hijacked.
func (rec *Recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrNotSupported
}

// CloseNotify implements http.CloseNotifier.
func (rec *Recorder) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(rec.res.ctx, func() { gone <- true })
	return gone
}

// Pusher implements gin.ResponseWriter.
func (rec *Recorder) Pusher() http.Pusher { return nil }

// Own returns the head of the leader's own response. It is valid after Close.
func (rec *Recorder) Own() Head { return rec.own }

// Replaced reports whether the leader responds with something else. It is valid after
// Close.
func (rec *Recorder) Replaced() bool { return rec.replaced }

// commit has the leader decide about the response when its head is written. The caller
// holds mu.
func (rec *Recorder) commit() {
	if rec.committed {
		return
	}
	rec.committed, rec.size = true, 0
	shared := Head{Status: rec.status, Header: SharedHeader(rec.header, rec.base), SetCookie: len(rec.header["Set-Cookie"]) > 0}
	a := rec.cfg.Leader.Admit(rec.header, &shared)
	if a.Replaced {
		rec.replaced = true
		return
	}
	rec.own = Head{Status: rec.status, Header: rec.header.Clone()}
	rec.res.Head = shared
	if a.Share != Live {
		rec.res.Resolve(a.Share, nil)
	}
	if a.Discard {
		rec.res.body.discard()
	}
	if rec.cfg.Reader != nil && a.Stream {
		rec.startPump()
	}
	if rec.cut {
		rec.res.body.end(ErrCut)
	}
}

// startPump sends the response to the leader's client from now on.
func (rec *Recorder) startPump() {
	if rec.pump != nil {
		return
	}
	r := rec.cfg.Reader
	r.hurry()
	rec.pump = &pump{done: make(chan struct{})}
	send := rec.cfg.Leader.Send(rec.own)
	go rec.pump.run(func() error {
		defer r.Leave() // also when a writer panics
		return send(r)
	})
}

// Close ends the recording when the handlers have returned, or panicked. Its error is why
// the response is not whole.
func (rec *Recorder) Close(panicked bool) error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	var err error
	switch {
	case panicked:
		err = ErrPanic
	case rec.cut:
		err = ErrCut
	}
	if !panicked {
		rec.commit()
	}
	rec.closed = true
	if err == nil && !rec.replaced && rec.short() {
		err = ErrShort
	}
	if err == nil {
		rec.res.Resolve(Live, nil)
	}
	rec.res.Trailer = trailers(rec.header, rec.own.Header)
	rec.res.body.end(err)
	return err
}

// Wait waits until the leader's client has the response, and returns the error of sending
// it. It reports false if Send was not called. A panic of the client's writer continues
// here.
func (rec *Recorder) Wait() (sent bool, err error) {
	if rec.pump == nil {
		return false, nil
	}
	<-rec.pump.done
	if v := rec.pump.value; v != nil {
		rec.pump.value = nil
		panic(v)
	}
	return true, rec.pump.err
}

// short reports whether the length of the body differs from its Content-Length.
func (rec *Recorder) short() bool {
	v := rec.own.Header.Get("Content-Length")
	return v != "" && HasBody(rec.status) && v != strconv.Itoa(rec.size)
}

// trailers returns the fields that were set after the head.
func trailers(now, before http.Header) http.Header {
	var t http.Header
	for name, values := range now {
		if _, was := before[name]; was || !isTrailer(name, before["Trailer"]) {
			continue
		}
		if t == nil {
			t = http.Header{}
		}
		t[name] = values
	}
	return t
}

func isTrailer(name string, announced []string) bool {
	if strings.HasPrefix(name, http.TrailerPrefix) {
		return true
	}
	for _, list := range announced {
		for one := range strings.SplitSeq(list, ",") {
			if http.CanonicalHeaderKey(strings.TrimSpace(one)) == name {
				return true
			}
		}
	}
	return false
}

// HasBody reports whether a response of this status may have a body.
func HasBody(status int) bool {
	return status >= http.StatusOK && status != http.StatusNoContent && status != http.StatusNotModified
}

// pump sends the response to the leader's client, beside the leader's handlers.
type pump struct {
	done  chan struct{}
	err   error
	value any // of a panic, which belongs to the leader's goroutine
}

func (p *pump) run(send func() error) {
	defer close(p.done)
	defer func() { p.value = recover() }()
	p.err = send()
}

var _ gin.ResponseWriter = (*Recorder)(nil)
