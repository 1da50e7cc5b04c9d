package stream_test

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

// conn is a client's connection with write deadlines, in synctest's time. While stuck is open,
// writes wait for it or for the deadline.
type conn struct {
	mu       sync.Mutex
	header   http.Header
	status   int
	body     bytes.Buffer
	flushed  int // bytes of body
	deadline time.Time
	changed  chan struct{}
	stuck    chan struct{}
}

func newConn() *conn {
	return &conn{header: http.Header{}, changed: make(chan struct{})}
}

func (c *conn) Header() http.Header { return c.header }

func (c *conn) WriteHeader(code int) { c.status = code }

func (c *conn) Write(p []byte) (int, error) {
	for {
		c.mu.Lock()
		deadline, changed, stuck := c.deadline, c.changed, c.stuck
		if !deadline.IsZero() && !deadline.After(time.Now()) {
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		if stuck == nil {
			defer c.mu.Unlock()
			return c.body.Write(p)
		}
		c.mu.Unlock()
		var timer <-chan time.Time
		if !deadline.IsZero() {
			timer = time.After(time.Until(deadline))
		}
		select {
		case <-stuck:
			c.mu.Lock()
			c.stuck = nil
			c.mu.Unlock()
		case <-timer:
		case <-changed:
		}
	}
}

func (c *conn) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushed = c.body.Len()
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// stick makes all further writes wait.
func (c *conn) stick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stuck = make(chan struct{})
}

func (c *conn) seen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body.String()[:c.flushed]
}

func (c *conn) cut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.deadline.IsZero() && !c.deadline.After(time.Now())
}

// serve runs the handlers as the server would.
func serve(w http.ResponseWriter, r *http.Request, handlers ...gin.HandlerFunc) {
	e := gin.New()
	e.Any("/", handlers...)
	e.ServeHTTP(w, r)
}

// beats counts the heartbeats: lines with nothing but a colon.
func beats(body string) (n int) {
	for line := range strings.Lines(body) {
		if line == ":\n" {
			n++
		}
	}
	return n
}
