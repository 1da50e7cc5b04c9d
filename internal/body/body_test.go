package body_test

import (
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// post returns a request in progress that announces a body of length bytes.
func post(r io.Reader, length int64) *gin.Context {
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequest(http.MethodPost, "/", r)
	c.Request.ContentLength = length
	return c
}

// within returns the request with limits.
func within(r *http.Request, cfg body.Config) *http.Request {
	ctx, _ := body.With(r.Context(), body.New(cfg))
	return r.WithContext(ctx)
}

func text(n int) string { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }

func assertFault(t *testing.T, err error, status int, code string) {
	t.Helper()
	var e *apierror.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, status, e.Status)
	assert.Equal(t, code, e.Code)
}

func TestHold(t *testing.T) { //nolint:gocognit // a table
	t.Parallel()
	tests := []struct {
		name   string
		size   int
		length int64 // announced
		limit  int64
		whole  bool
	}{
		{"shorter than the limit", 10, 10, 100, true},
		{"of exactly the limit", 100, 100, 100, true},
		{"one byte too long", 101, 101, 100, false},
		{"of unknown length", 10, -1, 100, true},
		{"of unknown length, exactly the limit", 100, -1, 100, true},
		{"of unknown length, one byte too long", 101, -1, 100, false},
		{"of unknown length, much too long", 100_000, -1, 100, false},
		{"of unknown length, longer than the first buffer", 90_000, -1, 1 << 20, true},
		{"of unknown length, longer than the second", 600_000, -1, 1 << 20, true},
		{"of unknown length, longer than all that are kept", 5 << 20, -1, 1 << 25, true},
		{"of unknown length, empty", 0, -1, 100, true},
		{"longer than the first buffer", 200_000, 200_000, 1 << 20, true},
		{"longer than four times the first buffer", 900_000, 900_000, 1 << 20, true},
		{"shorter than announced", 5, 10, 100, true},
		{"much shorter than announced", 70_000, 1 << 20, 1 << 20, true},
		{"longer than announced", 20, 10, 100, true}, // a middleware decompressed it and left the length
		{"much longer than announced", 200_000, 10, 1 << 20, true},
		{"longer than announced and than the limit", 101, 10, 100, false},
		{"not announced at all", 20, 0, 100, true}, // http.NewRequest with an unknown reader
		{"within the greatest limit", 10, 10, math.MaxInt64, true},
		{"within the greatest limit, of unknown length", 20_000, -1, math.MaxInt64, true},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"at once":        func(r io.Reader) io.Reader { return r },
		"in halves":      iotest.HalfReader,
		"end with bytes": iotest.DataErrReader,
	}
	for _, tt := range tests {
		for how, reader := range readers {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				t.Parallel()
				sent := text(tt.size)
				c := post(reader(strings.NewReader(sent)), tt.length)
				c.Request = within(c.Request, body.Config{Limit: tt.limit})
				var first *body.Held
				for range 2 { // a second call returns the same
					h, err := body.Hold(c)
					require.NoError(t, err)
					assert.Equal(t, tt.whole, h.Whole)
					if h.Whole {
						require.Equal(t, sent, string(h.Bytes()))
					} else {
						require.Equal(t, sent[:tt.limit+1], string(h.Bytes()))
					}
					if first != nil && tt.size > 0 {
						assert.Same(t, first, h)
					}
					first = h
				}
				if tt.length >= 0 && int64(tt.size) > tt.length {
					assert.EqualValues(t, -1, c.Request.ContentLength, "it is unknown")
				}
				rest, err := io.ReadAll(c.Request.Body)
				require.NoError(t, err)
				require.Equal(t, sent, string(rest), "later readers get every byte")
				require.NoError(t, c.Request.Body.Close())
			})
		}
	}
}

func TestHoldNone(t *testing.T) {
	t.Parallel()
	for name, none := range map[string]io.ReadCloser{"nil": nil, "http.NoBody": http.NoBody} {
		c := post(nil, 0)
		c.Request.Body = none
		h, err := body.Hold(c)
		require.NoError(t, err, name)
		assert.True(t, h.Whole, name)
		assert.Empty(t, h.Bytes(), name)
		assert.Equal(t, none, c.Request.Body, name)
	}
}

// The body is not read again, even if the copy was consumed.
func TestHoldAfterReading(t *testing.T) {
	t.Parallel()
	c := post(strings.NewReader("hello"), 5)
	first, err := body.Hold(c)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, c.Request.Body)
	require.NoError(t, err)
	second, err := body.HoldUpTo(c, 1)
	require.NoError(t, err)
	assert.Same(t, first, second)
	assert.True(t, second.Whole)
}

// A stage with a smaller limit leaves a body that announces to be longer to later stages.
func TestHoldUpTo(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{3, -1} {
		c := post(strings.NewReader("hello"), 5)
		h, err := body.HoldUpTo(c, limit)
		require.NoError(t, err)
		assert.False(t, h.Whole)
		assert.Zero(t, h.Len())
		h, err = body.Hold(c)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(h.Bytes()))
	}
}

func TestHoldTooLongIsClosed(t *testing.T) {
	t.Parallel()
	c := post(nil, -1)
	original := &closing{Reader: strings.NewReader("hello")}
	c.Request.Body = original
	c.Request = within(c.Request, body.Config{Limit: 1})
	h, err := body.Hold(c)
	require.NoError(t, err)
	require.False(t, h.Whole)
	require.NoError(t, c.Request.Body.Close())
	assert.True(t, original.closed)
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// Messages of gRPC flow in both directions at once: nothing waits for the end of the body.
func TestHoldGRPC(t *testing.T) {
	t.Parallel()
	c := post(iotest.ErrReader(errors.New("read")), -1)
	c.Request.Header.Set("Content-Type", "application/grpc+proto")
	h, err := body.Hold(c)
	require.NoError(t, err)
	assert.False(t, h.Whole)
	model, err := h.Model()
	require.NoError(t, err)
	assert.Empty(t, model)
	assert.LessOrEqual(t, h.Request().InputBytes, int64(1000))
}

// An announcement alone costs little memory.
func TestHoldAnnouncement(t *testing.T) {
	t.Parallel()
	first := 0
	c := post(readerFunc(func(p []byte) (int, error) { first = max(first, len(p)); return 0, io.ErrUnexpectedEOF }), 1<<24)
	_, err := body.Hold(c)
	assertFault(t, err, http.StatusBadRequest, "bad_body")
	assert.LessOrEqual(t, first, 64<<10)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestHoldBroken(t *testing.T) {
	t.Parallel()
	cut := errors.New("secret: cut off")
	tests := []struct {
		name   string
		err    error
		status int
		code   string
	}{
		{"cut off", cut, http.StatusBadRequest, "bad_body"},
		{"by its framing", io.ErrUnexpectedEOF, http.StatusBadRequest, "bad_body"},
		{"by MaxBytesReader", &http.MaxBytesError{Limit: 3}, http.StatusRequestEntityTooLarge, "request_too_large"},
	}
	for _, tt := range tests {
		for _, length := range []int64{-1, 3, 100} { // 3: all that was announced has come
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				c := post(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(tt.err)), length)
				h, err := body.Hold(c)
				assert.Nil(t, h)
				assertFault(t, err, tt.status, tt.code)
				require.ErrorIs(t, err, tt.err)
				assert.NotContains(t, apierror.From(err).Message, "secret")
				assert.Equal(t, "close", c.Writer.Header().Get("Connection"), "what follows is no request")
			})
		}
	}
}

// A handler that has read the body may have kept it where gin does; otherwise the request can't
// continue as if it had none.
func TestHoldConsumed(t *testing.T) {
	t.Parallel()
	for name, bind := range map[string]func(*gin.Context, any) error{
		"kept":     func(c *gin.Context, v any) error { return c.ShouldBindBodyWithJSON(v) },
		"not kept": func(c *gin.Context, v any) error { return c.ShouldBindJSON(v) },
	} {
		const sent = `{"model":"m"}`
		c := post(strings.NewReader(sent), int64(len(sent)))
		var v struct{ Model string }
		require.NoError(t, bind(c, &v))
		require.Equal(t, "m", v.Model)
		_, _ = io.Copy(io.Discard, c.Request.Body)
		h, err := body.Hold(c)
		if name == "not kept" {
			assertFault(t, err, http.StatusInternalServerError, "body_consumed")
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, sent, string(h.Bytes())) //nolint:testifylint // byte for byte
		assert.Equal(t, "m", h.Request().Model)
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	long := `{"messages":[{"role":"user","content":"` + text(4000) + `"}],"model":"late"}`
	for name, tt := range map[string]struct {
		path, kind, body, encoding string
		limit                      int64
		model                      string
		status                     int
		code                       string
	}{
		"JSON":                      {body: `{"model":"m"}`, model: "m"},
		"none":                      {body: `{}`},
		"no body":                   {},
		"path":                      {path: "/openai/deployments/d/chat/completions", body: `{}`, model: "d"},
		"query":                     {path: "/v1/realtime?model=r", model: "r"},
		"form":                      {kind: "application/x-www-form-urlencoded", body: "model=f", model: "f"},
		"multipart":                 {kind: "multipart/form-data; boundary=x", body: "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nw\r\n--x--\r\n", model: "w"},
		"another form":              {kind: "application/octet-stream", body: "xyz"},
		"twice":                     {body: `{"model":"a","model":"b"}`, status: 400, code: "duplicate_model"},
		"no string":                 {body: `{"model":1}`, status: 400, code: "invalid_model"},
		"no JSON":                   {body: `{"model":`, status: 400, code: "invalid_json"},
		"a byte order mark":         {body: "\ufeff{\"model\":\"m\"}", status: 400, code: "invalid_json"},
		"no form":                   {kind: "multipart/form-data; boundary=x", body: "--x\r\nCont", status: 400, code: "bad_body"},
		"unknown encoding":          {body: "xyz", encoding: "br", status: 415, code: "unsupported_encoding"},
		"two encodings":             {body: "xyz", encoding: "gzip, gzip", status: 415, code: "unsupported_encoding"},
		"not of its encoding":       {body: "xyz", encoding: "gzip", status: 400, code: "bad_body"},
		"identity":                  {body: `{"model":"m"}`, encoding: "identity", model: "m"},
		"in the beginning":          {body: `{"model":"m","x":"` + text(4000) + `"}`, limit: 1000, model: "m"},
		"not in the beginning":      {body: long, limit: 1000, status: 413, code: "request_too_large"},
		"twice in the beginning":    {body: `{"model":"m","model":"n","x":"` + text(4000) + `"}`, limit: 1000, status: 400, code: "duplicate_model"},
		"too long and no JSON":      {body: text(4000), limit: 1000, kind: "text/plain", status: 413, code: "request_too_large"},
		"too long, but of its path": {path: "/openai/deployments/d/chat/completions", body: long, limit: 1000, model: "d"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.kind == "" {
				tt.kind = "application/json"
			}
			if tt.path == "" {
				tt.path = "/v1/chat/completions"
			}
			c := post(strings.NewReader(tt.body), int64(len(tt.body)))
			c.Request.URL, _ = c.Request.URL.Parse(tt.path)
			c.Request.Header.Set("Content-Type", tt.kind)
			if tt.encoding != "" {
				c.Request.Header.Set("Content-Encoding", tt.encoding)
			}
			c.Request = within(c.Request, body.Config{Limit: tt.limit})
			h, err := body.Hold(c)
			require.NoError(t, err)
			model, err := h.Model()
			assert.Equal(t, tt.model, model)
			if tt.status != 0 {
				assertFault(t, err, tt.status, tt.code)
			} else {
				require.NoError(t, err)
			}
			rest, err := io.ReadAll(c.Request.Body)
			require.NoError(t, err)
			assert.Equal(t, tt.body, string(rest))
		})
	}
}

// A long body is priced by its text, as far as it was read.
func TestLongBodyIsPricedByItsText(t *testing.T) {
	t.Parallel()
	picture := `{"type":"image_url","image_url":{"url":"data:image/png;base64,` + text(50_000) + `"}}`
	for name, tt := range map[string]struct {
		body string
		want int64
	}{
		"a picture": {`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hi"},` + picture + picture + `]}]}`, 2 + 4000 + 12},
		"text":      {`{"model":"m","messages":[{"role":"user","content":"` + text(100_000) + `"}]}`, 20_000},
		"escapes":   {`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat(`\u0041`, 20_000) + `"}]}`, 20_000 / 6},
		"unknown":   {text(100_000), 1000},
	} {
		c := post(strings.NewReader(tt.body), int64(len(tt.body)))
		c.Request.URL.Path = "/v1/chat/completions"
		c.Request = within(c.Request, body.Config{Limit: 20_000})
		h, err := body.Hold(c)
		require.NoError(t, err)
		q := h.Request()
		assert.InDelta(t, tt.want, q.InputBytes, float64(tt.want)/50+200, name)
		rest, err := io.ReadAll(c.Request.Body)
		require.NoError(t, err)
		require.Equal(t, tt.body, string(rest), "reading it changes nothing")
	}
}
