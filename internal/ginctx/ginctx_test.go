package ginctx_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/stretchr/testify/assert"
)

type key struct{ name string }

// request returns a request in progress with values in the context of its request.
func request(ctx context.Context, fallback bool) *gin.Context {
	engine := gin.New()
	engine.ContextWithFallback = fallback
	c := gin.CreateTestContextOnly(httptest.NewRecorder(), engine)
	c.Request = httptest.NewRequest(http.MethodPost, "/", nil).WithContext(ctx)
	return c
}

// forms are the contexts that handlers pass on.
func forms(ctx context.Context) map[string]context.Context {
	off, on := request(ctx, false), request(ctx, true)
	deadline, cancel := context.WithCancel(off)
	cancel()
	return map[string]context.Context{
		"the request's":                     ctx,
		"a *gin.Context":                    off,
		"one with ContextWithFallback":      on,
		"a copy":                            off.Copy(),
		"derived from a *gin.Context":       context.WithValue(off, key{"own"}, "own"),
		"canceled":                          deadline,
		"without cancel":                    context.WithoutCancel(off),
		"derived with ContextWithFallback":  context.WithValue(on, key{"own"}, "own"),
		"of a request made with the former": httptest.NewRequestWithContext(context.WithValue(off, key{"own"}, "own"), http.MethodGet, "/", nil).Context(), //nolint:contextcheck // as a handler does
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	ctx := context.WithValue(context.WithValue(t.Context(), key{"a"}, "request"), key{"own"}, "request")
	for name, form := range forms(ctx) {
		assert.Equal(t, "request", ginctx.Value(form, key{"a"}), name)
		assert.Equal(t, "request", ginctx.Of(form).Value(key{"a"}), name)
		assert.Equal(t, form.Value(key{"own"}) == "own", ginctx.Value(form, key{"own"}) == "own", "%s: the inner value counts", name)
		assert.Equal(t, ginctx.Value(form, key{"own"}), ginctx.Of(form).Value(key{"own"}), name)
		assert.Nil(t, ginctx.Value(form, key{"b"}), name)
		assert.Nil(t, ginctx.Of(form).Value(key{"b"}), name)
		if name != "a *gin.Context" && name != "a copy" { // they have none
			assert.Equal(t, form.Err(), ginctx.Of(form).Err(), name)
		}
	}
}

// A *gin.Context without a request has no values.
func TestNoRequest(t *testing.T) {
	t.Parallel()
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	assert.Nil(t, ginctx.Value(c, key{"a"}))
	assert.Equal(t, context.Context(c), ginctx.Of(c))
	assert.Nil(t, ginctx.Value(t.Context(), key{"a"}))
	assert.Equal(t, t.Context(), ginctx.Of(t.Context()))
}

// Of a *gin.Context ends with the request, and does not look into itself.
func TestOfGinContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	for _, fallback := range []bool{false, true} {
		c := request(ctx, fallback)
		c.Request = c.Request.WithContext(context.WithValue(ginctx.Of(c), key{"a"}, 1))
		assert.Equal(t, 1, ginctx.Value(c, key{"a"}))
		assert.Nil(t, ginctx.Value(c, key{"b"}))
		assert.NotNil(t, ginctx.Of(c).Done())
	}
	cancel()
}
