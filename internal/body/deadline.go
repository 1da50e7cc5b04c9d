package body

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/reach"
)

// A client must deliver its body within grace plus one second for each minRate bytes (the
// rule of Apache's mod_reqtimeout): a body sent byte by byte ends after grace, and a slow
// line can still send megabytes.
const (
	grace   = 10 * time.Second
	minRate = 500
)

// Deadline returns the time by which the next byte must arrive, n bytes after start.
func Deadline(start time.Time, n int64) time.Time {
	return start.Add(grace + time.Duration(n/minRate)*time.Second)
}

// guarded is a body with read deadlines on the client's connection, against clients that send
// slowly on purpose. The deadline is lifted at the body's end. After an error it stays, so that
// the server does not wait for the rest of the body either.
type guarded struct {
	r     io.Reader
	conn  reach.Conn
	known bool // there is a connection
	start time.Time
	n     int64
}

func newGuarded(r *http.Request, w http.ResponseWriter) *guarded {
	return &guarded{r: r.Body, start: time.Now(), known: w != nil, conn: reach.Of(r.Context(), w)}
}

// Guarded returns the request's body with the read deadlines of [Hold], for callers that
// stream it.
func Guarded(c *gin.Context) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{newGuarded(c.Request, c.Writer), c.Request.Body}
}

// Read implements io.Reader.
func (g *guarded) Read(p []byte) (int, error) {
	g.until(Deadline(g.start, g.n))
	n, err := g.r.Read(p)
	g.n += int64(n)
	if errors.Is(err, io.EOF) {
		g.until(time.Time{})
	}
	return n, err
}

// until sets the read deadline. A writer without deadlines, as in tests, is no error.
func (g *guarded) until(t time.Time) {
	if g.known {
		_ = g.conn.SetReadDeadline(t)
	}
}
