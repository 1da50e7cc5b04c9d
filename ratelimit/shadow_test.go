package ratelimit_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// In shadow mode no request is refused, whatever the reason, and the refusals are reported.
func TestShadow(t *testing.T) {
	t.Parallel()
	noKey := func(*gin.Context) (string, error) { return "", errors.New("no key") }
	down := newShared(t)
	down.set(ratelimit.ErrUnavailable)
	tests := map[string]struct {
		key   func(*gin.Context) (string, error)
		store ratelimit.Store
		would int
		limit string
	}{
		"over the limit": {key: ratelimit.Global, would: 4, limit: "try"},
		"no key":         {key: noKey, would: 5},
		"no store":       {key: ratelimit.Global, store: down, would: 5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for unit, chain := range map[string]func(*events) gin.HandlerFunc{
				"requests": func(seen *events) gin.HandlerFunc {
					return limiter(t, ratelimit.Config{Limits: []ratelimit.Limit{{Name: "try", Key: tt.key, Rate: 0.001, Burst: 1}}, Store: tt.store, Lease: -1, Shadow: true, OnEvent: seen.On}).Middleware()
				},
				"tokens": func(seen *events) gin.HandlerFunc {
					return tokens(t, ratelimit.TokensConfig{Limits: []ratelimit.Limit{{Name: "try", Key: tt.key, Rate: 0.001, Burst: 1}}, Store: tt.store, Shadow: true, OnEvent: seen.On}).Middleware()
				},
			} {
				seen := &events{}
				h := app(chain(seen), asJSON(http.StatusOK, response))
				for range 5 {
					w := post(t.Context(), h, question)
					require.Equal(t, http.StatusOK, w.Code, unit)
					require.Empty(t, w.Header().Get("Ratelimit")+w.Header().Get("Retry-After"), unit)
				}
				would := seen.of(ratelimit.WouldRefuse)
				assert.Len(t, would, tt.would, unit)
				for _, e := range would {
					require.Error(t, e.Err)
					assert.Equal(t, tt.limit, e.Limit)
				}
				assert.Empty(t, seen.of(ratelimit.Refused), unit)
				assert.Len(t, seen.of(ratelimit.Allowed), 5-tt.would, unit)
			}
		})
	}
	_, err := ratelimit.New(ratelimit.Config{Key: ratelimit.Global, Rate: 1, Shadow: true, Wait: ratelimit.Wait{Max: time.Second}})
	require.ErrorContains(t, err, "exclude each other")
}

// A body that can't be read is an error of the request, not of a limit.
func TestShadowReadsTheBody(t *testing.T) {
	t.Parallel()
	h := app(tokens(t, ratelimit.TokensConfig{Key: ratelimit.Global, Rate: 1, Shadow: true}).Middleware())
	r := httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(errors.New("cut")))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	assert.Equal(t, http.StatusBadRequest, w.Code)
}

// A report reaches every Tokens that the request passed.
func TestReportReachesAll(t *testing.T) {
	t.Parallel()
	outer, inner := &events{}, &events{}
	one := func(seen *events) gin.HandlerFunc {
		return tokens(t, ratelimit.TokensConfig{Key: ratelimit.Global, Rate: 1, Burst: 1000, OnEvent: seen.On}).Middleware()
	}
	h := app(one(outer), one(inner), func(c *gin.Context) {
		ratelimit.Report(c.Request.Context(), 7, 8)
		c.String(http.StatusOK, "hit")
	})
	post(t.Context(), h, question)
	for _, seen := range []*events{outer, inner} {
		settled := seen.of(ratelimit.Settled)
		require.Len(t, settled, 1)
		assert.EqualValues(t, 15, settled[0].Tokens)
	}
}
