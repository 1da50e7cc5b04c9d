package cache

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	attempts "github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/reach"
)

// client is the side of an exchange that its client sees.
type client struct {
	g       *gin.Context
	w       gin.ResponseWriter // the client's; nil in a refresh
	ctx     context.Context    //nolint:containedctx // it ends when the client disconnects
	inner   statusContext      // ctx, as a part of this so that it needs no allocation
	options *Config
	head    bool // HEAD
	http2   bool
	status  Status    // so far
	values  [3]string // of the header of a hit
}

// init takes the client of g, and adds the status to the context of its request.
func (c *client) init(g *gin.Context, options *Config) {
	c.g, c.w, c.options = g, g.Writer, options
	c.inner = statusContext{g.Request.Context(), &c.status}
	c.ctx = &c.inner
	g.Request = g.Request.WithContext(c.ctx)
	c.head, c.http2 = g.Request.Method == http.MethodHead, g.Request.ProtoMajor == 2
}

// refuse responds with an error.
func (c *client) refuse(err error) {
	addCacheStatus(c.w.Header(), c.cacheStatus())
	c.g.Abort() // whatever the handler does
	c.options.ErrorHandler(c.g, err)
}

// cacheStatus is our part of Cache-Status.
func (c *client) cacheStatus() string {
	return string(appendStatus(make([]byte, 0, 128), &c.status, c.options))
}

// sendHead adds our Cache-Status to the header and writes the head.
func (c *client) sendHead(status int, cacheStatus string) {
	addCacheStatus(c.w.Header(), cacheStatus)
	c.w.WriteHeader(status)
	c.w.WriteHeaderNow()
}

// sendOwnHead writes the head of the leader's own response.
func (c *client) sendOwnHead(own flight.Head, cacheStatus string) {
	h := c.w.Header()
	clear(h)
	maps.Copy(h, own.Header)
	c.sendHead(own.Status, cacheStatus)
}

// sendNotModified responds that the client has the response already.
func (c *client) sendNotModified(header http.Header, cacheStatus string) {
	attempts.MergeHeader(c.w.Header(), rfc9111.NotModifiedHeader(header), nil)
	c.sendHead(http.StatusNotModified, cacheStatus)
}

// send responds with a reply. The values that it adds to the header are one text.
func (c *client) send(a reply) (err error) {
	h := c.w.Header()
	attempts.MergeHeader(h, a.header, nil)
	b := appendStatus(make([]byte, 0, 160), &c.status, c.options)
	mark := len(b)
	b = strconv.AppendInt(b, int64(len(a.body)), 10)
	length := len(b)
	b = strconv.AppendInt(b, int64(a.age/time.Second), 10)
	text := string(b)
	c.values = [...]string{text[:mark], text[mark:length], text[length:]}
	if before := h["Cache-Status"]; len(before) > 0 {
		h["Cache-Status"] = append(slices.Clip(before), c.values[0])
	} else {
		h["Cache-Status"] = c.values[0:1:1]
	}
	if flight.HasBody(a.status) {
		h["Content-Length"] = c.values[1:2:2]
	}
	h["Age"] = c.values[2:3:3]
	c.g.Abort()
	c.w.WriteHeader(a.status)
	c.w.WriteHeaderNow()
	if len(a.body) > 0 && flight.HasBody(a.status) && !c.head {
		_, err = c.w.Write(a.body)
	}
	return err
}

// serveReply responds with a reply that needs no attempt for this request.
func (c *client) serveReply(a reply) {
	c.markServed(false)
	c.markServed(c.send(a) == nil) // a client that disconnected needs nothing more
}

// markServed tells the limits and the access log that the response needs no attempt, and so costs no
// tokens, and at its end that it is whole.
func (c *client) markServed(whole bool) {
	if x := attempts.From(c.ctx); x != nil {
		x.Serve(attempts.Served{Finished: whole})
	}
}

// play sends the body of a response as it is produced, through a filter that may be nil.
func (c *client) play(res *flight.Response, r *flight.Reader, filter *llm.Unusaged) error {
	p := flight.Player{Writer: c.w, Conn: reach.Of(c.ctx, c.w), HTTP2: c.http2, Timeout: c.options.WriteTimeout}
	if filter != nil {
		p.Filter = filter
	}
	return p.Play(c.ctx, res, r)
}

// finish ends a response with a body that err may have cut short.
func (c *client) finish(res *flight.Response, err error) {
	c.g.Abort()
	switch {
	case err == nil || c.ctx.Err() != nil:
	case errors.Is(err, flight.ErrCut), errors.Is(err, flight.ErrShort):
		apierror.Cut(c.g, nil) // what can be said of it was said
	case errors.Is(err, flight.ErrPanic) && llm.IsEventStream(c.w.Header().Get("Content-Type")) && isBetweenEvents(res):
		c.options.ErrorHandler(c.g, unavailable(err))
		apierror.Cut(c.g, nil)
	default:
		apierror.Cut(c.g, err)
	}
}

// isBetweenEvents reports whether a stream ends between two events, as far as is known.
func isBetweenEvents(res *flight.Response) bool {
	body, ok := res.Buffered()
	if !ok {
		return false
	}
	var b llm.Splitter
	b.Write(body)
	return b.Between()
}

// unavailable is the error of a client with a failed leader.
func unavailable(err error) error {
	return &apierror.Error{
		Status: http.StatusServiceUnavailable, Code: "upstream_failed", RetryAfter: time.Second,
		Message: "The request that this one waited for failed.", Err: err,
	}
}

// stamp adds Cache-Status to a response that bypasses the cache when its head is written,
// so that it follows the Cache-Status of the upstream.
type stamp struct {
	gin.ResponseWriter
	client *client
	done   bool
}

func (s *stamp) mark() {
	if !s.done && !s.Written() {
		addCacheStatus(s.Header(), s.client.cacheStatus())
	}
	s.done = true
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (s *stamp) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Write implements http.ResponseWriter.
func (s *stamp) Write(p []byte) (int, error) {
	s.mark()
	return s.ResponseWriter.Write(p)
}

// WriteString implements io.StringWriter.
func (s *stamp) WriteString(text string) (int, error) {
	s.mark()
	return s.ResponseWriter.WriteString(text)
}

// WriteHeaderNow implements gin.ResponseWriter.
func (s *stamp) WriteHeaderNow() {
	s.mark()
	s.ResponseWriter.WriteHeaderNow()
}

// Flush implements http.Flusher.
func (s *stamp) Flush() {
	s.mark()
	s.ResponseWriter.Flush()
}

// FlushError implements the flush of http.ResponseController.
func (s *stamp) FlushError() error {
	s.mark()
	return http.NewResponseController(s.ResponseWriter).Flush()
}
