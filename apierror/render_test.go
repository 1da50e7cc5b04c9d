package apierror_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// golden is the response of each handler.
type golden struct {
	name      string
	err       error
	status    int
	openAI    string // the "error" member
	problem   string // without closing brace
	anthropic string // the "error" member
}

func goldens() []golden {
	return []golden{
		{
			"everything given", &apierror.Error{Status: 429, Type: "quota", Code: "tpm", Message: "Slow <down> & wait.", RetryAfter: time.Second, Err: errors.New("secret")}, 429,
			`{"message":"Slow \u003cdown\u003e \u0026 wait.","type":"quota","param":null,"code":"tpm"}`,
			`{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"Slow \u003cdown\u003e \u0026 wait.","code":"tpm"`,
			`{"type":"rate_limit_error","message":"Slow \u003cdown\u003e \u0026 wait."}`,
		},
		{
			"the zero value", &apierror.Error{}, 500,
			`{"message":"Internal Server Error","type":"server_error","param":null,"code":"server_error"}`,
			`{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"Internal Server Error","code":"server_error"`,
			`{"type":"api_error","message":"Internal Server Error"}`,
		},
		{
			"only a type", &apierror.Error{Status: 400, Type: "bad"}, 400,
			`{"message":"Bad Request","type":"bad","param":null,"code":"bad"}`,
			`{"type":"about:blank","title":"Bad Request","status":400,"detail":"Bad Request","code":"bad"`,
			`{"type":"invalid_request_error","message":"Bad Request"}`,
		},
		{
			"a status without a name", &apierror.Error{Status: 599}, 599,
			`{"message":"Error","type":"server_error","param":null,"code":"server_error"}`,
			`{"type":"about:blank","title":"","status":599,"detail":"Error","code":"server_error"`,
			`{"type":"api_error","message":"Error"}`,
		},
		{
			"a message that is no UTF-8", &apierror.Error{Status: 404, Code: "gone", Message: "a\xffb\n\"c\""}, 404,
			`{"message":"a\ufffdb\n\"c\"","type":"invalid_request_error","param":null,"code":"gone"}`,
			`{"type":"about:blank","title":"Not Found","status":404,"detail":"a\ufffdb\n\"c\"","code":"gone"`,
			`{"type":"not_found_error","message":"a\ufffdb\n\"c\""}`,
		},
		{
			"an unknown error", errors.New("secret"), 500,
			`{"message":"An internal error occurred.","type":"server_error","param":null,"code":"internal_error"}`,
			`{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"An internal error occurred.","code":"internal_error"`,
			`{"type":"api_error","message":"An internal error occurred."}`,
		},
		{
			"none", nil, 500,
			`{"message":"An internal error occurred.","type":"server_error","param":null,"code":"internal_error"}`,
			`{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"An internal error occurred.","code":"internal_error"`,
			`{"type":"api_error","message":"An internal error occurred."}`,
		},
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	for _, g := range goldens() {
		tests := map[string]struct{ contentType, body string }{
			"Abort":     {"application/problem+json", g.problem + `,"error":` + g.openAI + `}`},
			"Problem":   {"application/problem+json", g.problem + `}`},
			"OpenAI":    {"application/json", `{"error":` + g.openAI + `}`},
			"Anthropic": {"application/json", `{"type":"error","error":` + g.anthropic + `}`},
		}
		for name, abort := range handlers() {
			t.Run(g.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				c, w := begin()
				abort(c, g.err)
				assert.Equal(t, g.status, w.Code)
				assert.Equal(t, tests[name].contentType, w.Header().Get("Content-Type"))
				assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
				assert.Equal(t, tests[name].body, w.Body.String())
				assert.True(t, json.Valid(w.Body.Bytes()))
			})
		}
	}
}

func TestRecorded(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("wrapped: %w", &apierror.Error{Status: 404})
	for name, abort := range handlers() {
		for _, err := range []error{cause, nil} {
			c, _ := begin()
			abort(c, err)
			assert.True(t, c.IsAborted(), name)
			require.Len(t, c.Errors, 1, name)
			if err == nil {
				err = apierror.ErrUnknown
			}
			assert.Equal(t, err, c.Errors[0].Err, "%s: as it was given, for logs", name)
		}
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status            int
		openAI, anthropic string
	}{
		{400, "invalid_request_error", "invalid_request_error"},
		{401, "authentication_error", "authentication_error"},
		{403, "permission_error", "permission_error"},
		{404, "invalid_request_error", "not_found_error"},
		{409, "invalid_request_error", "invalid_request_error"},
		{413, "invalid_request_error", "request_too_large"},
		{429, "rate_limit_error", "rate_limit_error"},
		{499, "invalid_request_error", "invalid_request_error"},
		{500, "server_error", "api_error"},
		{502, "server_error", "api_error"},
		{503, "server_error", "overloaded_error"},
		{504, "server_error", "timeout_error"},
		{529, "server_error", "overloaded_error"},
	}
	for _, tt := range tests {
		err := &apierror.Error{Status: tt.status}
		var got struct {
			Error struct{ Type, Code string }
		}
		c, w := begin()
		apierror.OpenAI(c, err)
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		assert.Equal(t, tt.openAI, got.Error.Type, "%d", tt.status)
		assert.Equal(t, tt.openAI, got.Error.Code, "%d", tt.status)
		c, w = begin()
		apierror.Anthropic(c, err)
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		assert.Equal(t, tt.anthropic, got.Error.Type, "%d", tt.status)
	}
}

// A status that no final response can have is a bug; a real server would panic, or send an
// informational header and then a 200.
func TestStatus(t *testing.T) {
	t.Parallel()
	e := gin.New()
	var status atomic.Int64
	e.GET("/", func(c *gin.Context) { apierror.Abort(c, &apierror.Error{Status: int(status.Load())}) })
	srv := httptest.NewServer(e)
	defer srv.Close()
	for in, want := range map[int]int{
		-1: 500, 0: 500, 1: 500, 99: 500, 1000: 500, math.MaxInt: 500,
		100: 500, 101: 500, 103: 500, 199: 500,
		400: 400, 499: 499, 529: 529, 999: 999,
	} {
		status.Store(int64(in))
		res, err := srv.Client().Get(srv.URL)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, want, res.StatusCode, "%d", in)
	}
}

func TestRetryHeaders(t *testing.T) {
	t.Parallel()
	tests := []struct {
		wait               time.Duration
		seconds, ms, again string
	}{
		{0, "", "", ""},
		{-time.Second, "", "", ""},
		{1, "1", "1", "true"},
		{time.Millisecond, "1", "1", "true"},
		{1500 * time.Microsecond, "1", "2", "true"},
		{999 * time.Millisecond, "1", "999", "true"},
		{time.Second, "1", "1000", "true"},
		{time.Second + 1, "2", "1001", "true"},
		{1001 * time.Millisecond, "2", "1001", "true"},
		{time.Minute, "60", "60000", "true"},
		{time.Minute + 1, "61", "60001", "false"}, // the SDKs would retry too early
		{time.Hour, "3600", "3600000", "false"},
		{math.MaxInt64, "9223372037", "9223372036855", "false"},
	}
	for _, tt := range tests {
		for name, abort := range handlers() {
			c, w := begin()
			abort(c, &apierror.Error{Status: 429, RetryAfter: tt.wait})
			h := w.Header()
			assert.Equal(t, tt.seconds, h.Get("Retry-After"), "%s %s", name, tt.wait)
			assert.Equal(t, tt.ms, h.Get("Retry-After-Ms"), "%s %s", name, tt.wait)
			assert.Equal(t, tt.again, h.Get("X-Should-Retry"), "%s %s", name, tt.wait)
		}
	}
}

// Headers of the replaced response must not describe the error.
func TestEntityHeaders(t *testing.T) {
	t.Parallel()
	drop := []string{
		"Content-Length", "Content-Encoding", "Content-Range", "Content-Disposition", "ETag",
		"Last-Modified", "Cache-Control", "Expires", "Trailer", "Accept-Ranges",
	}
	keep := []string{"Vary", "X-Request-Id", "Set-Cookie", "Link", "Connection"}
	for name, abort := range handlers() {
		c, w := begin()
		for _, k := range append(drop, keep...) {
			c.Header(k, "1")
		}
		c.Header("Content-Type", "text/event-stream")
		c.Status(http.StatusOK)
		abort(c, &apierror.Error{Status: 502})
		for _, k := range drop {
			assert.Empty(t, w.Header().Values(k), "%s %s", name, k)
		}
		for _, k := range keep {
			assert.Equal(t, "1", w.Header().Get(k), "%s %s", name, k)
		}
		assert.NotEqual(t, "text/event-stream", w.Header().Get("Content-Type"), name)
	}
}

func TestEvent(t *testing.T) {
	t.Parallel()
	const unknown = "event: error\n" + `data: {"type":"error","error":{"message":"An internal error occurred.","type":"server_error","param":null,"code":"internal_error"}}` + "\n\n"
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"its own", fmt.Errorf("a: %w", &apierror.Error{Status: 502, Code: "upstream", Err: errors.New("secret")}), "event: error\n" + `data: {"type":"error","error":{"message":"Bad Gateway","type":"server_error","param":null,"code":"upstream"}}` + "\n\n"},
		{"lines in the message end no line of the event", &apierror.Error{Message: "a\r\n\ndata: [DONE]\n\n"}, "event: error\n" + `data: {"type":"error","error":{"message":"a\r\n\ndata: [DONE]\n\n","type":"server_error","param":null,"code":"server_error"}}` + "\n\n"},
		{"unknown", errors.New("secret"), unknown},
		{"none", nil, unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, string(apierror.Event(tt.err)))
		})
	}
}

func BenchmarkAbort(b *testing.B) {
	err := &apierror.Error{Status: http.StatusTooManyRequests, Code: "tpm", Message: "Slow down.", RetryAfter: time.Second}
	e := gin.New()
	e.GET("/", func(c *gin.Context) { apierror.Abort(c, err) })
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		e.ServeHTTP(w, r)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
