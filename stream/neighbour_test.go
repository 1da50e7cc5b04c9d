package stream_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/writers"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A stream that the guard ends is broken for its client, whatever writer hides the connection and
// whatever the handler does then.
func TestNeighbourEndedStreamIsBroken(t *testing.T) {
	t.Parallel()
	const wait = 50 * time.Millisecond
	handlers := map[string]struct {
		cfg  stream.Config
		then func(c *gin.Context)
	}{
		"idle, the handler returns": {stream.Config{Idle: wait, Heartbeat: -1}, func(c *gin.Context) { <-c.Request.Context().Done() }},
		"idle, the handler panics": {stream.Config{Idle: wait, Heartbeat: -1}, func(c *gin.Context) {
			<-c.Request.Context().Done()
			panic("too bad")
		}},
		"total, the handler writes on": {stream.Config{Total: wait}, func(c *gin.Context) {
			for err := error(nil); err == nil; {
				_, err = c.Writer.WriteString("data: 1\n\n")
			}
		}},
		"a panic within an event": {stream.Config{}, func(c *gin.Context) {
			_, _ = c.Writer.WriteString("data: 1")
			c.Writer.Flush()
			panic(http.ErrAbortHandler)
		}},
	}
	for writer, hide := range map[string]gin.HandlerFunc{"embedding": writers.Embedding, "unwrapping": writers.Unwrapping, "opaque": writers.Opaque} {
		for name, tt := range handlers {
			for _, h2 := range []bool{false, true} {
				t.Run(writer+", "+name+map[bool]string{true: ", HTTP/2"}[h2], func(t *testing.T) {
					t.Parallel()
					e := gin.New()
					e.Use(gin.RecoveryWithWriter(io.Discard), hide, stream.Middleware(tt.cfg))
					e.GET("/", func(c *gin.Context) {
						c.Header("Content-Type", "text/event-stream")
						_, _ = c.Writer.WriteString("data: 0\n\n")
						c.Writer.Flush()
						tt.then(c)
					})
					s := startServer(t, e, h2)
					res, err := s.Client().Get(s.URL)
					require.NoError(t, err)
					defer func() { _ = res.Body.Close() }()
					body, err := io.ReadAll(res.Body)
					require.Error(t, err, "a clean end: %q", body)
					assert.Contains(t, string(body), "data: 0\n\n")
				})
			}
		}
	}
}

// HTTP/1.0 has no chunks: a stream that the guard ends is reset.
func TestNeighbourEndedStreamOverHTTP10(t *testing.T) {
	t.Parallel()
	e := gin.New()
	e.GET("/", stream.Middleware(stream.Config{Idle: 50 * time.Millisecond, Heartbeat: -1}), func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		_, _ = c.Writer.WriteString("data: 0\n\n")
		c.Writer.Flush()
		<-c.Request.Context().Done()
	})
	conn, err := net.Dial("tcp", startServer(t, e, false).Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	body, err := io.ReadAll(conn)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	assert.Contains(t, string(body), "data: 0\n\nevent: error\n")
}

func startServer(t *testing.T, h http.Handler, h2 bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if s.EnableHTTP2 = h2; h2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}
