package peek

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
)

// A client must deliver its body within grace plus one second for each
// minRate bytes (the rule of Apache's mod_reqtimeout), so that a body dripped
// in byte by byte ends after grace, and a slow line can still send megabytes.
const (
	grace   = 10 * time.Second
	minRate = 500
)

// A body's buffer begins with what is announced, or 8 KiB, but not with more
// than 64 KiB: an announcement alone must not cost memory.
const (
	firstRead    = 8 << 10
	maxFirstRead = 64 << 10
)

// held is a body that is wholly in memory.
type held struct {
	bytes.Reader
	all []byte
}

func (*held) Close() error { return nil }

func hold(b []byte) *held {
	h := &held{all: b}
	h.Reset(b)
	return h
}

// partial is a body too long to hold: what was read of it, then the rest.
type partial struct {
	io.Reader
	io.Closer
}

// Body reads the request's body if it is at most limit bytes long. Whole
// reports that it was, and that body is all of it; otherwise body is nil and
// the request's body, unread or partly read, still yields every byte. A second
// call costs nothing. The bytes must not be modified.
//
// An error is an *apierror.Error: 408 for a client that was too slow, 400 for
// a broken body. The connection is then closed after the answer, because what
// follows on it can't be trusted to be a new request.
func Body(c *gin.Context, limit int64) (body []byte, whole bool, err error) {
	r := c.Request
	switch b := r.Body.(type) {
	case nil:
		return nil, true, nil
	case *held:
		return b.all, true, nil
	case *partial:
		return nil, false, nil
	}
	if r.Body == http.NoBody {
		return nil, true, nil
	}
	if r.ContentLength > limit || limit < 0 {
		return nil, false, nil
	}
	limit = min(limit, math.MaxInt64-1) // one more is read
	g := newGuarded(c.Writer, r.Body)
	b, err := readUpTo(&g, r.ContentLength, limit+1)
	if err != nil {
		c.Header("Connection", "close")
		return nil, false, bodyError(err)
	}
	if int64(len(b)) > limit {
		// Whoever reads the rest sets bounds of its own.
		_ = http.NewResponseController(c.Writer).SetReadDeadline(time.Time{})
		r.Body = &partial{io.MultiReader(bytes.NewReader(b), r.Body), r.Body}
		return nil, false, nil
	}
	r.Body = hold(b)
	return b, true, nil
}

// readUpTo reads at most limit bytes. It reads on after the announced length:
// only at the body's end does net/http watch the connection for a client that
// leaves, and a middleware that unpacks bodies may leave the length as it was.
func readUpTo(r *guarded, length, limit int64) ([]byte, error) {
	size := min(length, maxFirstRead) + 1 // room to see the end without growing
	if length < 0 {
		size = firstRead
	}
	b := make([]byte, 0, min(size, limit))
	for int64(len(b)) < limit {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):min(int64(cap(b)), limit)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &apierror.Error{Status: http.StatusRequestTimeout, Code: "request_timeout", Message: "The request body did not arrive in time.", Err: err}
	case errors.As(err, &tooLarge):
		return apierror.From(err)
	default:
		return &apierror.Error{Status: http.StatusBadRequest, Code: "bad_body", Message: "The request body could not be read.", Err: err}
	}
}

// Deadline is when the next byte of a body must have come, n bytes after start.
func Deadline(start time.Time, n int64) time.Time {
	return start.Add(grace + time.Duration(n/minRate)*time.Second)
}

// newGuarded returns body with read deadlines on the client's connection, so that a
// client that drips its body in is dropped. When the body has ended the deadline is
// lifted; after an error it stays, so that the server, which reads what is left of a
// body, does not wait for the rest either.
func newGuarded(w http.ResponseWriter, body io.Reader) guarded {
	return guarded{r: body, conn: http.NewResponseController(w), start: time.Now()}
}

// Guarded is the request's body for one who reads it piece by piece: a client that drips
// it in is dropped as by [Body].
func Guarded(c *gin.Context) io.ReadCloser {
	g := newGuarded(c.Writer, c.Request.Body)
	return &partial{&g, c.Request.Body}
}

type guarded struct {
	r     io.Reader
	conn  *http.ResponseController
	start time.Time
	n     int64
}

func (g *guarded) Read(p []byte) (int, error) {
	// A writer without deadlines, as in tests, is no error: the body is read all the same.
	_ = g.conn.SetReadDeadline(Deadline(g.start, g.n))
	n, err := g.r.Read(p)
	g.n += int64(n)
	if errors.Is(err, io.EOF) {
		_ = g.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Bytes returns the whole body of an outbound request when it is held in
// memory, without reading it. The bytes must not be modified.
func Bytes(req *http.Request) ([]byte, bool) {
	switch b := req.Body.(type) {
	case nil:
		return nil, true
	case *held:
		return b.all, true
	}
	return nil, req.Body == http.NoBody
}

// maxCopy is the largest body, in bytes, that is copied to be looked at.
const maxCopy = 4 << 20

// Whole returns the body of an outbound request when it is held in memory, else a copy
// where there can be one (GetBody, as net/http sets it) of up to 4 MiB. It reports false
// when there is none, or an empty one. The bytes must not be modified.
func Whole(req *http.Request) ([]byte, bool) {
	if b, held := Bytes(req); held {
		return b, len(b) > 0
	}
	if req.GetBody == nil || req.ContentLength <= 0 || req.ContentLength > maxCopy {
		return nil, false
	}
	again, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	defer func() { _ = again.Close() }()
	b, err := io.ReadAll(io.LimitReader(again, maxCopy))
	return b, err == nil && int64(len(b)) == req.ContentLength
}

// SetBytes makes b the body of an outbound request, with Content-Length and
// GetBody. An empty b means no body.
func SetBytes(req *http.Request, b []byte) {
	req.ContentLength = int64(len(b))
	if len(b) == 0 { // with a Body net/http would take the length for unknown
		req.Body, req.GetBody = nil, nil
		return
	}
	req.Body = hold(b)
	req.GetBody = func() (io.ReadCloser, error) { return hold(b), nil }
}

// WithBytes returns the request with b as its body, and without the header fields that
// describe the body as it was.
func WithBytes(req *http.Request, b []byte) *http.Request {
	out := req.WithContext(req.Context())
	SetBytes(out, b)
	out.Header = req.Header.Clone()
	for _, name := range [...]string{"Content-Length", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		out.Header.Del(name)
	}
	return out
}
