package cache_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/cache/storetest"
	"github.com/stretchr/testify/require"
)

// far is a Memory as an L2. It can be slow, down, or panic, and counts calls.
type far struct {
	*cache.Memory
	mu         sync.Mutex
	err        error
	slow       time.Duration
	panics     bool
	gets, sets int
}

func newFar(tb testing.TB) *far {
	tb.Helper()
	return &far{Memory: memory(tb, cache.MemoryConfig{})}
}

func (f *far) set(err error, slow time.Duration, panics bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.slow, f.panics = err, slow, panics
}

func (f *far) counts() (gets, sets int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gets, f.sets
}

func (f *far) travel(ctx context.Context, count *int) error {
	f.mu.Lock()
	*count++
	err, slow, panics := f.err, f.slow, f.panics
	f.mu.Unlock()
	if panics {
		panic("far")
	}
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return errors.Join(cache.ErrUnavailable, ctx.Err())
		}
	}
	return err
}

func (f *far) Get(ctx context.Context, key string) (*cache.Entry, error) {
	if err := f.travel(ctx, &f.gets); err != nil {
		return nil, err
	}
	return f.Memory.Get(ctx, key)
}

func (f *far) Set(ctx context.Context, key string, e *cache.Entry) error {
	if err := f.travel(ctx, &f.sets); err != nil {
		return err
	}
	return f.Memory.Set(ctx, key, e)
}

func (f *far) Delete(ctx context.Context, key string) error {
	if err := f.travel(ctx, new(int)); err != nil {
		return err
	}
	return f.Memory.Delete(ctx, key)
}

func tiered(tb testing.TB, cfg cache.TieredConfig) *cache.Tiered {
	tb.Helper()
	s, err := cache.NewTiered(cfg)
	require.NoError(tb, err)
	return s
}

func TestTieredConforms(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) cache.Store {
		t.Helper()
		s := tiered(t, cache.TieredConfig{L2: newFar(t)})
		t.Cleanup(func() { require.NoError(t, s.Drain(context.Background())) })
		return s
	})
}

func TestTieredConfig(t *testing.T) {
	t.Parallel()
	_, err := cache.NewTiered(cache.TieredConfig{Timeout: time.Second, Fills: -1})
	for _, want := range []string{"L2 is required", "Timeout 1s is not between", "Fills is negative"} {
		require.ErrorContains(t, err, want)
	}
}

func TestL1IsFilledFromL2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		here, there := tiered(t, cache.TieredConfig{L2: f}), tiered(t, cache.TieredConfig{L2: f})
		require.NoError(t, here.Set(t.Context(), "k", entry("1")))
		require.NoError(t, here.Drain(t.Context()))
		for range 3 {
			e, err := there.Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "1", string(e.Body))
		}
		gets, sets := f.counts()
		require.Equal(t, 1, gets, "the rest is in L1")
		require.Equal(t, 1, sets)
		// After a tenth of the lifetime the copies expire, and changes are visible.
		require.NoError(t, here.Set(t.Context(), "k", entry("2")))
		require.NoError(t, here.Drain(t.Context()))
		e, err := there.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "1", string(e.Body))
		time.Sleep(6 * time.Second)
		e, err = there.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "2", string(e.Body))
	})
}

func TestL2IsDown(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    error
		slow   time.Duration
		panics bool
	}{"an error": {err: errDown}, "frozen": {slow: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, l := newFar(t), &log{}
				s := tiered(t, cache.TieredConfig{L2: f, OnEvent: l.On})
				f.set(tt.err, tt.slow, tt.panics)
				start := time.Now()
				for range 100 {
					_, err := s.Get(t.Context(), "k")
					require.ErrorIs(t, err, cache.ErrNotFound, "a miss, and no error")
				}
				require.LessOrEqual(t, time.Since(start), 50*time.Millisecond, "only one waits")
				require.Len(t, l.of(cache.StoreDown), 1)
				require.ErrorIs(t, l.of(cache.StoreDown)[0].Err, cache.ErrUnavailable)
				require.NoError(t, s.Set(t.Context(), "k", entry("1")))
				require.ErrorIs(t, s.Delete(t.Context(), "x"), cache.ErrUnavailable)
				time.Sleep(30 * time.Second)
				_, err := s.Get(t.Context(), "k")
				require.NoError(t, err, "L1 keeps it for all of its lifetime then")
				synctest.Wait()
				f.set(nil, 0, false)
				require.Empty(t, l.of(cache.StoreUp))
				time.Sleep(2 * time.Second)
				_, _ = s.Get(t.Context(), "x") // triggers a probe
				synctest.Wait()
				require.Len(t, l.of(cache.StoreUp), 1)
				require.NoError(t, s.Set(t.Context(), "new", entry("1")))
				require.NoError(t, s.Drain(t.Context()))
				_, err = f.Memory.Get(t.Context(), "new")
				require.NoError(t, err)
			})
		})
	}
}

func TestL2Panics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, l := newFar(t), &log{}
		s := tiered(t, cache.TieredConfig{L2: f, OnEvent: l.On})
		f.set(nil, 0, true)
		require.NoError(t, s.Set(t.Context(), "k", entry("1")))
		require.NoError(t, s.Drain(t.Context()))
		require.Len(t, l.of(cache.StoreDown), 1)
		time.Sleep(2 * time.Second)
		_, _ = s.Get(t.Context(), "x")
		synctest.Wait()
		require.Empty(t, l.of(cache.StoreUp))
	})
}

// A deleted entry does not come back by a write that was under way.
func TestDeleteDuringAWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		s := tiered(t, cache.TieredConfig{L2: f})
		f.set(nil, 10*time.Millisecond, false)
		require.NoError(t, s.Set(t.Context(), "k", entry("1")))
		require.NoError(t, s.Delete(t.Context(), "k"))
		require.NoError(t, s.Drain(t.Context()))
		_, err := f.Memory.Get(t.Context(), "k")
		require.ErrorIs(t, err, cache.ErrNotFound)
		_, err = s.Get(t.Context(), "k")
		require.ErrorIs(t, err, cache.ErrNotFound)
	})
}

func TestWritesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, l := newFar(t), &log{}
		s := tiered(t, cache.TieredConfig{L2: f, Fills: 2, OnEvent: l.On})
		f.set(nil, 10*time.Millisecond, false)
		for _, key := range []string{"a", "b", "c", "a"} {
			require.NoError(t, s.Set(t.Context(), key, entry(key)))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.Drain(ctx), context.DeadlineExceeded)
		require.NoError(t, s.Drain(t.Context()))
		require.Len(t, l.of(cache.Failed), 1)
		_, err := f.Memory.Get(t.Context(), "c")
		require.ErrorIs(t, err, cache.ErrNotFound)
		_, err = s.Get(t.Context(), "c")
		require.NoError(t, err, "it is in L1")
		_, sets := f.counts()
		require.LessOrEqual(t, sets, 3)
	})
}

// A canceled call does not mark the store as down.
func TestCanceledCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, l := newFar(t), &log{}
		s := tiered(t, cache.TieredConfig{L2: f, OnEvent: l.On})
		f.set(nil, time.Second, false)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Get(ctx, "k")
		require.ErrorIs(t, err, cache.ErrNotFound)
		require.Empty(t, l.of(cache.StoreDown))
	})
}

// A panic of L2 in a background write marks it as down, and does not end the process.
func TestL2PanicsInAWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, f := &log{}, newFar(t)
		s := tiered(t, cache.TieredConfig{L2: f, OnEvent: l.On})
		f.set(nil, 0, true)
		require.NoError(t, s.Set(t.Context(), "k", entry("v")))
		require.NoError(t, s.Drain(t.Context()))
		down := l.of(cache.StoreDown)
		require.Len(t, down, 1)
		require.ErrorIs(t, down[0].Err, cache.ErrUnavailable)
		require.ErrorContains(t, down[0].Err, "panic: far")
		e, err := s.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "v", string(e.Body))
	})
}

// A failed delete in L2 is an error: the entry is still there for others.
func TestDeleteWhileL2IsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, f := &log{}, newFar(t)
		s := tiered(t, cache.TieredConfig{L2: f, OnEvent: l.On})
		require.NoError(t, s.Set(t.Context(), "k", entry("v")))
		require.NoError(t, s.Drain(t.Context()))
		f.set(errDown, 0, false)
		require.ErrorIs(t, s.Delete(t.Context(), "k"), cache.ErrUnavailable, "it fails")
		require.ErrorIs(t, s.Delete(t.Context(), "k"), cache.ErrUnavailable, "it is down")
		require.Len(t, l.of(cache.StoreDown), 1)
		_, err := s.Get(t.Context(), "k")
		require.ErrorIs(t, err, cache.ErrNotFound, "at least not in L1")
		time.Sleep(2 * time.Second)
		_, _ = s.Get(t.Context(), "k") // triggers a probe
		synctest.Wait()
		f.set(nil, 0, false)
		time.Sleep(2 * time.Second)
		_, _ = s.Get(t.Context(), "k")
		synctest.Wait()
		require.Len(t, l.of(cache.StoreUp), 1)
		_, err = s.Get(t.Context(), "k")
		require.NoError(t, err)
		require.NoError(t, s.Delete(t.Context(), "k"))
		_, err = s.Get(t.Context(), "k")
		require.ErrorIs(t, err, cache.ErrNotFound)
	})
}
