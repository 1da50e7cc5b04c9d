package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/cache/redisstore"
	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// replica is a gateway that shares a Redis with others, in front of one model.
type replica struct {
	*gin.Engine
	cache *cache.Cache
	near  *cache.Memory

	mu     sync.Mutex
	events []cache.Event
}

func (r *replica) on(_ context.Context, e cache.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *replica) count(kind cache.Kind) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// newReplica starts a replica with its background work.
func newReplica(t *testing.T, store *redisstore.Store, calls *atomic.Int64) *replica {
	t.Helper()
	r := &replica{Engine: gin.New()}
	var err error
	r.near, err = cache.NewMemory(cache.MemoryConfig{})
	require.NoError(t, err)
	tiers, err := cache.NewTiered(cache.TieredConfig{L1: r.near, L2: store, OnEvent: r.on})
	require.NoError(t, err)
	r.cache, err = cache.New(cache.Config{Store: tiers, Purges: store, OnEvent: r.on, Version: func(c *gin.Context) string { return c.GetHeader("X-Version") }, Beta: -1})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.cache.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		require.NoError(t, r.cache.Drain(context.Background()))
	})
	r.POST("/v1/chat/completions", r.cache.Middleware(), func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{"id": calls.Add(1), "choices": []gin.H{{"finish_reason": "stop", "message": gin.H{"content": "hi"}}}})
	})
	return r
}

// send returns the number of the model's call that the response is from.
func (r *replica) send(model string, header ...string) (id, mark string) {
	req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"`+model+`","temperature":0,"messages":[]}`))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer alice")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		return fmt.Sprint("status ", w.Code), ""
	}
	_, id, _ = strings.Cut(w.Body.String(), `"id":`)
	return strings.TrimSuffix(id, "}"), w.Header().Get("Cache-Status")
}

// fill sends a request here and waits until it is a hit there.
func fill(t *testing.T, here, there *replica, model string) (id string) {
	t.Helper()
	id, _ = here.send(model)
	require.NoError(t, here.cache.Drain(context.Background()))
	got, mark := there.send(model)
	require.Equal(t, id, got)
	require.Contains(t, mark, "; hit")
	return id
}

func TestTwoReplicas(t *testing.T) {
	server := redistest.Start(t)
	var calls atomic.Int64
	here, there := newReplica(t, patient(t, server.Addr), &calls), newReplica(t, patient(t, server.Addr), &calls)

	before := fill(t, here, there, "m")
	require.EqualValues(t, 1, calls.Load())
	id, _ := there.send("m")
	require.Equal(t, before, id)

	for name, tag := range map[string]cache.Tag{"the model": cache.ByModel("m"), "everything": cache.Everything} {
		require.NoError(t, here.cache.Purge(t.Context(), tag), name)
		id, _ = here.send("m")
		require.NotEqual(t, before, id, "%s: at once here", name)
		after := id
		redistest.Await(t, name+" is purged there", func() error {
			if id, _ := there.send("m"); id == before {
				return errors.New("not yet")
			}
			return nil
		})
		require.NoError(t, here.cache.Drain(context.Background()))
		redistest.Await(t, "both agree", func() error {
			a, _ := here.send("m")
			b, _ := there.send("m")
			if a != b {
				return fmt.Errorf("%s and %s", a, b)
			}
			return nil
		})
		before, _ = here.send("m")
		_ = after
	}

	// Versions do not share entries, and are purged alone.
	v1, _ := here.send("m", "X-Version", "v1")
	v2, _ := here.send("m", "X-Version", "v2")
	require.NotEqual(t, v1, v2)
	require.NoError(t, there.cache.Purge(t.Context(), cache.ByVersion("v1")))
	redistest.Await(t, "v1 is purged here", func() error {
		if id, _ := here.send("m", "X-Version", "v1"); id == v1 {
			return errors.New("not yet")
		}
		return nil
	})
	id, _ = here.send("m", "X-Version", "v2")
	require.Equal(t, v2, id)

	// A replica that starts later knows the earlier purges.
	late := newReplica(t, patient(t, server.Addr), &calls)
	want, _ := here.send("m")
	require.NoError(t, here.cache.Drain(context.Background()))
	got, mark := late.send("m")
	require.Equal(t, want, got)
	require.Contains(t, mark, "; hit")
}

// down checks that a replica works without Redis, without harm to its clients.
func down(t *testing.T, r *replica) {
	t.Helper()
	late := 0
	for i := range 50 {
		began := time.Now()
		id, _ := r.send(fmt.Sprint("down", i))
		again, mark := r.send(fmt.Sprint("down", i))
		if time.Since(began) > 150*time.Millisecond {
			late++
		}
		require.Equal(t, id, again)
		require.Contains(t, mark, "; hit")
		assert.NotContains(t, id, "status")
	}
	require.LessOrEqual(t, late, 3, "a busy machine may delay a few")
	require.Positive(t, r.count(cache.StoreDown))
}

func TestRedisGoesDownAndComesBack(t *testing.T) {
	for name, do := range map[string]struct{ stop, start func(*redistest.Server) }{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"frozen": {(*redistest.Server).Freeze, (*redistest.Server).Thaw},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			var calls atomic.Int64
			here, there := newReplica(t, hasty(t, server.Addr), &calls), newReplica(t, hasty(t, server.Addr), &calls)
			redistest.Await(t, "they share", func() error {
				model := fmt.Sprint("m", calls.Load())
				a, _ := here.send(model)
				_ = here.cache.Drain(context.Background())
				if b, _ := there.send(model); a != b {
					return errors.New("not yet")
				}
				return nil
			})
			do.stop(server)
			down(t, here)
			before, _ := here.send("purged")
			require.Error(t, here.cache.Purge(t.Context(), cache.ByModel("purged")))
			id, _ := here.send("purged")
			require.NotEqual(t, before, id, "it is purged here all the same")
			do.start(server)
			redistest.Await(t, "the store is up", func() error {
				here.send(fmt.Sprint("up", calls.Load()))
				if here.count(cache.StoreUp) == 0 {
					return errors.New("not yet")
				}
				return nil
			})
		})
	}
}
