package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/require"
)

// RunClaims runs the suite for a cache.Claims of two replicas, which the factory returns.
func RunClaims(t *testing.T, factory func(t *testing.T) (here, there cache.Claims)) {
	t.Helper()
	claim := func(t *testing.T, c cache.Claims, key, owner string, want bool) {
		t.Helper()
		got, err := c.Claim(t.Context(), t.Name()+key, owner, time.Minute)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	t.Run("one owner has it", func(t *testing.T) {
		here, there := factory(t)
		claim(t, here, "", "a", true)
		claim(t, there, "", "b", false)
		claim(t, here, "", "b", false)
		claim(t, here, "", "a", true)
		claim(t, there, "another", "b", true)
	})
	t.Run("until it is released", func(t *testing.T) {
		here, there := factory(t)
		claim(t, here, "", "a", true)
		require.NoError(t, there.Release(t.Context(), t.Name(), "b"))
		claim(t, there, "", "b", false)
		require.NoError(t, here.Release(t.Context(), t.Name(), "a"))
		require.NoError(t, here.Release(t.Context(), t.Name(), "a"))
		claim(t, there, "", "b", true)
	})
	t.Run("or it expires", func(t *testing.T) {
		here, there := factory(t)
		mine, err := here.Claim(t.Context(), t.Name(), "a", 50*time.Millisecond)
		require.NoError(t, err)
		require.True(t, mine)
		require.Eventually(t, func() bool {
			mine, err := there.Claim(t.Context(), t.Name(), "b", time.Minute)
			return err == nil && mine
		}, patience, 10*time.Millisecond)
	})
	t.Run("unless it is renewed", func(t *testing.T) {
		here, there := factory(t)
		mine, err := here.Claim(t.Context(), t.Name(), "a", time.Millisecond)
		require.NoError(t, err)
		require.True(t, mine)
		claim(t, here, "", "a", true) // for a minute
		<-time.After(20 * time.Millisecond)
		claim(t, there, "", "b", false)
	})
	t.Run("a canceled call returns an error", func(t *testing.T) {
		here, _ := factory(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := here.Claim(ctx, t.Name(), "a", time.Minute)
		require.Error(t, err)
	})
}
