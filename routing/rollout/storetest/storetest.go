// Package storetest is a test suite for implementations of rollout.Store.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) rollout.Store { return mystore.New(...) })
//	}
package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/stretchr/testify/require"
)

// Run runs the suite. The factory may return the same store on every call.
func Run(t *testing.T, factory func(t *testing.T) rollout.Store) {
	t.Helper()
	t.Run("load returns the latest save", func(t *testing.T) {
		s, name := factory(t), t.Name()+`/m:"v 1"`
		none, err := s.Load(t.Context(), name)
		require.NoError(t, err)
		require.Zero(t, none)
		want := rollout.Progress{Revision: 1, Round: 3, State: rollout.Held, Reason: "waited\n", Step: 2, Share: 0.2, Since: time.Unix(1700000000, 123).UTC()}
		require.NoError(t, s.Save(t.Context(), name, want))
		got, err := s.Load(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, want, got)
		other, err := s.Load(t.Context(), name+"2")
		require.NoError(t, err)
		require.Zero(t, other)
	})
	t.Run("save accepts only the next revision", func(t *testing.T) {
		s, name := factory(t), t.Name()
		require.ErrorIs(t, s.Save(t.Context(), name, rollout.Progress{Revision: 2}), rollout.ErrConflict)
		require.NoError(t, s.Save(t.Context(), name, rollout.Progress{Revision: 1, Step: 1}))
		for _, revision := range []uint64{1, 3} {
			require.ErrorIs(t, s.Save(t.Context(), name, rollout.Progress{Revision: revision, Step: 9}), rollout.ErrConflict)
		}
		require.NoError(t, s.Save(t.Context(), name, rollout.Progress{Revision: 2, Step: 2}))
		got, err := s.Load(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, 2, got.Step)
	})
	t.Run("one of several concurrent saves wins", func(t *testing.T) {
		s, name := factory(t), t.Name()
		var saved atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				err := s.Save(t.Context(), name, rollout.Progress{Revision: 1, Step: i})
				if err == nil {
					saved.Add(1)
				} else if !errors.Is(err, rollout.ErrConflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, saved.Load())
	})
	t.Run("canceled context", func(t *testing.T) {
		s := factory(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Load(ctx, t.Name())
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, s.Save(ctx, t.Name(), rollout.Progress{Revision: 1}), context.Canceled)
	})
}
