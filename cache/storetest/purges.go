package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/require"
)

// RunPurges runs the suite for a cache.Purges of two replicas, which the factory returns.
func RunPurges(t *testing.T, factory func(t *testing.T) (here, there cache.Purges)) {
	t.Helper()
	t.Run("revisions rise", func(t *testing.T) {
		here, there := factory(t)
		last := uint64(0)
		for i := range 10 {
			p := here
			if i%2 == 0 {
				p = there
			}
			revision, err := p.Purge(t.Context(), cache.ByModel(fmt.Sprint("m", i%3)))
			require.NoError(t, err)
			require.Greater(t, revision, last)
			last = revision
		}
	})
	t.Run("missed purges are returned", func(t *testing.T) {
		here, there := factory(t)
		one, two := cache.ByVersion(t.Name()+"1"), cache.ByVersion(t.Name()+"2")
		first, err := here.Purge(t.Context(), one)
		require.NoError(t, err)
		second, err := here.Purge(t.Context(), two)
		require.NoError(t, err)
		all, err := there.Since(t.Context(), first-1)
		require.NoError(t, err)
		require.Contains(t, all, cache.Purge{Tag: one, Revision: first})
		require.Contains(t, all, cache.Purge{Tag: two, Revision: second})
		all, err = there.Since(t.Context(), first)
		require.NoError(t, err)
		require.NotContains(t, all, cache.Purge{Tag: one, Revision: first})
		all, err = there.Since(t.Context(), second)
		require.NoError(t, err)
		require.Empty(t, all)
		again, err := here.Purge(t.Context(), one)
		require.NoError(t, err)
		all, err = there.Since(t.Context(), 0)
		require.NoError(t, err)
		i := slices.IndexFunc(all, func(p cache.Purge) bool { return p.Tag == one })
		require.Equal(t, again, all[i].Revision, "the latest revision")
	})
	t.Run("watchers observe them", func(t *testing.T) { watched(t, factory) })
}

func watched(t *testing.T, factory func(t *testing.T) (here, there cache.Purges)) {
	t.Helper()
	here, there := factory(t)
	ctx, cancel := context.WithCancel(t.Context())
	observed, done := make(chan cache.Purge, 100), make(chan error)
	go func() { done <- there.Watch(ctx, func(p cache.Purge) { observed <- p }) }()
	next := func() cache.Purge {
		select {
		case p := <-observed:
			return p
		case <-time.After(patience):
			require.Fail(t, "no purge was observed")
			return cache.Purge{}
		}
	}
	require.Equal(t, cache.Purge{}, next(), "it is subscribed")
	for _, tag := range []cache.Tag{cache.Everything, cache.ByModel("a b\nc"), cache.ByTenant("t"), cache.ByKey("k")} {
		revision, err := here.Purge(t.Context(), tag)
		require.NoError(t, err)
		require.Equal(t, cache.Purge{Tag: tag, Revision: revision}, next())
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}
