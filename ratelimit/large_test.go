package ratelimit_test

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Counts beyond 32 bits are exact on every platform: int has 32 bits on some.
func TestLargeCounts(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{math.MaxInt32 - 1, math.MaxInt32, 1 << 31, 3e9, 1<<32 - 1, 1 << 32, 5e9, 5e9 + 1, 5e9 + 7, 1<<50 - 1} {
		t.Run(strconv.FormatInt(size, 10), func(t *testing.T) {
			t.Parallel()
			m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
			require.NoError(t, err)
			b := ratelimit.Bucket{Limit: "a", Key: "k", Burst: size, Ends: time.Now().Add(time.Hour)}
			left := func(cost int64) float64 {
				c := []ratelimit.Charge{{Bucket: b, Cost: cost}}
				require.NoError(t, m.Take(t.Context(), c))
				require.Equal(t, cost, c[0].Granted)
				return c[0].Left
			}
			settle := func(reserved, spent int64) {
				require.NoError(t, m.Settle(t.Context(), []ratelimit.Settlement{{Bucket: b, Reserved: reserved, Spent: spent}}))
			}
			assert.InDelta(t, size-1, left(1), 0)
			assert.InDelta(t, size-4, left(3), 0)
			settle(4, 0)
			assert.InDelta(t, 0, left(size), 0, "all of it")
			over := []ratelimit.Charge{{Bucket: b, Cost: 1}}
			require.NoError(t, m.Take(t.Context(), over))
			assert.Zero(t, over[0].Granted)
			settle(size, 2*size+3)
			settle(size+10, 0)
			assert.InDelta(t, 6, left(1), 0, "debt is repaid")
			settle(size-6, 0)
			b.Burst += 5 // spent tokens stay spent when a budget changes
			assert.InDelta(t, size+4, left(1), 0)
			b.Burst = 1000
			assert.InDelta(t, 998, left(1), 0)
			b.Burst = size
			assert.InDelta(t, size-3, left(1), 0)
		})
	}
}

// A rate beyond 32 bits refills what it says.
func TestLargeRates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
		require.NoError(t, err)
		c := []ratelimit.Charge{{Bucket: ratelimit.Bucket{Limit: "a", Key: "k", Rate: 5e9, Burst: 5e9}, Cost: 5e9}}
		for range 3 {
			require.NoError(t, m.Take(t.Context(), c))
			assert.Equal(t, int64(5e9), c[0].Granted)
			time.Sleep(time.Second / 2)
			require.NoError(t, m.Take(t.Context(), c))
			assert.Zero(t, c[0].Granted)
			assert.InDelta(t, 2.5e9, c[0].Left, 4)
			time.Sleep(time.Second / 2)
		}
	})
}

func TestLargeBudgetAdmits(t *testing.T) {
	t.Parallel()
	for _, budget := range []int64{3e9, 5e9} {
		l, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{{Name: "a", Key: ratelimit.Global, Budget: budget, Period: ratelimit.Month}}})
		require.NoError(t, err)
		w := httptest.NewRecorder()
		serve(l.Middleware()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Contains(t, w.Header().Get("Ratelimit"), fmt.Sprintf("r=%d", budget-1))
	}
}
