package peek_test

import (
	"bufio"
	"bytes"
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
	"github.com/ginfer/ginfer/internal/peek"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// post is a request under way whose body says that it has length bytes.
func post(body io.Reader, length int64) *gin.Context {
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequest(http.MethodPost, "/", body)
	c.Request.ContentLength = length
	return c
}

func text(n int) string { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }

func TestBody(t *testing.T) {
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
		{"of unknown length, longer than the first buffer", 20_000, -1, 1 << 20, true},
		{"of unknown length, empty", 0, -1, 100, true},
		{"longer than the first buffer", 200_000, 200_000, 1 << 20, true},
		{"shorter than announced", 5, 10, 100, true},
		{"longer than announced", 20, 10, 100, true}, // a middleware unpacked it and left the length
		{"longer than announced and than the limit", 101, 10, 100, false},
		{"not announced at all", 20, 0, 100, true}, // http.NewRequest with a reader it does not know
		{"with limit 0, empty", 0, -1, 0, true},
		{"with limit 0", 1, -1, 0, false},
		{"with a negative limit", 10, 10, -1, false},
		{"with a negative limit, of unknown length", 10, -1, -1, false},
		{"with the greatest limit", 10, 10, math.MaxInt64, true},
		{"with the greatest limit, of unknown length", 20_000, -1, math.MaxInt64, true},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"at once":        func(r io.Reader) io.Reader { return r },
		"byte by byte":   iotest.OneByteReader,
		"end with bytes": iotest.DataErrReader,
	}
	for _, tt := range tests {
		for how, reader := range readers {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				t.Parallel()
				sent := text(tt.size)
				c := post(reader(strings.NewReader(sent)), tt.length)
				for range 2 { // a second call says the same
					body, whole, err := peek.Body(c, tt.limit)
					require.NoError(t, err)
					assert.Equal(t, tt.whole, whole)
					if whole {
						require.Equal(t, sent, string(body))
					} else {
						require.Nil(t, body)
					}
				}
				rest, err := io.ReadAll(c.Request.Body)
				require.NoError(t, err)
				require.Equal(t, sent, string(rest), "whoever reads on gets every byte")
				require.NoError(t, c.Request.Body.Close())
			})
		}
	}
}

func TestBodyNone(t *testing.T) {
	t.Parallel()
	for name, none := range map[string]io.ReadCloser{"nil": nil, "http.NoBody": http.NoBody} {
		for _, limit := range []int64{-1, 0, 1} {
			c := post(nil, 0)
			c.Request.Body = none
			body, whole, err := peek.Body(c, limit)
			require.NoError(t, err, name)
			assert.True(t, whole, name)
			assert.Empty(t, body, name)
			assert.Equal(t, none, c.Request.Body, name)
		}
	}
}

// The body is not read again, whoever consumed the copy, and under any limit.
func TestBodySecondCall(t *testing.T) {
	t.Parallel()
	c := post(strings.NewReader("hello"), 5)
	first, _, err := peek.Body(c, 100)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, c.Request.Body)
	require.NoError(t, err)
	second, whole, err := peek.Body(c, 1)
	require.NoError(t, err)
	assert.True(t, whole)
	assert.Same(t, &first[0], &second[0], "one copy for all")
}

func TestBodyTooLongIsClosed(t *testing.T) {
	t.Parallel()
	c := post(nil, -1)
	original := &closing{Reader: strings.NewReader("hello")}
	c.Request.Body = original
	_, whole, err := peek.Body(c, 1)
	require.NoError(t, err)
	require.False(t, whole)
	require.NoError(t, c.Request.Body.Close())
	assert.True(t, original.closed)
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// An announcement alone costs little memory.
func TestBodyAnnouncement(t *testing.T) {
	t.Parallel()
	first := 0
	c := post(readerFunc(func(p []byte) (int, error) { first = max(first, len(p)); return 0, io.EOF }), 1<<30)
	_, whole, err := peek.Body(c, 1<<31)
	require.NoError(t, err)
	assert.True(t, whole)
	assert.LessOrEqual(t, first, 64<<10+1)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestBodyBroken(t *testing.T) {
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
		for _, length := range []int64{-1, 3, 100} { // 3: all that was announced came
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				c := post(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(tt.err)), length)
				body, whole, err := peek.Body(c, 1000)
				assert.False(t, whole)
				assert.Nil(t, body)
				var e *apierror.Error
				require.ErrorAs(t, err, &e)
				require.ErrorIs(t, err, tt.err)
				assert.Equal(t, tt.status, e.Status)
				assert.Equal(t, tt.code, e.Code)
				assert.NotContains(t, e.Message, "secret")
				assert.Equal(t, "close", c.Writer.Header().Get("Connection"), "what follows is no request")
			})
		}
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("unread"))
	b, ok := peek.Bytes(req)
	assert.False(t, ok, "not in memory")
	assert.Nil(t, b)
	rest, err := io.ReadAll(req.Body)
	require.NoError(t, err)
	assert.Equal(t, "unread", string(rest), "Bytes reads nothing")

	for _, none := range []io.ReadCloser{nil, http.NoBody} {
		req.Body = none
		b, ok = peek.Bytes(req)
		assert.True(t, ok)
		assert.Empty(t, b)
	}

	c := post(strings.NewReader("hello"), 5)
	_, _, err = peek.Body(c, 100)
	require.NoError(t, err)
	b, ok = peek.Bytes(c.Request)
	assert.True(t, ok)
	assert.Equal(t, "hello", string(b))
}

func TestSetBytes(t *testing.T) {
	t.Parallel()
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("old"))
	peek.SetBytes(req, []byte("hello"))
	assert.EqualValues(t, 5, req.ContentLength)
	got, err := io.ReadAll(req.Body)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(got))
	b, ok := peek.Bytes(req)
	assert.True(t, ok, "also when it was read")
	assert.Equal(t, "hello", string(b))
	for range 2 { // a body for every redirect or repetition
		again, err := req.GetBody()
		require.NoError(t, err)
		got, err = io.ReadAll(again)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(got))
	}

	peek.SetBytes(req, nil)
	assert.Zero(t, req.ContentLength)
	assert.Nil(t, req.Body)
	assert.Nil(t, req.GetBody)
	b, ok = peek.Bytes(req)
	assert.True(t, ok)
	assert.Empty(t, b)
}

// An outbound body goes over the wire with its length, an empty one too.
func TestSetBytesOnTheWire(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"hello", ""} {
		req := httptest.NewRequest(http.MethodPost, "http://x/", nil)
		peek.SetBytes(req, []byte(body))
		var wire bytes.Buffer
		require.NoError(t, req.Write(&wire))
		got, err := http.ReadRequest(bufio.NewReader(&wire))
		require.NoError(t, err)
		assert.EqualValues(t, len(body), got.ContentLength)
		sent, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		assert.Equal(t, body, string(sent))
	}
}
