package body_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// from returns a request of a client, with n bytes.
func from(b *body.Bodies, address string, n int) (*gin.Context, func()) {
	c := post(strings.NewReader(text(n)), int64(n))
	c.Request.RemoteAddr = address
	ctx, end := body.With(c.Request.Context(), b)
	c.Request = c.Request.WithContext(ctx)
	return c, end
}

func TestBudget(t *testing.T) {
	t.Parallel()
	b := body.New(body.Config{Budget: 100_000, Share: 0.5})
	hold := func(address string, n int, caller uint64) (func(), error) {
		c, end := from(b, address, n)
		if caller != 0 {
			body.SetCaller(c, caller)
		}
		_, err := body.Hold(c)
		return end, err
	}
	one, err := hold("10.0.0.1:1", 40_000, 0)
	require.NoError(t, err)
	assert.InDelta(t, 40_000, b.Used(), 10)
	_, err = hold("10.0.0.2:1", 20_000, 0)
	assertFault(t, err, http.StatusServiceUnavailable, "overloaded")
	require.ErrorIs(t, err, body.ErrBudget)
	assert.Positive(t, apierror.From(err).RetryAfter)
	two, err := hold("10.0.0.1:1", 40_000, 7)
	require.NoError(t, err, "a known caller has a share of its own")
	_, err = hold("10.0.0.1:1", 20_000, 7)
	assertFault(t, err, http.StatusServiceUnavailable, "overloaded")
	_, err = hold("10.0.0.1:1", 30_000, 8)
	assertFault(t, err, http.StatusServiceUnavailable, "overloaded")
	assert.InDelta(t, 80_000, b.Used(), 10, "a refused body costs nothing")
	one()
	two()
	two()
	assert.Zero(t, b.Used())
	end, err := hold("10.0.0.2:1", 30_000, 8)
	require.NoError(t, err)
	end()
	assert.Zero(t, b.Used())
}

// Bytes that were read before the caller was known count for the caller from then on.
func TestCallerFoundLate(t *testing.T) {
	t.Parallel()
	b := body.New(body.Config{Budget: 100_000, Share: 0.5})
	c, end := from(b, "[2001:db8::1]:1", 40_000)
	_, err := body.Hold(c)
	require.NoError(t, err)
	body.SetCaller(c, 7)
	other, endOther := from(b, "[2001:db8::2]:1", 40_000)
	_, err = body.Hold(other)
	require.NoError(t, err, "the share of the unknown is free again")
	end()
	endOther()
	assert.Zero(t, b.Used())
}

// An announcement costs nothing: memory is taken as the body is read, in steps.
func TestBudgetCountsWhatIsRead(t *testing.T) {
	t.Parallel()
	b := body.New(body.Config{Budget: 1 << 20, Share: 1})
	for range 100 {
		c, end := from(b, "10.0.0.1:1", 0)
		used := int64(0)
		c.Request.Body = io.NopCloser(io.MultiReader(strings.NewReader("x"), readerFunc(func([]byte) (int, error) {
			used = b.Used()
			return 0, io.ErrUnexpectedEOF
		})))
		c.Request.ContentLength = 30 << 20
		_, err := body.Hold(c)
		assertFault(t, err, http.StatusBadRequest, "bad_body")
		assert.LessOrEqual(t, used, int64(64<<10))
		assert.Zero(t, b.Used())
		end()
	}
}

// Without a middleware the request's context ends it.
func TestBudgetEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	before := body.From(t.Context()).Used()
	ctx, cancel := context.WithCancel(t.Context())
	c := post(strings.NewReader(text(50_000)), 50_000)
	c.Request = c.Request.WithContext(ctx)
	h, err := body.Hold(c)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, body.From(ctx).Used(), int64(50_000))
	cancel()
	require.Eventually(t, func() bool { return body.From(ctx).Used() <= before }, time.Second, time.Millisecond)
	assert.Len(t, h.Bytes(), 50_000, "the bytes stay valid")
}

// A client that writes all before it reads receives the refusal.
func TestRefusalIsRead(t *testing.T) {
	t.Parallel()
	b := body.New(body.Config{Budget: 1000, Share: 1})
	e := gin.New()
	e.POST("/", func(c *gin.Context) {
		ctx, end := body.With(c.Request.Context(), b)
		defer end()
		c.Request = c.Request.WithContext(ctx)
		if _, err := body.Hold(c); err != nil {
			apierror.OpenAI(c, err)
		}
	})
	server := httptest.NewServer(e)
	defer server.Close()
	for range 3 {
		res, err := server.Client().Post(server.URL, "text/plain", strings.NewReader(text(20<<20)))
		require.NoError(t, err)
		got, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		assert.Equal(t, "1", res.Header.Get("Retry-After"))
		assert.True(t, res.Close)
		assert.Contains(t, string(got), "overloaded")
	}
	assert.Zero(t, b.Used())
}
