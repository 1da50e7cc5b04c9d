package routing_test

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

	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/storetest"
	"github.com/stretchr/testify/require"
)

// shelf is a RolloutStore that can be out of order.
type shelf struct {
	routing.RolloutStore

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

func (s *shelf) Load(ctx context.Context, name string) (routing.Progress, error) {
	if err := s.failure(); err != nil {
		return routing.Progress{}, err
	}
	return s.RolloutStore.Load(ctx, name)
}

func (s *shelf) Save(ctx context.Context, name string, p routing.Progress) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.RolloutStore.Save(ctx, name, p)
}

func TestFileStore(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "made")
	storetest.Run(t, func(*testing.T) routing.RolloutStore { return routing.NewFileStore(folder) })
	s := routing.NewFileStore(filepath.Join(folder, "other"))
	require.NoError(t, s.Save(t.Context(), "../a/b:c", routing.Progress{Revision: 1}))
	files, err := os.ReadDir(filepath.Join(folder, "other"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "other", files[0].Name()), []byte("{"), 0o600))
	_, err = s.Load(t.Context(), "../a/b:c")
	require.ErrorContains(t, err, files[0].Name())
	require.Error(t, s.Save(t.Context(), "../a/b:c", routing.Progress{Revision: 2}))
}

// A restart goes on where it was; a rollout that was rolled back stays so.
func TestRolloutAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{RolloutStore: routing.NewFileStore(t.TempDir())}
		cfg := routing.RolloutConfig{Steps: []float64{0.1, 0.5, 1}, Store: s, Patience: -1}
		before := startRelease(t, cfg)
		synctest.Wait()
		require.NoError(t, before.Promote(t.Context()))
		synctest.Wait()

		again := newRelease(t, cfg)
		require.Equal(t, "old", again.ask("u"), "who knows what it was")
		require.ErrorIs(t, again.Promote(t.Context()), routing.ErrRollout)
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
		require.Equal(t, routing.RolledBack, last.Status().State)
		require.Zero(t, last.Status().Share)
	})
}

// Replicas are at the same step within an interval, and one that sees that the canary is
// bad rolls all of them back, also when another goes on at the same moment.
func TestRolloutOfReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{RolloutStore: routing.NewFileStore(t.TempDir())}
		cfg := routing.RolloutConfig{Steps: []float64{0.1, 0.5, 1}, Store: s, Replicas: 2, Patience: -1}
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
		b.canary = says("new", 500)
		require.NoError(t, a.RollBack(t.Context()))
		time.Sleep(30 * time.Second)
		require.Contains(t, a.told(), "error")
		s.set(nil)
		time.Sleep(11 * time.Second)
		time.Sleep(11 * time.Second)
		require.Equal(t, routing.RolledBack, a.Status().State)
		require.Equal(t, routing.RolledBack, b.Status().State)

		require.NoError(t, b.Restart(t.Context()))
		time.Sleep(11 * time.Second)
		require.Equal(t, routing.Running, a.Status().State)
		require.InDelta(t, 0.1, a.Status().Share, 0)
	})
}
