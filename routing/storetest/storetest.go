// Package storetest says by test what is asked of a routing.RolloutStore.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) routing.RolloutStore { return mystore.New(...) })
//	}
package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/require"
)

// Run runs the suite. Every call of the factory may return the same store.
func Run(t *testing.T, factory func(t *testing.T) routing.RolloutStore) {
	t.Helper()
	t.Run("what was saved is loaded", func(t *testing.T) {
		s, name := factory(t), t.Name()+`/m:"v 1"`
		none, err := s.Load(t.Context(), name)
		require.NoError(t, err)
		require.Zero(t, none)
		want := routing.Progress{Revision: 1, Round: 3, State: routing.Held, Reason: "waited\n", Step: 2, Share: 0.2, Since: time.Unix(1700000000, 123).UTC()}
		require.NoError(t, s.Save(t.Context(), name, want))
		got, err := s.Load(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, want, got)
		other, err := s.Load(t.Context(), name+"2")
		require.NoError(t, err)
		require.Zero(t, other)
	})
	t.Run("only the next revision is taken", func(t *testing.T) {
		s, name := factory(t), t.Name()
		require.ErrorIs(t, s.Save(t.Context(), name, routing.Progress{Revision: 2}), routing.ErrConflict)
		require.NoError(t, s.Save(t.Context(), name, routing.Progress{Revision: 1, Step: 1}))
		for _, revision := range []uint64{1, 3} {
			require.ErrorIs(t, s.Save(t.Context(), name, routing.Progress{Revision: revision, Step: 9}), routing.ErrConflict)
		}
		require.NoError(t, s.Save(t.Context(), name, routing.Progress{Revision: 2, Step: 2}))
		got, err := s.Load(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, 2, got.Step)
	})
	t.Run("of many at once one is taken", func(t *testing.T) {
		s, name := factory(t), t.Name()
		var taken atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				err := s.Save(t.Context(), name, routing.Progress{Revision: 1, Step: i})
				if err == nil {
					taken.Add(1)
				} else if !errors.Is(err, routing.ErrConflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, taken.Load())
	})
	t.Run("a context that ended", func(t *testing.T) {
		s := factory(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Load(ctx, t.Name())
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, s.Save(ctx, t.Name(), routing.Progress{Revision: 1}), context.Canceled)
	})
}
