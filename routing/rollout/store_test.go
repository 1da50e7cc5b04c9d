package rollout_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/routing/rollout/storetest"
	"github.com/stretchr/testify/require"
)

// shelf is a Store that can be down.
type shelf struct {
	rollout.Store

	mu   sync.Mutex
	down error
}

func (s *shelf) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

func (s *shelf) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func (s *shelf) Load(ctx context.Context, name string) (rollout.Progress, error) {
	if err := s.failure(); err != nil {
		return rollout.Progress{}, err
	}
	return s.Store.Load(ctx, name)
}

func (s *shelf) Save(ctx context.Context, name string, p rollout.Progress) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.Store.Save(ctx, name, p)
}

func TestFileStore(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "made")
	storetest.Run(t, func(*testing.T) rollout.Store { return rollout.NewFileStore(folder) })
	s := rollout.NewFileStore(filepath.Join(folder, "other"))
	require.NoError(t, s.Save(t.Context(), "../a/b:c", rollout.Progress{Revision: 1}))
	files, err := os.ReadDir(filepath.Join(folder, "other"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "other", files[0].Name()), []byte("{"), 0o600))
	_, err = s.Load(t.Context(), "../a/b:c")
	require.ErrorContains(t, err, files[0].Name())
	require.Error(t, s.Save(t.Context(), "../a/b:c", rollout.Progress{Revision: 2}))
}

// A restarted process continues at the saved step; a rollback stays in force.
func TestProcessRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{Store: rollout.NewFileStore(t.TempDir())}
		cfg := rollout.Config{Steps: []float64{0.1, 0.5, 1}, Store: s, Patience: -1}
		before := startRelease(t, cfg)
		synctest.Wait()
		require.NoError(t, before.Promote(t.Context()))
		synctest.Wait()

		again := newRelease(t, cfg)
		require.Equal(t, "old", again.ask("u"), "the store was not read yet")
		require.ErrorIs(t, again.Promote(t.Context()), rollout.ErrState)
		s.set(errors.New("down"))
		require.ErrorContains(t, again.Restore(t.Context()), "down")
		require.Zero(t, again.Status().Share)
		s.set(nil)
		require.NoError(t, again.Restore(t.Context()))
		require.InDelta(t, 0.5, again.Status().Share, 0)

		fewer := cfg
		fewer.Steps = []float64{0.2}
		shorter := newRelease(t, fewer)
		require.NoError(t, shorter.Restore(t.Context()))
		require.InDelta(t, 0.2, shorter.Status().Share, 0)

		require.NoError(t, before.RollBack(t.Context()))
		synctest.Wait()
		last := newRelease(t, cfg)
		require.NoError(t, last.Restore(t.Context()))
		require.Equal(t, rollout.RolledBack, last.Status().State)
		require.Zero(t, last.Status().Share)
	})
}

// Replicas are at the same step within an interval. A rollback at one of them rolls all
// back, also when another one advances at the same moment.
func TestReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{Store: rollout.NewFileStore(t.TempDir())}
		cfg := rollout.Config{Steps: []float64{0.1, 0.5, 1}, Store: s, Replicas: 2, Patience: -1}
		a, b := startRelease(t, cfg), startRelease(t, cfg)
		synctest.Wait()
		require.NoError(t, a.Promote(t.Context()))
		time.Sleep(11 * time.Second)
		require.InDelta(t, 0.5, b.Status().Share, 0)
		for i := range 300 {
			user := strconv.Itoa(i)
			require.Equal(t, a.ask(user), b.ask(user))
		}

		s.set(errors.New("down"))
		require.NoError(t, b.Promote(t.Context()))
		b.canary = routetest.Serves("new", 500)
		require.NoError(t, a.RollBack(t.Context()))
		time.Sleep(30 * time.Second)
		require.Contains(t, a.reported(), "error")
		s.set(nil)
		time.Sleep(11 * time.Second)
		time.Sleep(11 * time.Second)
		require.Equal(t, rollout.RolledBack, a.Status().State)
		require.Equal(t, rollout.RolledBack, b.Status().State)

		require.NoError(t, b.Restart(t.Context()))
		time.Sleep(11 * time.Second)
		require.Equal(t, rollout.Running, a.Status().State)
		require.InDelta(t, 0.1, a.Status().Share, 0)
	})
}
