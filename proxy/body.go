package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/reach"
)

// errStopped is returned to a transport that reads a body after the handler has returned.
var errStopped = errors.New("proxy: the exchange is over")

// upload is a body that is streamed upstream while the response may already arrive. net/http
// needs full duplex for that: otherwise beginning the response closes the body
// (golang/go#40747). With full duplex a body must not be read after the handler returned
// (golang/go#68560), and bytes after a broken body must not become a new request: the
// connection is closed unless the body's end was read before the response began.
type upload struct {
	held *body.Held
	body io.Reader
	conn reach.Conn
	// next returns the deadline of the next byte.
	next func(n int64) time.Time
	// progress is called after each read that returned bytes.
	progress func()

	reading sync.Mutex // held during a Read
	gate    sync.Mutex // guards the read deadline and stopped
	stopped bool
	n       int64
	ended   atomic.Bool
	err     atomic.Pointer[error]
}

// newUpload prepares the request's body for streaming. A duplex body may pause for idle; any other
// must keep the minimum rate of [body.Deadline].
func newUpload(c *gin.Context, held *body.Held, duplex bool, idle time.Duration) *upload {
	start := time.Now()
	u := &upload{held: held, body: c.Request.Body, conn: reach.Of(c.Request.Context(), c.Writer)}
	u.next = func(n int64) time.Time { return body.Deadline(start, n) }
	if duplex {
		u.next = func(int64) time.Time {
			if idle <= 0 {
				return time.Time{}
			}
			return time.Now().Add(idle)
		}
	}
	// HTTP/2 is always full duplex and returns an error here.
	_ = u.conn.EnableFullDuplex()
	return u
}

// Held returns what was read of the body before.
func (u *upload) Held() *body.Held { return u.held }

// Read is called by the transport.
func (u *upload) Read(p []byte) (int, error) {
	u.reading.Lock()
	defer u.reading.Unlock()
	if !u.enter() {
		return 0, errStopped
	}
	n, err := u.body.Read(p)
	u.n += int64(n)
	if n > 0 && u.progress != nil {
		u.progress()
	}
	switch {
	case errors.Is(err, io.EOF):
		u.ended.Store(true)
		_ = u.conn.SetReadDeadline(time.Time{})
	case err != nil:
		wrapped := uploadError(err)
		u.err.CompareAndSwap(nil, &wrapped)
	}
	return n, err
}

func (u *upload) enter() bool {
	u.gate.Lock()
	defer u.gate.Unlock()
	if u.stopped {
		return false
	}
	_ = u.conn.SetReadDeadline(u.next(u.n))
	return true
}

// Close does nothing: transports close bodies early, but the server needs to know the rest of
// this one.
func (u *upload) Close() error { return nil }

// failed returns the error that broke the client's body, or nil.
func (u *upload) failed() error {
	if e := u.err.Load(); e != nil {
		return *e
	}
	return nil
}

// stop waits for a Read in progress, and interrupts one that waits for the client.
func (u *upload) stop() {
	u.gate.Lock()
	u.stopped = true
	if !u.ended.Load() {
		_ = u.conn.SetReadDeadline(time.Unix(1, 0))
	}
	u.gate.Unlock()
	u.reading.Lock()
	defer u.reading.Unlock()
}

func uploadError(err error) error {
	status, code, message := http.StatusBadRequest, "bad_body", "The request body broke off."
	if errors.Is(err, os.ErrDeadlineExceeded) {
		status, code, message = http.StatusRequestTimeout, "request_timeout", "The request body did not arrive in time."
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	if tooLarge || errors.Is(err, body.ErrConsumed) {
		e := *apierror.From(err)
		e.Err = fault.Join(ErrBody, err)
		return &e
	}
	return refusal(status, code, message, fault.Join(ErrBody, err))
}
