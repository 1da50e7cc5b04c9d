package cache_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/cache/storetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// common is a shared store.
type common struct {
	*cache.Memory
	mu     sync.Mutex
	owners map[string]string
	until  map[string]time.Time
	down   atomic.Bool
}

func newCommon(t *testing.T) *common {
	t.Helper()
	m, err := cache.NewMemory(cache.MemoryConfig{})
	require.NoError(t, err)
	return &common{Memory: m, owners: map[string]string{}, until: map[string]time.Time{}}
}

func (s *common) Claim(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil || s.down.Load() {
		return false, fmt.Errorf("%w: down", cache.ErrUnavailable)
	}
	if s.owners[key] != owner && time.Now().Before(s.until[key]) {
		return false, nil
	}
	s.owners[key], s.until[key] = owner, time.Now().Add(ttl)
	return true, nil
}

func (s *common) Release(_ context.Context, key, owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owners[key] == owner {
		delete(s.until, key)
	}
	return nil
}

// crashed has a claim of a replica that crashed on every key.
func (s *common) crashed(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.owners {
		s.owners[key], s.until[key] = "gone", time.Now().Add(d)
	}
}

func TestClaims(t *testing.T) {
	storetest.RunClaims(t, func(t *testing.T) (here, there cache.Claims) {
		t.Helper()
		s := newCommon(t)
		return s, s
	})
	storetest.RunClaims(t, func(t *testing.T) (here, there cache.Claims) {
		t.Helper()
		s := newCommon(t)
		replica := func() cache.Claims {
			tiers, err := cache.NewTiered(cache.TieredConfig{L2: s})
			require.NoError(t, err)
			return tiers
		}
		return replica(), replica()
	})
}

// Without Claims in L2 each replica is on its own.
func TestTieredWithoutClaims(t *testing.T) {
	t.Parallel()
	far, err := cache.NewMemory(cache.MemoryConfig{})
	require.NoError(t, err)
	tiers, err := cache.NewTiered(cache.TieredConfig{L2: far})
	require.NoError(t, err)
	for _, owner := range []string{"a", "b"} {
		mine, err := tiers.Claim(t.Context(), "k", owner, time.Minute)
		require.NoError(t, err)
		require.True(t, mine)
		require.NoError(t, tiers.Release(t.Context(), "k", owner))
	}
}

// twin is two replicas in front of one slow upstream.
type twin struct {
	here, there http.Handler
	store       *common
	u           *upstream
	respond     func(*gin.Context, int64)
	takes       time.Duration
}

func newTwin(t *testing.T, cfg cache.Config) *twin {
	t.Helper()
	w := &twin{store: newCommon(t), u: &upstream{}, takes: 3 * time.Second}
	w.respond = func(c *gin.Context, n int64) { c.JSON(http.StatusOK, gin.H{"id": n}) }
	w.u.handle = func(c *gin.Context) {
		n := w.u.calls.Load()
		select {
		case <-time.After(w.takes):
			w.respond(c, n)
		case <-c.Request.Context().Done():
		}
	}
	replica := func() http.Handler {
		tiers, err := cache.NewTiered(cache.TieredConfig{L2: w.store})
		require.NoError(t, err)
		cfg.Store = tiers
		return app(newCache(t, cfg), w.u.serve)
	}
	w.here, w.there = replica(), replica()
	return w
}

// both sends a request here, and one there a second later.
func (w *twin) both(body string) (here, there result) {
	var wg sync.WaitGroup
	wg.Go(func() { here = w.send(context.Background(), w.here, warm) })
	time.Sleep(time.Second)
	there = w.send(context.Background(), w.there, body)
	wg.Wait()
	return here, there
}

type result struct {
	code  int
	body  string
	after string
	took  time.Duration
}

func (*twin) send(ctx context.Context, replica http.Handler, body string) result {
	begin := time.Now()
	req := request(http.MethodPost, "/v1/chat/completions", body, "Idempotency-Key", "k") //nolint:contextcheck // the next line has it
	w := do(replica, req.WithContext(ctx))
	return result{w.Code, w.Body.String(), w.Header().Get("Retry-After"), time.Since(begin)}
}

func TestOneKeyOnTwoReplicas(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		cfg    cache.Config
		change func(*twin)
		body   string // there
		code   int    // there
		same   bool   // both get one response
		calls  int64
		took   time.Duration // there, at most
	}{
		{name: "the other waits", cfg: idempotent(nil), body: warm, code: 200, same: true, calls: 1, took: 2500 * time.Millisecond},
		{name: "for minutes", cfg: idempotent(nil), change: func(w *twin) { w.takes = 5 * time.Minute }, body: warm, code: 200, same: true, calls: 1, took: 5 * time.Minute},
		{name: "for another's body", cfg: idempotent(nil), body: chatPlain, code: 422, calls: 1, took: 2500 * time.Millisecond},
		{name: "or is refused", cfg: idempotent(func(i *cache.Idempotency) { i.Conflict = true }), body: warm, code: 409, calls: 1},
		{
			name: "what failed is begun again", cfg: idempotent(nil), body: warm, code: 200, calls: 2, took: 6 * time.Second,
			change: func(w *twin) {
				w.respond = func(c *gin.Context, n int64) {
					c.JSON(map[int64]int{1: 503, 2: 200}[n], gin.H{"id": n})
				}
			},
		},
		{
			name: "a waiting request keeps waiting without the store", cfg: idempotent(nil), body: warm, code: 200, same: true, calls: 1, took: 4 * time.Second,
			change: func(w *twin) {
				time.AfterFunc(2*time.Second, func() { w.store.down.Store(true) })
				time.AfterFunc(2500*time.Millisecond, func() { w.store.down.Store(false) })
			},
		},
		{
			name: "as long as the other may have it", cfg: idempotent(nil), body: warm, code: 200, calls: 2, took: 36 * time.Second,
			change: func(w *twin) { time.AfterFunc(2*time.Second, func() { w.store.down.Store(true) }) },
		},
		{name: "without the store each is alone", cfg: idempotent(nil), change: func(w *twin) { w.store.down.Store(true) }, body: warm, code: 200, calls: 2, took: 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newTwin(t, tt.cfg)
				if tt.change != nil {
					tt.change(w)
				}
				here, there := w.both(tt.body)
				assert.Equal(t, tt.code, there.code)
				assert.Equal(t, tt.same, here.body == there.body)
				assert.Equal(t, tt.calls, w.u.calls.Load())
				assert.LessOrEqual(t, there.took, tt.took)
				if tt.code == http.StatusConflict {
					assert.Equal(t, "1", there.after)
				}
				time.Sleep(time.Minute) // writes and probes are done
			})
		})
	}
}

func TestClaimOfACrashedReplicaEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTwin(t, idempotent(nil))
		w.respond = func(c *gin.Context, _ int64) { c.Status(http.StatusInternalServerError) }
		w.send(t.Context(), w.here, warm) // so that there is a key
		w.respond = func(c *gin.Context, n int64) { c.JSON(http.StatusOK, gin.H{"id": n}) }
		w.store.crashed(30 * time.Second)
		there := w.send(t.Context(), w.there, warm)
		assert.Equal(t, http.StatusOK, there.code)
		assert.InDelta(t, 33, there.took.Seconds(), 0.5)
		time.Sleep(time.Minute)
	})
}

// A client that disconnected while it waited causes no call.
func TestClaimWaitEndsWithTheClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTwin(t, idempotent(nil))
		w.takes = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, http.StatusOK, w.send(t.Context(), w.here, warm).code) })
		time.Sleep(time.Second)
		there := w.send(ctx, w.there, warm)
		assert.LessOrEqual(t, there.took, 5500*time.Millisecond)
		wg.Wait()
		assert.EqualValues(t, 1, w.u.calls.Load())
		time.Sleep(time.Minute)
	})
}
