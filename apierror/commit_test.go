package apierror_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/testkit/writers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reply is what the client received; err is how its body ended.
type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

// get sends a request over a protocol to a real server with the handlers.
func get(t *testing.T, proto string, handlers ...gin.HandlerFunc) reply {
	t.Helper()
	e := gin.New()
	e.GET("/", handlers...)
	srv := httptest.NewUnstartedServer(e)
	if proto == "HTTP/1.1" {
		srv.Start()
	} else {
		srv.EnableHTTP2 = proto == "HTTP/2.0"
		srv.StartTLS()
	}
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, strings.TrimSuffix(proto, " TLS"), res.Proto)
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(b), err}
}

// assertCut asserts that the client saw the response break.
func assertCut(t *testing.T, proto string, err error) {
	t.Helper()
	switch proto {
	case "HTTP/1.1":
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	case "HTTP/2.0":
		require.ErrorContains(t, err, "stream error")
	default: // crypto/tls ends a connection after a write timeout with an unreadable alert
		require.Error(t, err)
	}
}

// overAll runs a test over each protocol.
func overAll(t *testing.T, name string, test func(t *testing.T, proto string)) {
	t.Helper()
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.1 TLS", "HTTP/2.0"} {
		t.Run(name+", "+proto, func(t *testing.T) {
			t.Parallel()
			test(t, proto)
		})
	}
}

const (
	streamEvent    = "event: error\n" + `data: {"type":"error","error":{"message":"No.","type":"server_error","param":null,"code":"upstream"}}` + "\n\n"
	openAIEvent    = `data: {"error":{"message":"No.","type":"server_error","param":null,"code":"upstream"}}` + "\n\n"
	anthropicEvent = "event: error\n" + `data: {"type":"error","error":{"type":"api_error","message":"No."}}` + "\n\n"
	problemEvent   = "event: error\n" + `data: {"type":"about:blank","title":"Bad Gateway","status":502,"detail":"No.","code":"upstream"}` + "\n\n"
)

func TestCommitted(t *testing.T) {
	t.Parallel()
	events := map[string]string{"Abort": streamEvent, "OpenAI": openAIEvent, "Anthropic": anthropicEvent, "Problem": problemEvent}
	tests := []struct {
		name, contentType, length, written string
		event                              bool
	}{
		{"events", "text/event-stream", "", "data: a\n\n", true},
		{"events with parameters", "Text/Event-Stream; charset=utf-8", "", "data: a\n\n", true},
		{"events of a known length", "text/event-stream", "1000", "data: a\n\n", true},
		{"only the head of a stream", "text/event-stream", "", "", true},
		{"a text", "text/plain", "", "half", false},
		{"a text of a known length", "text/plain", "1000", "half", false},
		{"a long text", "text/plain", "", strings.Repeat("x", 100_000), false},
		{"no type", "", "", "half", false},
		{"only the head of a text", "application/json", "", "", false},
		{"nearly events", "text/event-stream-x", "", "half", false},
		{"broken parameters", "text/event-stream; =", "", "data: a\n\n", true},
	}
	for _, tt := range tests {
		for name, abort := range handlers() {
			want := tt.written
			if tt.event {
				want += events[name]
			}
			overAll(t, tt.name+", "+name, func(t *testing.T, proto string) {
				t.Helper()
				got := get(t, proto, func(c *gin.Context) {
					c.Header("Content-Type", tt.contentType)
					c.Header("Content-Length", tt.length) // "" removes it
					c.Writer.WriteHeaderNow()
					_, _ = c.Writer.WriteString(tt.written)
					abort(c, &apierror.Error{Status: 502, Code: "upstream", Message: "No.", RetryAfter: 1, Err: errors.New("secret")})
					assert.True(t, c.IsAborted())
					assert.Len(t, c.Errors, 1)
				})
				assert.Equal(t, want, got.body)
				assertCut(t, proto, got.err)
				assert.Equal(t, http.StatusOK, got.status)
				assert.Empty(t, got.header.Get("Retry-After"))
				assert.NotContains(t, got.body, "[DONE]")
			})
		}
	}
}

// Nothing that a handler writes after the cut reaches the client.
func TestCut(t *testing.T) {
	t.Parallel()
	cause := errors.New("broken upstream")
	for _, contentType := range []string{"text/event-stream", "text/plain"} {
		overAll(t, contentType, func(t *testing.T, proto string) {
			t.Helper()
			got := get(t, proto, func(c *gin.Context) {
				c.Header("Content-Type", contentType)
				_, _ = c.Writer.WriteString("data: ha")
				apierror.Cut(c, cause)
				assert.True(t, c.IsAborted())
				assert.Equal(t, cause, c.Errors.Last().Err)
				_, _ = c.Writer.WriteString("lf\n\ndata: [DONE]\n\n")
				c.Writer.Flush()
			})
			assert.Equal(t, "data: ha", got.body)
			assertCut(t, proto, got.err)
		})
	}
}

// A nil error is for callers that have recorded one already.
func TestCutWithoutError(t *testing.T) {
	t.Parallel()
	got := get(t, "HTTP/1.1", func(c *gin.Context) {
		_, _ = c.Writer.WriteString("half")
		apierror.Cut(c, nil)
		assert.Empty(t, c.Errors)
	})
	assert.Equal(t, "half", got.body)
	assertCut(t, "HTTP/1.1", got.err)
}

// gin.Recovery would swallow a panic and make the response look complete.
func TestCutBelowGinRecovery(t *testing.T) {
	t.Parallel()
	overAll(t, "text", func(t *testing.T, proto string) {
		t.Helper()
		got := get(t, proto, gin.CustomRecoveryWithWriter(io.Discard, func(*gin.Context, any) {}), func(c *gin.Context) {
			_, _ = c.Writer.WriteString("half")
			apierror.Abort(c, errors.New("x"))
		})
		assert.Equal(t, "half", got.body)
		assertCut(t, proto, got.err)
	})
}

// A response breaks behind every writer of another middleware, whatever it hides, and whatever
// recovery handler stands before it.
func TestCutBehindOtherWriters(t *testing.T) {
	t.Parallel()
	swallowing := gin.CustomRecoveryWithWriter(io.Discard, func(*gin.Context, any) {})
	for name, hide := range map[string]gin.HandlerFunc{"embedding": writers.Embedding, "unwrapping": writers.Unwrapping, "opaque": writers.Opaque} {
		overAll(t, "events", func(t *testing.T, proto string) {
			t.Helper()
			ended := make(chan struct{})
			got := get(t, proto, swallowing, apierror.Recovery(nil), hide, func(c *gin.Context) {
				defer close(ended)
				c.Header("Content-Type", "text/event-stream")
				_, _ = c.Writer.WriteString("data: a\n\n")
				apierror.Cut(c, errors.New("x"))
				apierror.Cut(c, errors.New("x"))
			})
			<-ended
			assert.Equal(t, "data: a\n\n", got.body, name)
			assertCut(t, proto, got.err)
		})
	}
}

// In a test without a server nothing would recover from a panic.
func TestCutWithoutServer(t *testing.T) {
	t.Parallel()
	c, w := begin()
	_, _ = c.Writer.WriteString("half")
	assert.NotPanics(t, func() { apierror.Abort(c, errors.New("x")) })
	assert.Equal(t, "half", w.Body.String())
}

// stuck is the connection of a client that does not read: a flush blocks until the write
// deadline.
type stuck struct {
	*httptest.ResponseRecorder
	deadline time.Time
	flushed  int
}

func (s *stuck) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }

func (s *stuck) Flush() { _ = s.FlushError() }

func (s *stuck) FlushError() error {
	s.flushed++
	time.Sleep(time.Until(s.deadline))
	return os.ErrDeadlineExceeded
}

func TestCutDoesNotWaitForTheClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, start := &stuck{ResponseRecorder: httptest.NewRecorder()}, time.Now()
		c, _ := gin.CreateTestContext(w)
		c.Request = httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
		_, _ = c.Writer.WriteString("half")
		apierror.Cut(c, errors.New("x"))
		assert.Equal(t, time.Second, time.Since(start))
		assert.Equal(t, 1, w.flushed)
		assert.True(t, w.deadline.Before(start), "later writes fail")
	})
}

// The cause is never sent, whatever it is and wherever the error is sent.
func TestCauseIsNotSent(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.0.0.1: sk-secret")
	for _, err := range []error{secret, &apierror.Error{Status: 502, Err: secret}, errors.Join(context.Canceled, secret), errors.Join(&apierror.Error{}, secret)} {
		assert.NotContains(t, string(apierror.Event(err)), "secret")
		for name, abort := range handlers() {
			for _, committed := range []bool{false, true} {
				c, w := begin()
				if committed {
					c.Header("Content-Type", "text/event-stream")
					c.Writer.WriteHeaderNow()
				}
				abort(c, err)
				require.NotEmpty(t, w.Body.String(), name)
				assert.NotContains(t, w.Body.String(), "secret", name)
				for _, v := range w.Header() {
					assert.NotContains(t, v, "secret", name)
				}
				assert.ErrorIs(t, c.Errors.Last(), secret, name)
			}
		}
	}
}
