package cache_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ofModel is a request to a model.
func ofModel(model string) string { return strings.Replace(chatPlain, `"m"`, `"`+model+`"`, 1) }

func isHit(r *gin.Engine, body string, header ...string) bool {
	return strings.Contains(status(post(r, body, header...)), "; hit")
}

func TestPurge(t *testing.T) {
	t.Parallel()
	l := &log{}
	c := newCache(t, cache.Config{
		OnEvent: l.On, ShowKey: true,
		Scope:   func(c *gin.Context) (string, error) { return c.GetHeader("X-Tenant"), nil },
		Version: func(c *gin.Context) string { return c.GetHeader("X-Version") },
	})
	r := app(c, responds(200, chatJSON, "Content-Type", jsonType).serve)
	callers := [][]string{{"a", "v1"}, {"a", "v2"}, {"b", "v1"}}
	send := func(model string, i int) bool {
		return isHit(r, ofModel(model), "X-Tenant", callers[i][0], "X-Version", callers[i][1])
	}
	fill := func() {
		for _, model := range []string{"m", "n"} {
			for i := range callers {
				send(model, i)
				require.True(t, send(model, i))
			}
		}
	}
	fill()
	key := l.of(cache.Stored)[0].Key
	for name, tt := range map[string]struct {
		tag  cache.Tag
		gone func(model, tenant, version string) bool
	}{
		"a model":    {cache.ByModel("m"), func(model, _, _ string) bool { return model == "m" }},
		"a version":  {cache.ByVersion("v1"), func(_, _, version string) bool { return version == "v1" }},
		"a tenant":   {cache.ByTenant("a"), func(_, tenant, _ string) bool { return tenant == "a" }},
		"a key":      {cache.ByKey(key), func(model, tenant, version string) bool { return model == "m" && tenant == "a" && version == "v1" }},
		"everything": {cache.Everything, func(_, _, _ string) bool { return true }},
		"another":    {cache.ByModel("x"), func(_, _, _ string) bool { return false }},
	} {
		fill()
		require.NoError(t, c.Purge(t.Context(), tt.tag), name)
		for _, model := range []string{"m", "n"} {
			for i, w := range callers {
				assert.Equal(t, !tt.gone(model, w[0], w[1]), send(model, i), "%s: %s %v", name, model, w)
			}
		}
	}
	require.Len(t, l.of(cache.Purged), 6)
	require.NotContains(t, string(cache.ByTenant("secret")), "secret")
}

// A response that is being fetched when its model is purged is not used.
func TestPurgeDuringAFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{}
		u.handle = func(c *gin.Context) {
			time.Sleep(time.Second)
			c.Data(200, jsonType, []byte(fmt.Sprintf(chatJSON, u.calls.Load())))
		}
		c := newCache(t, cache.Config{})
		r := app(c, u.serve)
		var wg sync.WaitGroup
		wg.Go(func() { post(r, chatPlain) })
		synctest.Wait()
		require.NoError(t, c.Purge(t.Context(), cache.ByModel("m")))
		wg.Go(func() { post(r, chatPlain) })
		wg.Wait()
		require.EqualValues(t, 2, u.calls.Load(), "no request follows a flight from before the purge")
		require.True(t, isHit(r, chatPlain))
	})
}

// The variants of an address are purged with it, and with everything.
func TestPurgeOfVariants(t *testing.T) {
	t.Parallel()
	u := responds(200, "%d", "Cache-Control", "max-age=60", "Vary", "Accept")
	c := newCache(t, cache.Config{})
	r := app(c, u.serve)
	for range 2 {
		get(r, "/", "Accept", "a")
		require.Contains(t, status(get(r, "/", "Accept", "a")), "; hit")
		require.NoError(t, c.Purge(t.Context(), cache.Everything))
	}
	require.EqualValues(t, 2, u.calls.Load())
}

// bus is an in-memory Purges that can be cut.
type bus struct {
	mu       sync.Mutex
	all      []cache.Purge
	err      error
	watchers map[int]func(cache.Purge)
	n        int
}

func (b *bus) Purge(_ context.Context, tag cache.Tag) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	p := cache.Purge{Tag: tag, Revision: uint64(time.Now().UnixMicro()) + uint64(len(b.all))}
	b.all = append(b.all, p)
	for _, observe := range b.watchers {
		observe(p)
	}
	return p.Revision, nil
}

func (b *bus) Since(_ context.Context, revision uint64) (out []cache.Purge, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.all {
		if p.Revision > revision {
			out = append(out, p)
		}
	}
	return out, b.err
}

func (b *bus) Watch(ctx context.Context, observe func(cache.Purge)) error {
	observe(cache.Purge{})
	b.mu.Lock()
	if b.err != nil {
		defer b.mu.Unlock()
		return b.err
	}
	if b.watchers == nil {
		b.watchers = map[int]func(cache.Purge){}
	}
	b.n++
	n := b.n
	b.watchers[n] = observe
	b.mu.Unlock()
	<-ctx.Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.watchers, n)
	return ctx.Err()
}

func (b *bus) cut(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// sharing is two replicas with one store, and Run of both.
func sharing(t *testing.T, b *bus) (here, there *cache.Cache, one, two *gin.Engine, stop func()) {
	t.Helper()
	f := newFar(t)
	u := responds(200, chatJSON, "Content-Type", jsonType)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	start := func() (*cache.Cache, *gin.Engine) {
		c := newCache(t, cache.Config{Store: tiered(t, cache.TieredConfig{L2: f}), Purges: b, Beta: -1})
		wg.Go(func() { assert.NoError(t, c.Run(ctx)) })
		return c, app(c, u.serve)
	}
	here, one = start()
	there, two = start()
	synctest.Wait()
	return here, there, one, two, func() { cancel(); wg.Wait() }
}

func TestPurgesReachReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here, there, one, two, stop := sharing(t, &bus{})
		defer stop()
		fill := func() {
			post(one, chatPlain)
			require.NoError(t, here.Drain(t.Context()))
			require.True(t, isHit(two, chatPlain))
		}
		fill()
		require.NoError(t, here.Purge(t.Context(), cache.ByModel("m")))
		require.False(t, isHit(two, chatPlain))
		require.NoError(t, there.Drain(t.Context()))
		require.True(t, isHit(one, chatPlain), "they agree on the generation")
		fill()
		require.NoError(t, there.Purge(t.Context(), cache.Everything))
		require.False(t, isHit(one, chatPlain))
	})
}

// A purge that could not be published applies here, and is published later.
func TestPurgesWhileTheBusIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bus{}
		here, _, one, two, stop := sharing(t, b)
		defer stop()
		post(one, chatPlain)
		require.NoError(t, here.Drain(t.Context()))
		require.True(t, isHit(two, chatPlain))
		b.cut(errDown)
		err := here.Purge(t.Context(), cache.ByModel("m"))
		require.ErrorIs(t, err, cache.ErrUnavailable)
		require.ErrorContains(t, err, "model:m")
		require.False(t, isHit(one, chatPlain))
		require.True(t, isHit(two, chatPlain), "it does not know of the purge")
		b.cut(nil)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		require.False(t, isHit(two, chatPlain))
	})
}

// A replica that cannot query the purges uses only its own entries.
func TestReplicaWithoutPurges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, b := newFar(t), &bus{}
		u := responds(200, chatJSON, "Content-Type", jsonType)
		start := func() (*cache.Cache, *gin.Engine) {
			c := newCache(t, cache.Config{Store: tiered(t, cache.TieredConfig{L2: f}), Purges: b, Beta: -1})
			return c, app(c, u.serve)
		}
		here, one := start()
		post(one, chatPlain)
		require.NoError(t, here.Drain(t.Context()))
		require.NoError(t, here.Purge(t.Context(), cache.ByModel("m")))
		b.cut(errDown)
		late, two := start()
		require.False(t, isHit(two, chatPlain), "the entry of L2 may have been purged")
		require.True(t, isHit(two, chatPlain), "the entry of L1 was not")
		require.NoError(t, late.Drain(t.Context()))
		b.cut(nil)
		time.Sleep(2 * time.Second)
		post(two, chatPlain)
		require.True(t, isHit(two, chatPlain))
		require.NoError(t, late.Drain(t.Context()))
	})
}

// More tags than can be remembered purge everything, which is safe.
func TestTooManyTags(t *testing.T) {
	t.Parallel()
	c := newCache(t, cache.Config{})
	r := app(c, responds(200, chatJSON, "Content-Type", jsonType).serve)
	post(r, chatPlain)
	require.NoError(t, c.Purge(t.Context(), cache.ByModel("m")))
	post(r, chatPlain)
	require.True(t, isHit(r, chatPlain))
	for i := range 10_001 {
		require.NoError(t, c.Purge(t.Context(), cache.ByModel(strconv.Itoa(i))))
	}
	require.False(t, isHit(r, chatPlain))
	require.True(t, isHit(r, chatPlain))
}

// Without Purges there is nothing to apply: Run waits for the end of its context.
func TestRunWithoutPurges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		require.NoError(t, newCache(t, cache.Config{}).Run(ctx))
		require.Equal(t, time.Minute, time.Since(begin))
	})
}

// A subscription that breaks is an event, and is renewed.
func TestBrokenSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, l := &bus{err: errDown}, &log{}
		c := newCache(t, cache.Config{Purges: b, OnEvent: l.On})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { assert.NoError(t, c.Run(ctx)) })
		time.Sleep(2500 * time.Millisecond)
		failed := l.of(cache.Failed)
		require.Len(t, failed, 3, "at the beginning, and each second")
		require.ErrorIs(t, failed[0].Err, errDown)
		require.ErrorIs(t, c.Purge(ctx, "a"), errDown)
		b.cut(nil)
		time.Sleep(time.Second)
		published, err := b.Since(ctx, 0)
		require.NoError(t, err)
		require.Len(t, published, 1, "after the next subscription")
		_, err = b.Purge(ctx, "b")
		require.NoError(t, err)
		synctest.Wait()
		purged := l.of(cache.Purged)
		require.Equal(t, cache.Tag("b"), purged[len(purged)-1].Tag)
		require.Len(t, l.of(cache.Failed), 3)
		cancel()
		wg.Wait()
	})
}
