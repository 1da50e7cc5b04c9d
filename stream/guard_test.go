package stream_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// start runs a server, over HTTP/2 if h2 is set.
func start(t *testing.T, h2 bool, handlers ...gin.HandlerFunc) *httptest.Server {
	t.Helper()
	e := gin.New()
	e.GET("/", handlers...)
	srv := httptest.NewUnstartedServer(e)
	srv.EnableHTTP2 = h2
	if h2 {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

func get(t *testing.T, srv *httptest.Server) (string, error) {
	t.Helper()
	res, err := srv.Client().Get(srv.URL)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// HTTP/2 resets a stream at its write deadline, even if nothing is written: in silence
// there must be no deadline.
func TestSilenceIsNoSlowWrite(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"text/event-stream", "application/json"} {
		t.Run(contentType, func(t *testing.T) {
			t.Parallel()
			s, err := stream.New(stream.Config{WriteTimeout: 500 * time.Millisecond, Heartbeat: 650 * time.Millisecond})
			require.NoError(t, err)
			srv := start(t, true, s.Middleware(), func(c *gin.Context) {
				c.Header("Content-Type", contentType)
				_, _ = c.Writer.WriteString("data: a\n\n")
				c.Writer.Flush()
				_ = pause(c, 1600*time.Millisecond)
				_, _ = c.Writer.WriteString("data: b\n\n")
			})
			body, err := get(t, srv)
			require.NoError(t, err)
			assert.Contains(t, body, "data: b")
		})
	}
}

// A drain that ends streams just as their handlers return must not use writers that the server
// has back.
func TestDrainAgainstReturningHandlers(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		for range 3 {
			s, err := stream.New(stream.Config{})
			require.NoError(t, err)
			release, begun := make(chan struct{}), make(chan struct{}, 50)
			srv := start(t, h2, s.Middleware(), func(c *gin.Context) {
				_ = stream.NewWriter(c.Writer).Data("a")
				begun <- struct{}{}
				<-release
			})
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if res, err := srv.Client().Get(srv.URL); err == nil {
						_, _ = io.Copy(io.Discard, res.Body)
						_ = res.Body.Close()
					}
				})
			}
			for range 50 {
				<-begun
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			go close(release)
			_ = s.Drain(ctx)
			wg.Wait()
		}
	}
}

// A request without a response so far may become a stream: the drain waits.
func TestDrainWaitsForRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStreams(t, stream.Config{Heartbeat: -1, Idle: -1})
		w := newConn()
		go serve(w, request(), s.Middleware(), func(c *gin.Context) {
			_ = pause(c, time.Second) // the model thinks
			_ = stream.NewWriter(c.Writer).Data("a")
			_ = pause(c, time.Hour)
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		require.ErrorIs(t, s.Drain(ctx), context.DeadlineExceeded)
		synctest.Wait()
		assert.Zero(t, s.Open())
		assert.Contains(t, w.seen(), "shutting_down")
	})
}

type noHijack struct{ *conn }

func (noHijack) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errors.New("no") }

func TestFailedHijackStaysGuarded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStreams(t, stream.Config{})
		w := noHijack{newConn()}
		serve(w, request(), s.Middleware(), func(c *gin.Context) {
			_, _, err := c.Writer.Hijack()
			require.Error(t, err)
			require.NoError(t, stream.NewWriter(c.Writer).Data("a"))
			require.NoError(t, pause(c, 20*time.Second))
			apierror.Cut(c, errors.New("broken"))
		})
		assert.Equal(t, 1, beats(w.seen()))
		assert.True(t, w.cut())
	})
}

// A stream of a known length has no room for heartbeats.
func TestNoHeartbeatInAKnownLength(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStreams(t, stream.Config{})
		w := newConn()
		serve(w, request(), s.Middleware(), func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Header("Content-Length", "9")
			_, _ = c.Writer.WriteString("data: a\n")
			c.Writer.Flush()
			require.NoError(t, pause(c, time.Minute))
			_, _ = c.Writer.WriteString("\n")
		})
		assert.Equal(t, "data: a\n\n", w.body.String())
	})
}

// After a panic within an event, or in a stream that is already cut, no error event may follow.
func TestPanicInsideAnEvent(t *testing.T) {
	t.Parallel()
	for name, idle := range map[string]time.Duration{"not cut": -1, "cut": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := stream.New(stream.Config{Heartbeat: -1, Idle: idle})
			require.NoError(t, err)
			srv := start(t, false, apierror.Recovery(nil), s.Middleware(), func(c *gin.Context) {
				c.Header("Content-Type", "text/event-stream")
				_, _ = c.Writer.WriteString("data: {")
				c.Writer.Flush()
				_ = pause(c, 100*time.Millisecond)
				panic("boom")
			})
			body, err := get(t, srv)
			require.Error(t, err)
			assert.Equal(t, "data: {", body)
		})
	}
}

// A byte order mark counts only at the very beginning, where a heartbeat may be.
func TestByteOrderMarkAfterAHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStreams(t, stream.Config{})
		w := newConn()
		serve(w, request(), s.Middleware(), func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Writer.Flush()
			require.NoError(t, pause(c, 20*time.Second))
			n, err := c.Writer.WriteString("\ufeffdata: a\n\n")
			require.NoError(t, err)
			assert.Equal(t, 12, n)
		})
		assert.Equal(t, ":\ndata: a\n\n", w.body.String())
	})
}

// gin's writer drops the error of a flush; a slow client is detected all the same.
func TestSlowClientOfSmallEvents(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		ended := make(chan stream.Event, 1)
		s, err := stream.New(stream.Config{WriteTimeout: 500 * time.Millisecond, OnEvent: func(_ context.Context, e stream.Event) { ended <- e }})
		require.NoError(t, err)
		srv := start(t, h2, s.Middleware(), func(c *gin.Context) {
			out := stream.NewWriter(c.Writer)
			for c.Request.Context().Err() == nil && out.Data("a small event, of which many fit a buffer") == nil {
			}
		})
		res, err := srv.Client().Get(srv.URL)
		require.NoError(t, err)
		require.ErrorIs(t, (<-ended).Err, stream.ErrSlowClient, "HTTP/2: %v", h2)
		_ = res.Body.Close()
		srv.CloseClientConnections()
	}
}

// heldUp is a writer that stops at the second event until the server resets the stream at its
// write deadline.
type heldUp struct {
	gin.ResponseWriter
	reset  <-chan struct{}
	writes int
}

func (h *heldUp) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *heldUp) Write(p []byte) (int, error) {
	if h.writes++; h.writes == 2 {
		<-h.reset
	}
	return h.ResponseWriter.Write(p)
}

// Over HTTP/2 a write deadline resets the stream although the write itself only filled a
// buffer, and the next flush fails long before its own deadline. A deadline that the handler
// set, and that passes in silence, is not the client's slowness.
func TestResetByAPastWriteDeadline(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handler func(*gin.Context, *stream.Writer)
		want    error
	}{
		"the guard's": {want: stream.ErrSlowClient, handler: func(c *gin.Context, out *stream.Writer) {
			for c.Request.Context().Err() == nil && out.Data("b") == nil {
			}
		}},
		"the handler's": {handler: func(c *gin.Context, _ *stream.Writer) {
			_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			<-c.Request.Context().Done()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan stream.Event, 1)
			s, err := stream.New(stream.Config{WriteTimeout: 500 * time.Millisecond, OnEvent: func(_ context.Context, e stream.Event) { ended <- e }})
			require.NoError(t, err)
			hold := func(c *gin.Context) { c.Writer = &heldUp{ResponseWriter: c.Writer, reset: c.Request.Context().Done()} }
			srv := start(t, true, hold, s.Middleware(), func(c *gin.Context) {
				out := stream.NewWriter(c.Writer)
				_ = out.Data("a")
				tt.handler(c, out)
			})
			_, err = get(t, srv)
			require.Error(t, err, "the stream was reset")
			if e := <-ended; tt.want == nil {
				require.NoError(t, e.Err)
			} else {
				require.ErrorIs(t, e.Err, tt.want)
			}
		})
	}
}

// The server's own write timeout applies again after the handler.
func TestServersWriteTimeoutReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStreams(t, stream.Config{})
		w := newConn()
		r := request()
		r = r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, &http.Server{WriteTimeout: time.Minute}))
		serve(w, r, s.Middleware(), func(c *gin.Context) { c.String(http.StatusOK, "x") })
		assert.Equal(t, time.Now().Add(time.Minute), w.deadline)
	})
}
