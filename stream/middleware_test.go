package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func request() *http.Request { return httptest.NewRequest(http.MethodPost, "/", nil) }

// pause is a handler's silence; it ends early when the request does.
func pause(c *gin.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-c.Request.Context().Done():
		return context.Cause(c.Request.Context())
	}
}

func newStreams(t *testing.T, cfg stream.Config) (*stream.Streams, func() stream.Event) {
	t.Helper()
	var event stream.Event
	cfg.OnEvent = func(_ context.Context, e stream.Event) { event = e }
	s, err := stream.New(cfg)
	require.NoError(t, err)
	return s, func() stream.Event { return event }
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, event := newStreams(t, stream.Config{})
		w := newConn()
		serve(w, request(), s.Middleware(), func(c *gin.Context) {
			out := stream.NewWriter(c.Writer)
			require.NoError(t, out.Data("a"))
			assert.Equal(t, 1, s.Open())
			require.NoError(t, pause(c, 46*time.Second))
			assert.Equal(t, "data: a\n\n:\n:\n:\n", w.seen())
			assert.NoError(t, out.Data("b"))
			assert.NoError(t, pause(c, 14*time.Second)) // the interval restarts
			assert.Equal(t, 3, beats(w.seen()))
			assert.NoError(t, out.Done())
		})
		assert.True(t, strings.HasSuffix(w.seen(), "data: b\n\ndata: [DONE]\n\n"))
		assert.False(t, w.cut())
		assert.Equal(t, stream.Event{Duration: 60 * time.Second, Bytes: 32, Heartbeats: 3}, event())
		assert.Zero(t, s.Open())
		time.Sleep(time.Minute)
		assert.Equal(t, 3, beats(w.seen()), "none after the end")
	})
}

func TestHeartbeatNeverInsideAnEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStreams(t, stream.Config{})
		w := newConn()
		serve(w, request(), s.Middleware(), func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream; charset=utf-8")
			_, _ = c.Writer.WriteString("data: {\"a\"")
			c.Writer.Flush()
			require.NoError(t, pause(c, time.Minute))
			_, _ = c.Writer.WriteString(":1}\n")
			require.NoError(t, pause(c, time.Minute))
			_, _ = c.Writer.WriteString("\n")
			assert.NoError(t, pause(c, 40*time.Second))
		})
		assert.Equal(t, "data: {\"a\":1}\n\n:\n:\n", w.seen())
	})
}

func TestNoHeartbeat(t *testing.T) {
	t.Parallel()
	tests := map[string]func(c *gin.Context){
		"before the head":   func(*gin.Context) {},
		"in JSON":           func(c *gin.Context) { c.JSON(http.StatusOK, 1) },
		"in an error":       func(c *gin.Context) { c.Data(http.StatusBadGateway, "text/event-stream", []byte("\n")) },
		"in a packed one":   func(c *gin.Context) { c.Header("Content-Encoding", "gzip"); c.Data(200, "text/event-stream", nil) },
		"of another prefix": func(c *gin.Context) { c.Data(200, "text/event-stream-x", []byte("\n")) },
	}
	for name, handler := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, _ := newStreams(t, stream.Config{})
				w := newConn()
				serve(w, request(), s.Middleware(), handler, func(c *gin.Context) { _ = pause(c, time.Minute) })
				assert.Zero(t, beats(w.body.String()))
			})
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	const errorEvent = "event: error\n" + `data: {"type":"error","error":{"message":"The stream was ended by a time limit.","type":"server_error","param":null,"code":"stream_timeout"}}` + "\n\n"
	tests := []struct {
		name  string
		cfg   stream.Config
		first string
		pause time.Duration // between messages
		after time.Duration
		err   error
		body  string
	}{
		{"idle", stream.Config{Heartbeat: -1, Idle: time.Minute}, "data: a\n\n", 2 * time.Minute, time.Minute, stream.ErrIdle, "data: a\n\n" + errorEvent},
		{"total", stream.Config{Heartbeat: -1, Total: 95 * time.Second}, "data: a\n\n", 60 * time.Second, 95 * time.Second, stream.ErrTotal, "data: a\n\ndata: x\n\n" + errorEvent},
		{"heartbeats are not activity", stream.Config{Heartbeat: 40 * time.Second, Idle: time.Minute}, "data: a\n\n", time.Hour, time.Minute, stream.ErrIdle, "data: a\n\n:\n" + errorEvent},
		{"within an event nothing is added", stream.Config{Heartbeat: -1, Idle: time.Minute}, "data: a", time.Hour, time.Minute, stream.ErrIdle, "data: a"},
		{"default idle", stream.Config{Heartbeat: -1}, "data: a\n\n", time.Hour, 5 * time.Minute, stream.ErrIdle, "data: a\n\n" + errorEvent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, event := newStreams(t, tt.cfg)
				w, start := newConn(), time.Now()
				serve(w, request(), s.Middleware(), func(c *gin.Context) {
					c.Header("Content-Type", "text/event-stream")
					_, err := c.Writer.WriteString(tt.first)
					c.Writer.Flush()
					for err == nil {
						if err = pause(c, tt.pause); err == nil {
							_, err = c.Writer.WriteString("data: x\n\n")
							c.Writer.Flush()
						}
					}
					require.ErrorIs(t, err, tt.err)
					_, err = c.Writer.WriteString("data: too late\n\n")
					require.ErrorIs(t, err, tt.err)
					assert.ErrorIs(t, http.NewResponseController(c.Writer).Flush(), tt.err)
				})
				assert.Equal(t, tt.after, time.Since(start))
				assert.Equal(t, tt.body, w.body.String())
				assert.True(t, w.cut())
				assert.ErrorIs(t, event().Err, tt.err)
			})
		})
	}
}

func TestSlowClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, event := newStreams(t, stream.Config{})
		w, start := newConn(), time.Now()
		serve(w, request(), s.Middleware(), func(c *gin.Context) {
			out := stream.NewWriter(c.Writer)
			require.NoError(t, out.Data("a"))
			w.stick()
			require.ErrorIs(t, out.Data("b"), stream.ErrSlowClient)
			assert.ErrorIs(t, context.Cause(c.Request.Context()), stream.ErrSlowClient, "the upstream is canceled")
		})
		assert.Equal(t, 10*time.Second, time.Since(start))
		assert.True(t, w.cut())
		assert.ErrorIs(t, event().Err, stream.ErrSlowClient)
	})
}

func TestSlowClientDuringHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStreams(t, stream.Config{})
		w, start := newConn(), time.Now()
		serve(w, request(), s.Middleware(), func(c *gin.Context) {
			require.NoError(t, stream.NewWriter(c.Writer).Data("a"))
			w.stick()
			assert.ErrorIs(t, pause(c, time.Hour), stream.ErrSlowClient)
		})
		assert.Equal(t, 25*time.Second, time.Since(start))
	})
}

func TestDrainWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, event := newStreams(t, stream.Config{})
		require.NoError(t, s.Drain(t.Context()), "nothing is open")
		w, start := newConn(), time.Now()
		go serve(w, request(), s.Middleware(), func(c *gin.Context) {
			out := stream.NewWriter(c.Writer)
			assert.NoError(t, out.Data("a"))
			assert.NoError(t, pause(c, 10*time.Second))
			assert.NoError(t, out.Done())
		})
		synctest.Wait()
		require.NoError(t, s.Drain(t.Context()))
		assert.Equal(t, 10*time.Second, time.Since(start))
		require.NoError(t, event().Err)
		assert.True(t, strings.HasSuffix(w.body.String(), "[DONE]\n\n"))
	})
}

func TestDrainEndsTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, event := newStreams(t, stream.Config{})
		handler := func(c *gin.Context) {
			out := stream.NewWriter(c.Writer)
			for err := out.Data("a"); err == nil; err = out.Data("a") {
				_ = pause(c, time.Second)
			}
		}
		w := newConn()
		go serve(w, request(), s.Middleware(), handler)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
		defer cancel()
		err := s.Drain(ctx)
		require.ErrorIs(t, err, stream.ErrDraining)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		assert.True(t, w.cut())
		assert.Zero(t, s.Open())
		require.ErrorIs(t, event().Err, stream.ErrDraining)
		assert.Contains(t, w.seen(), `"code":"shutting_down"`)
		assert.NotContains(t, w.seen(), "[DONE]")

		late := newConn()
		serve(late, request(), s.Middleware(), handler)
		assert.Contains(t, late.seen(), "shutting_down", "a stream that begins later is ended at once")
		assert.NotContains(t, late.seen(), "data: a")
	})
}

// A client that does not read can't delay the end of the process, even without a write timeout.
func TestDrainWithStuckClient(t *testing.T) {
	t.Parallel()
	s, err := stream.New(stream.Config{WriteTimeout: -1})
	require.NoError(t, err)
	begun, ended := make(chan struct{}), make(chan error, 1)
	e := gin.New()
	e.GET("/", s.Middleware(), func(c *gin.Context) {
		out := stream.NewWriter(c.Writer)
		err := out.Data("a")
		close(begun)
		for big := strings.Repeat("x", 1<<20); err == nil; {
			err = out.Data(big)
		}
		ended <- err
	})
	srv := httptest.NewServer(e)
	defer srv.Close()
	client, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	_, err = client.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	require.NoError(t, err)
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Drain(ctx), context.Canceled)
	require.Error(t, <-ended)
}

// A cut by apierror sets a deadline in the past; heartbeats and later writes must not restore the
// connection.
func TestCutStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStreams(t, stream.Config{})
		w := newConn()
		serve(w, request(), s.Middleware(), func(c *gin.Context) {
			require.NoError(t, stream.NewWriter(c.Writer).Data("a"))
			apierror.Cut(c, errors.New("broken upstream"))
			_, err := c.Writer.WriteString("data: b\n\n")
			require.Error(t, err)
			assert.NoError(t, pause(c, time.Minute))
		})
		assert.True(t, w.cut())
		assert.Equal(t, "data: a\n\n", w.seen())
	})
}

func TestPanicEndsTheGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStreams(t, stream.Config{})
		w := newConn()
		serve(w, request(), apierror.Recovery(nil), s.Middleware(), func(c *gin.Context) {
			require.NoError(t, stream.NewWriter(c.Writer).Data("a"))
			panic("boom")
		})
		assert.True(t, w.cut())
		assert.Zero(t, s.Open())
		assert.Contains(t, w.seen(), `"code":"internal_error"`)
	})
}

// The connection's next response must not be subject to this one's deadline, and the server's
// other features must remain available.
func TestRealServer(t *testing.T) {
	t.Parallel()
	s, err := stream.New(stream.Config{})
	require.NoError(t, err)
	e := gin.New()
	e.GET("/", s.Middleware(), func(c *gin.Context) {
		rc := http.NewResponseController(c.Writer)
		assert.NoError(t, rc.SetReadDeadline(time.Time{}))
		assert.NoError(t, rc.EnableFullDuplex())
		assert.Equal(t, -1, c.Writer.Size())
		assert.False(t, c.Writer.Written())
		c.String(http.StatusTeapot, "short and stout")
		assert.Equal(t, http.StatusTeapot, c.Writer.Status())
	})
	e.GET("/hijack", s.Middleware(), func(c *gin.Context) {
		conn, _, err := c.Writer.Hijack()
		if assert.NoError(t, err) {
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"))
			assert.NoError(t, conn.Close())
		}
	})
	srv := httptest.NewServer(e)
	defer srv.Close()
	for path, want := range map[string]string{"/": "short and stout", "/hijack": "hi"} {
		res, err := srv.Client().Get(srv.URL + path)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, want, string(body))
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := stream.New(stream.Config{Heartbeat: time.Minute, Idle: time.Second})
	require.ErrorContains(t, err, "Heartbeat")
	assert.Panics(t, func() { stream.Middleware(stream.Config{Idle: time.Second}) })
	assert.NotNil(t, stream.Middleware(stream.Config{Heartbeat: -1, WriteTimeout: -1, Idle: -1, Total: -1}))
}

func BenchmarkGuard(b *testing.B) {
	for name, handlers := range map[string][]gin.HandlerFunc{"guarded": {stream.Middleware(stream.Config{})}, "bare": {}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			w := newConn()
			serve(w, request(), append(handlers, func(c *gin.Context) {
				c.Header("Content-Type", "text/event-stream")
				event := []byte("data: {\"choices\":[{\"delta\":{\"content\":\"tok\"}}]}\n\n")
				for b.Loop() {
					w.body.Reset()
					_, _ = c.Writer.Write(event)
					c.Writer.Flush()
				}
			})...)
		})
	}
}

// A stream that a limit ends has an error event in the format of its API.
func TestLimitSpeaksTheAPI(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v1/chat/completions": `data: {"type":"error","error":{"message":`,
		"/v1/messages":         `data: {"type":"error","error":{"type":"timeout_error","message":`,
		"/v1/responses":        "event: response.failed\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			e := gin.New()
			e.Use(stream.Middleware(stream.Config{Heartbeat: -1, Idle: time.Minute}))
			e.POST("/*path", func(c *gin.Context) {
				c.Header("Content-Type", "text/event-stream")
				_, _ = c.Writer.WriteString("data: a\n\n")
				<-c.Request.Context().Done()
			})
			w := newConn()
			e.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, http.NoBody))
			w.mu.Lock()
			defer w.mu.Unlock()
			assert.Contains(t, w.body.String(), want)
		})
	}
}
