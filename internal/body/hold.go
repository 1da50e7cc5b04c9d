package body

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/llm"
)

// Hold reads the request's body, up to the limit of its [Bodies]. A second call returns the same
// Held, even after the body was read.
//
// A body beyond the limit is kept as far as it was read; the request's body still yields every
// byte. A bidirectional stream (gRPC) is not read at all.
//
// An error is an *apierror.Error. The connection is then closed after the response, because what
// follows on it can't be trusted to be a new request.
func Hold(c *gin.Context) (*Held, error) { return HoldUpTo(c, math.MaxInt64) }

// HoldUpTo is like [Hold], for a stage with a smaller limit of its own: it leaves a body that
// announces to be longer unread. A negative limit leaves every body unread.
func HoldUpTo(c *gin.Context, limit int64) (*Held, error) { return holdIn(c, limit, false) }

// HoldFor is like [HoldUpTo], for the last stage, which calls Release when the request ends.
func HoldFor(c *gin.Context, limit int64) (*Held, error) { return holdIn(c, limit, true) }

func holdIn(c *gin.Context, limit int64, owned bool) (*Held, error) {
	h, err := hold(c, limit, owned)
	if err != nil {
		c.Header("Connection", "close")
	}
	return h, err
}

// holder is a body that gives access to its Held.
type holder interface{ Held() *Held }

func hold(c *gin.Context, own int64, owned bool) (*Held, error) {
	r := c.Request
	if b, ok := r.Body.(holder); ok {
		return b.Held(), nil
	}
	if isEmpty(r) {
		if r.ContentLength == 0 {
			return &Held{Whole: true, head: headOf(r)}, nil
		}
		r.Body = http.NoBody // a handler has removed the body
	}
	rec, isNew := recordOf(r, owned)
	src := sourceOf(c, rec)
	limit := min(rec.bodies.limit, own)
	h := &Held{head: headOf(r), rec: rec, owned: owned && isNew, limit: rec.bodies.limit, encoding: encodingOf(r.Header)}
	switch {
	case own < 0, own < rec.bodies.limit && r.ContentLength > own:
		if owned { // else a later stage may hold it
			r.Body = &stream{h, src.stream(r, 0), r.Body}
		}
		return h, nil
	case llm.IsGRPC(r.Header.Get("Content-Type")):
		h.flows = true
		r.Body = &stream{h, r.Body, r.Body}
		return h, nil
	}
	if err := h.fill(c, &src, limit); err != nil {
		return nil, err
	}
	return h, nil
}

// fill reads the body, up to one byte more than limit.
func (h *Held) fill(c *gin.Context, src *source, limit int64) error {
	r := c.Request
	g := newGuarded(r, c.Writer)
	b, leased, ended, err := readUpTo(g, r.ContentLength, limit+1, h.rec, h.rec.leases)
	consumed := src.consumed(int64(len(b)), ended, err)
	if consumed || err != nil {
		h.rec.give(int64(cap(b)))
		leased.release()
	}
	if consumed {
		b, err = src.replace()
	}
	if err != nil {
		drain(g, r, err)
		h.Release()
		return readFault(err)
	}
	if int64(len(b)) > r.ContentLength {
		forgetLength(r)
	}
	h.raw = b
	if int64(len(b)) > limit {
		g.until(time.Time{}) // readers of the rest set deadlines of their own
		r.Body = &stream{h, io.MultiReader(bytes.NewReader(b), src.stream(r, len(b))), r.Body}
		h.begin()
		return nil
	}
	h.Whole = true
	if !consumed {
		h.lease = leased
		h.rec.lend(h)
	}
	h.own.read(h.plain())
	r.Body = &h.own
	return nil
}

// stream is a body too long to hold: its beginning, then the rest.
type stream struct {
	held *Held
	io.Reader
	io.Closer
}

// Held returns the beginning.
func (s *stream) Held() *Held { return s.held }

// Bounds of what is read of a refused body, so that a client that writes before it reads sees
// the refusal instead of a broken connection. A client that pauses can read.
const (
	maxDrained = 64 << 20
	drainTime  = 3 * time.Second
	drainPause = 250 * time.Millisecond
)

// drain reads on after a refusal. A client that waits for 100 Continue sends nothing more.
func drain(g *guarded, r *http.Request, cause error) {
	var tooLarge *http.MaxBytesError
	if !errors.Is(cause, ErrBudget) && !errors.As(cause, &tooLarge) || g.n == 0 && expects(r) {
		return
	}
	g.drain()
}

func expects(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Expect"), "100-continue")
}

// drain reads the rest, within its bounds.
func (g *guarded) drain() {
	end := time.Now().Add(drainTime)
	kept, ok := pools[0].Get().(*[]byte)
	if !ok {
		b := make([]byte, firstClass)
		kept = &b
	}
	defer pools[0].Put(kept)
	for n := 0; n < maxDrained; {
		now := time.Now()
		if !now.Before(end) {
			return
		}
		g.until(earlier(end, now.Add(drainPause)))
		read, err := g.r.Read(*kept)
		n += read
		if errors.Is(err, io.EOF) {
			g.until(time.Time{})
		}
		if err != nil {
			return
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Drain reads the rest of a body that a stage refuses, within bounds, so that the client sees the
// refusal. The connection is closed after the response.
func Drain(c *gin.Context) {
	r := c.Request
	if s, ok := r.Body.(*stream); !ok || s.held.flows {
		return
	}
	g := newGuarded(r, c.Writer)
	g.drain()
	c.Header("Connection", "close")
}
