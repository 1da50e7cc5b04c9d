package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/retryafter"
)

// answer is what a try brought.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // without an answer
	took   time.Duration
}

var (
	// errCut: the handler ended its answer before it was whole.
	errCut = errors.New("queue: the answer was cut")
	// errPanic: the handler panicked.
	errPanic = errors.New("queue: the handler panicked")
	// errLong: the answer was longer than Limits.ResultBytes.
	errLong = errors.New("queue: the answer is too long")
)

// execute carries out a task once.
func (q *Queue) execute(ctx context.Context, t *task, o *origin, info Info) answer {
	ctx = exchange.With(context.WithValue(ctx, contextKey{}, info), &exchange.Exchange{Caller: callerOf(t.Owner)})
	if q.cfg.Attach != nil {
		ctx = q.cfg.Attach(ctx, o.Identity)
	}
	start := time.Now()
	r := request(ctx, t, o)
	var a answer
	if q.cfg.Handler != nil {
		a = handle(q.cfg.Handler, r, q.cfg.Limits.ResultBytes)
	} else {
		a = roundTrip(q.cfg.Transport, r, q.cfg.Limits.ResultBytes)
	}
	if a.took = time.Since(start); a.err == nil && ctx.Err() != nil {
		a.err = context.Cause(ctx) // what a handler says of its own end is no answer
	}
	return a
}

// callers is the seed of the hashes that stand for owners, of this process alone.
//
//nolint:gochecknoglobals // a constant
var callers = maphash.MakeSeed()

// callerOf stands for the submitter: a call belongs to who submitted it, not to the worker.
// An identity that Attach puts into the context takes its place.
func callerOf(owner string) uint64 { return max(maphash.String(callers, owner), 1) } // 0 is nobody known

// request makes the request of a task, as a server would have got it.
func request(ctx context.Context, t *task, o *origin) *http.Request {
	h := o.Header.Clone() // a batch's is that of all its lines
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-Request-ID", t.name())
	h.Set("Idempotency-Key", t.name())
	remote := o.Remote
	if remote == "" {
		remote = "127.0.0.1:0"
	}
	r := &http.Request{
		Method: t.Method, URL: &url.URL{Path: t.URL}, RequestURI: t.URL, Host: "queue", RemoteAddr: remote,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, ContentLength: int64(len(t.Body)), Body: io.NopCloser(bytes.NewReader(t.Body)),
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(t.Body)), nil }
	return r.WithContext(ctx)
}

func handle(h http.Handler, r *http.Request, limit int64) (a answer) {
	w := &recorder{header: http.Header{}, limit: limit}
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			a = answer{err: errCut}
		default:
			a = answer{err: fmt.Errorf("%w: %v", errPanic, p)}
		}
	}()
	h.ServeHTTP(w, r)
	return w.answer()
}

func roundTrip(rt http.RoundTripper, r *http.Request, limit int64) answer {
	r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", r.Host
	res, err := rt.RoundTrip(r)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return answer{err: fmt.Errorf("%w: %w", errCut, err)}
	case int64(len(b)) > limit:
		return answer{err: errLong}
	}
	return answer{status: res.StatusCode, header: res.Header, body: b}
}

// recorder keeps an answer.
type recorder struct {
	header, sent http.Header
	status       int
	body         bytes.Buffer
	limit        int64
	long, cut    bool
}

// Header is that of the answer.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader begins the answer.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

// Write adds to it.
func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case w.cut:
		return 0, os.ErrDeadlineExceeded
	case int64(w.body.Len()+len(p)) > w.limit:
		w.long = true
		return 0, errLong
	}
	return w.body.Write(p)
}

// Flush does nothing: nobody reads before the end.
func (w *recorder) Flush() { w.WriteHeader(http.StatusOK) }

// SetWriteDeadline in the past is how a handler cuts an answer (see
// apierror.Cut).
func (w *recorder) SetWriteDeadline(t time.Time) error {
	w.cut = !t.IsZero() && t.Before(time.Now())
	return nil
}

// SetReadDeadline does nothing: the body is all there.
func (w *recorder) SetReadDeadline(time.Time) error { return nil }

// EnableFullDuplex does nothing: it is.
func (w *recorder) EnableFullDuplex() error { return nil }

func (w *recorder) answer() answer {
	switch {
	case w.cut:
		return answer{err: errCut}
	case w.long:
		return answer{err: errLong}
	}
	w.WriteHeader(http.StatusOK)
	if n := w.sent.Get("Content-Length"); n != "" && n != strconv.Itoa(w.body.Len()) {
		return answer{err: fmt.Errorf("%w: %d of %s bytes", errCut, w.body.Len(), n)}
	}
	return answer{status: w.status, header: w.sent, body: w.body.Bytes()}
}

// retriable says whether another try may bring something better.
func (a *answer) retriable() bool {
	switch {
	case a.err != nil:
		return !errors.Is(a.err, errLong)
	case a.status == http.StatusTooManyRequests: // also when a client should give up: here is time
		return true
	case a.header.Get("X-Should-Retry") == "false", a.status == http.StatusNotImplemented:
		return false
	}
	return a.status >= 500 || a.status == http.StatusRequestTimeout || a.status == http.StatusTooEarly || a.header.Get("X-Should-Retry") == "true"
}

// maxRetryAfter is the longest wait that an answer can ask for.
const maxRetryAfter = time.Hour

// delay is how long to wait before the next try; asked says that the answer asked.
func (q *Queue) delay(a *answer, attempt int) (wait time.Duration, asked bool) {
	wait = q.cfg.Backoff << min(attempt-1, 20)
	if wait > q.cfg.MaxBackoff || wait <= 0 {
		wait = q.cfg.MaxBackoff
	}
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // no secret
	if a.header != nil {
		if d, ok := retryafter.Parse(a.header, time.Now()); ok {
			return max(wait, min(d, maxRetryAfter)), true
		}
	}
	return wait, false
}

func (a *answer) requestID() string {
	for _, name := range []string{"X-Request-ID", "Request-ID"} {
		if v := a.header.Get(name); v != "" {
			return v
		}
	}
	return ""
}
