package cache_test

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faulty is a shared store with faults.
type faulty struct {
	*common
	gets  atomic.Int64
	get   func(n int64)
	set   func()
	claim func()
	lost  atomic.Bool // the claim is made, but the reply is lost
}

func (s *faulty) Get(ctx context.Context, key string) (*cache.Entry, error) {
	if n := s.gets.Add(1); s.get != nil {
		s.get(n)
	}
	return s.common.Get(ctx, key)
}

func (s *faulty) Set(ctx context.Context, key string, e *cache.Entry) error {
	if s.set != nil {
		s.set()
	}
	return s.common.Set(ctx, key, e)
}

// Claim makes the claim even if the reply is lost.
func (s *faulty) Claim(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	mine, err := s.common.Claim(ctx, key, owner, ttl)
	if s.claim != nil {
		s.claim()
	}
	if ctx.Err() != nil || s.lost.Load() {
		return false, errDown
	}
	return mine, err
}

func (s *faulty) held() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, until := range s.until {
		if time.Now().Before(until) {
			return true
		}
	}
	return false
}

// A panic between the claim and the handlers releases the key.
func TestClaimReleasedAfterPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &faulty{common: newCommon(t), get: func(n int64) {
			if n == 2 {
				panic("store")
			}
		}}
		cfg := idempotent(nil)
		cfg.Store = s
		here := app(newCache(t, cfg), responds(http.StatusOK, "{}").serve)
		require.Panics(t, func() { post(here, warm, "Idempotency-Key", "k") })
		time.Sleep(time.Minute)
		assert.False(t, s.held())
		assert.Equal(t, http.StatusOK, post(here, warm, "Idempotency-Key", "k").Code)
	})
}

// A client that disconnects during the claim does not block its next request.
func TestClaimReleasedAfterDisconnect(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"before the store replies": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				s := &faulty{common: newCommon(t)}
				leave := func() {
					cancel()
					synctest.Wait()
				}
				s.claim = func() {
					if s.claim = nil; !late {
						leave()
					}
				}
				s.get = func(n int64) {
					if late && n == 2 {
						leave()
					}
				}
				u := responds(http.StatusOK, "{}")
				cfg := idempotent(nil)
				cfg.Store = s
				here := app(newCache(t, cfg), u.serve)
				do(here, request(http.MethodPost, chatPath, warm, "Idempotency-Key", "k").WithContext(ctx))
				assert.Zero(t, u.calls.Load())
				assert.False(t, s.held())
			})
		})
	}
}

// A key is released even if it is unknown whether it was claimed.
func TestClaimReleasedAfterLostReply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &faulty{common: newCommon(t)}
		s.lost.Store(true)
		u := &upstream{handle: func(c *gin.Context) {
			assert.True(t, s.held())
			s.lost.Store(false) // it is back
			time.Sleep(time.Minute)
			assert.True(t, s.held())
			c.Status(http.StatusInternalServerError)
		}}
		cfg := idempotent(nil)
		cfg.Store = s
		assert.Equal(t, http.StatusInternalServerError, post(app(newCache(t, cfg), u.serve), warm, "Idempotency-Key", "k").Code)
		assert.False(t, s.held())
	})
}

// A claimed response is stored before the claim is released, however many writes are under way.
func TestClaimedResponsesAreStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &faulty{common: newCommon(t), set: func() { time.Sleep(40 * time.Millisecond) }}
		u := responds(http.StatusOK, "{}")
		replica := func() http.Handler {
			tiers, err := cache.NewTiered(cache.TieredConfig{L2: s, Fills: 1})
			require.NoError(t, err)
			cfg := idempotent(nil)
			cfg.Store = tiers
			return app(newCache(t, cfg), u.serve)
		}
		here, there := replica(), replica()
		const n = 4
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				assert.Equal(t, http.StatusOK, post(here, warm, "Idempotency-Key", strconv.Itoa(i)).Code)
			})
		}
		wg.Wait()
		for i := range n {
			assert.Equal(t, http.StatusOK, post(there, warm, "Idempotency-Key", strconv.Itoa(i)).Code)
		}
		assert.EqualValues(t, n, u.calls.Load())
		time.Sleep(time.Minute)
	})
}
