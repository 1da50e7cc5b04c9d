package ratelimit_test

import (
	"context"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// x-ratelimit-* shows the limit that refused.
func TestHeadersOfRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Name: "all", Key: ratelimit.Global, Rate: 0.01, Burst: 100}, {Name: "user", Key: byUser, Rate: 1, Burst: 1}},
		}).Middleware())
		for i := range 60 {
			get(h, strconv.Itoa(i))
		}
		get(h, "a")
		time.Sleep(900 * time.Millisecond)
		w := get(h, "a")
		require.Equal(t, 429, w.Code)
		assert.Equal(t, "0", w.Header().Get("X-Ratelimit-Remaining-Requests"))
		assert.Equal(t, "100ms", w.Header().Get("X-Ratelimit-Reset-Requests"))
	})
}

// A raised budget is larger at once, and a lowered one still counts what was spent.
func TestBudgetChanges(t *testing.T) {
	t.Parallel()
	m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
	require.NoError(t, err)
	at := func(budget int64) http.Handler {
		return app(limiter(t, ratelimit.Config{Limits: []ratelimit.Limit{{Key: byUser, Budget: budget, Period: ratelimit.Month}}, Store: m}).Middleware())
	}
	require.Equal(t, 100, count(at(100), "a", 110)[200])
	assert.Equal(t, 50, count(at(150), "a", 110)[200], "raised from 100 to 150")
	require.Equal(t, 60, count(at(200), "b", 60)[200])
	assert.Equal(t, 0, count(at(50), "b", 110)[200], "60 of 50 are spent")
}

// A panic in OnEvent releases the reservation.
func TestPanicInOnEvent(t *testing.T) {
	t.Parallel()
	s, b := newShared(t), ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: ratelimit.Rate(b.Rate), Burst: b.Burst, Store: s.Memory, OnEvent: func(_ context.Context, e ratelimit.Event) {
		if e.Kind == ratelimit.Allowed {
			panic("x")
		}
	}}).Middleware(), asJSON(200, response))
	assert.Panics(t, func() { post(t.Context(), h, question) })
	assert.InDelta(t, 1000, level(t, s, b), 0.01)
}

// A joined key with an empty part is no key.
func TestJoinWithEmptyPart(t *testing.T) {
	t.Parallel()
	nothing := func(*gin.Context) (string, error) { return "", nil }
	h := app(limiter(t, ratelimit.Config{Key: ratelimit.Join(nothing, nothing), Rate: 1}).Middleware())
	assert.Equal(t, 400, get(h, "a").Code)
}

// Every refusal is reported.
func TestEventsOfRefusals(t *testing.T) {
	t.Parallel()
	s, seen := newShared(t), new(events)
	s.set(errDown)
	h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 1, Store: over(t, s, ratelimit.SharedConfig{FailureMode: ratelimit.FailClosed, OnEvent: seen.On}), OnEvent: seen.On}).Middleware())
	require.Equal(t, 503, get(h, "a").Code)
	require.Equal(t, 400, get(h, "").Code)
	assert.Len(t, seen.of(ratelimit.Refused), 2)
}
