package queue

import (
	"bytes"
	"context"
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
	"github.com/ginfer/ginfer/internal/reach"
	"github.com/ginfer/ginfer/internal/retryafter"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// execute carries out a task once. A panic of the application's code fails the attempt.
func (q *Queue) execute(ctx context.Context, t *task.Task, info Info) (res task.Response) {
	o := t.Origin
	if o == nil {
		o = &task.Origin{}
	}
	ctx = exchange.With(context.WithValue(ctx, contextKey{}, info), &exchange.Exchange{Caller: callerOf(t.Owner)})
	start := time.Now()
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			res = task.Response{Err: task.ErrIncomplete}
		default:
			res = task.Response{Err: fmt.Errorf("%w: %v", task.ErrPanic, p)}
		}
		if res.Took = time.Since(start); res.Err == nil && ctx.Err() != nil {
			res.Err = context.Cause(ctx) // a handler with an ended context may respond anything
		}
	}()
	if q.cfg.Attach != nil {
		ctx = q.cfg.Attach(ctx, o.Identity)
	}
	r := request(ctx, t, o)
	if q.cfg.Handler == nil {
		return roundTrip(q.cfg.Transport, r, q.cfg.Limits.ResultBytes)
	}
	w := &recorder{header: http.Header{}, limit: q.cfg.Limits.ResultBytes}
	q.cfg.Handler.ServeHTTP(w, r.WithContext(reach.Keep(ctx, w)))
	return w.response()
}

// callers is the seed of the hashes of owners in this process.
//
//nolint:gochecknoglobals // a constant
var callers = maphash.MakeSeed()

// callerOf returns the caller of a task: its submitter, not the worker. An identity that
// Attach puts into the context takes its place.
func callerOf(owner string) uint64 { return max(maphash.String(callers, owner), 1) } // 0 means unknown

// request returns the request of a task as a server would receive it.
func request(ctx context.Context, t *task.Task, o *task.Origin) *http.Request {
	h := o.Header.Clone() // the lines of a batch share it
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-Request-ID", t.Name())
	h.Set("Idempotency-Key", t.Name())
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

func roundTrip(rt http.RoundTripper, r *http.Request, limit int64) task.Response {
	r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", r.Host
	res, err := rt.RoundTrip(r)
	if err != nil {
		return task.Response{Err: err}
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return task.Response{Err: fmt.Errorf("%w: %w", task.ErrIncomplete, err)}
	case int64(len(b)) > limit:
		return task.Response{Err: task.ErrTooLarge}
	}
	return task.Response{Status: res.StatusCode, Header: res.Header, Body: b}
}

// recorder is a ResponseWriter that buffers the response.
type recorder struct {
	header, sent http.Header
	status       int
	body         bytes.Buffer
	limit        int64
	long, cut    bool
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case w.cut:
		return 0, os.ErrDeadlineExceeded
	case int64(w.body.Len()+len(p)) > w.limit:
		w.long = true
		return 0, task.ErrTooLarge
	}
	return w.body.Write(p)
}

// Flush implements http.Flusher. The body is read only at the end.
func (w *recorder) Flush() { w.WriteHeader(http.StatusOK) }

// SetWriteDeadline marks the response as incomplete if t has passed: so handlers abort
// one (see apierror.Cut).
func (w *recorder) SetWriteDeadline(t time.Time) error {
	w.cut = !t.IsZero() && t.Before(time.Now())
	return nil
}

// SetReadDeadline does nothing: the request body is in memory.
func (w *recorder) SetReadDeadline(time.Time) error { return nil }

// EnableFullDuplex does nothing: it is always enabled.
func (w *recorder) EnableFullDuplex() error { return nil }

func (w *recorder) response() task.Response {
	switch {
	case w.cut:
		return task.Response{Err: task.ErrIncomplete}
	case w.long:
		return task.Response{Err: task.ErrTooLarge}
	}
	w.WriteHeader(http.StatusOK)
	if n := w.sent.Get("Content-Length"); n != "" && n != strconv.Itoa(w.body.Len()) {
		return task.Response{Err: fmt.Errorf("%w: %d of %s bytes", task.ErrIncomplete, w.body.Len(), n)}
	}
	return task.Response{Status: w.status, Header: w.sent, Body: w.body.Bytes()}
}

// maxRetryAfter is the longest Retry-After that is obeyed.
const maxRetryAfter = time.Hour

// delay returns the wait before the next attempt, and whether the response requested
// it.
func (q *Queue) delay(res *task.Response, attempt int) (wait time.Duration, requested bool) {
	wait = q.cfg.Backoff << min(attempt-1, 20)
	if wait > q.cfg.MaxBackoff || wait <= 0 {
		wait = q.cfg.MaxBackoff
	}
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // no secret
	if res.Header != nil {
		if d, ok := retryafter.Parse(res.Header, time.Now()); ok {
			return max(wait, min(d, maxRetryAfter)), true
		}
	}
	return wait, false
}
