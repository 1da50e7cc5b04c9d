package apierror_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/testkit/writers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const recovered = `{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"An internal error occurred.","code":"internal_error",` +
	`"error":{"message":"An internal error occurred.","type":"server_error","param":null,"code":"internal_error"}}`

func TestRecoveryBeforeCommit(t *testing.T) {
	t.Parallel()
	values := map[string]any{
		"a text":            "secret",
		"an error":          errors.New("secret"),
		"a coded error":     &apierror.Error{Status: 404, Message: "secret"}, // a panic is a 500, whatever its value
		"what has no order": []string{"secret"},                              // not comparable
	}
	for name, value := range values {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got any
			var trace string
			var after *gin.Context
			e := gin.New()
			e.Use(func(c *gin.Context) { c.Next(); after = c.Copy(); after.Errors = c.Errors })
			e.Use(apierror.Recovery(func(c *gin.Context, value any, stack []byte) {
				assert.False(t, c.Writer.Written(), "the hook comes first and may see the request")
				got, trace = value, string(stack)
			}))
			e.GET("/", func(c *gin.Context) {
				c.Header("Content-Length", "1000")
				faulty(value)
			}, func(*gin.Context) { assert.Fail(t, "the chain has ended") })
			w := httptest.NewRecorder()
			e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			assert.Equal(t, http.StatusInternalServerError, w.Code)
			assert.JSONEq(t, recovered, w.Body.String())
			assert.Empty(t, w.Header().Get("Content-Length"))
			assert.Equal(t, value, got)
			assert.Contains(t, trace, "apierror_test.faulty", "the stack is the one of the panic")
			require.Len(t, after.Errors, 1)
			require.ErrorIs(t, after.Errors[0], apierror.ErrPanic)
			assert.ErrorContains(t, after.Errors[0], "secret", "for logs")
		})
	}
}

func faulty(value any) { panic(value) }

func TestRecoveryAfterCommit(t *testing.T) {
	t.Parallel()
	const event = "event: error\n" + `data: {"type":"error","error":{"message":"An internal error occurred.","type":"server_error","param":null,"code":"internal_error"}}` + "\n\n"
	for contentType, want := range map[string]string{"text/event-stream": "data: a\n\n" + event, "text/plain": "data: a\n\n"} {
		overAll(t, contentType, func(t *testing.T, proto string) {
			t.Helper()
			got := get(t, proto, apierror.Recovery(nil), func(c *gin.Context) {
				c.Header("Content-Type", contentType)
				_, _ = c.Writer.WriteString("data: a\n\n")
				faulty("secret")
			})
			assert.Equal(t, http.StatusOK, got.status)
			assert.Equal(t, want, got.body)
			assertCut(t, proto, got.err)
		})
	}
}

// net/http's own signal reaches the server, which breaks the connection.
func TestRecoveryLetsAbortHandlerThrough(t *testing.T) {
	t.Parallel()
	recovery := apierror.Recovery(func(*gin.Context, any, []byte) { assert.Fail(t, "OnPanic is not called") })
	c, w := begin()
	assert.PanicsWithError(t, http.ErrAbortHandler.Error(), func() {
		e := gin.New()
		e.POST("/", recovery, func(*gin.Context) { panic(http.ErrAbortHandler) })
		e.ServeHTTP(w, c.Request)
	})
	assert.Empty(t, w.Body.String())
	overAll(t, "text", func(t *testing.T, proto string) {
		t.Helper()
		got := get(t, proto, recovery, func(c *gin.Context) {
			_, _ = c.Writer.WriteString("half")
			c.Writer.Flush()
			panic(http.ErrAbortHandler)
		})
		assert.Equal(t, "half", got.body)
		assertCut(t, proto, got.err)
	})
}

// Before it gin.Recovery swallows the signal, but the response is broken by then.
func TestRecoveryBelowGinRecovery(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]gin.HandlerFunc{"nothing": func(*gin.Context) {}, "embedding": writers.Embedding, "opaque": writers.Opaque} {
		overAll(t, name, func(t *testing.T, proto string) {
			t.Helper()
			got := get(t, proto, gin.RecoveryWithWriter(io.Discard), hide, apierror.Recovery(nil), func(c *gin.Context) {
				_, _ = c.Writer.WriteString("half")
				panic(http.ErrAbortHandler)
			})
			assert.Equal(t, "half", got.body)
			assertCut(t, proto, got.err)
		})
	}
}

func TestRecoveryBelowGinRecoveryBeforeCommit(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]gin.HandlerFunc{"nothing": func(*gin.Context) {}, "opaque": writers.Opaque} {
		e := gin.New()
		e.GET("/", gin.RecoveryWithWriter(io.Discard), hide, apierror.Recovery(nil), func(*gin.Context) { panic(http.ErrAbortHandler) })
		srv := httptest.NewServer(e)
		res, err := srv.Client().Get(srv.URL)
		srv.Close()
		if err == nil {
			_ = res.Body.Close()
		}
		require.Error(t, err, name)
	}
}

func TestRecoveryWithoutPanic(t *testing.T) {
	t.Parallel()
	got := get(t, "HTTP/1.1", apierror.Recovery(nil), func(c *gin.Context) {
		c.String(http.StatusOK, "whole")
		assert.Empty(t, c.Errors)
	})
	require.NoError(t, got.err)
	assert.Equal(t, "whole", got.body)
}
