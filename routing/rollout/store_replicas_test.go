package rollout_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/stretchr/testify/require"
)

// memory is a Store with editable content.
type memory struct {
	mu    sync.Mutex
	saved map[string]rollout.Progress
	stuck bool // every save meets a conflict
	saves int
	lost  int // so many results of Save are lost
}

func newMemory() *memory { return &memory{saved: map[string]rollout.Progress{}} }

func (m *memory) Load(ctx context.Context, name string) (rollout.Progress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saved[name], ctx.Err()
}

func (m *memory) Save(ctx context.Context, name string, p rollout.Progress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saves++; ctx.Err() != nil {
		return ctx.Err()
	}
	if m.stuck || m.saved[name].Revision != p.Revision-1 {
		return rollout.ErrConflict
	}
	m.saved[name] = p
	if m.lost > 0 {
		m.lost--
		return errors.New("the response was lost")
	}
	return nil
}

// edit changes every saved progress.
func (m *memory) edit(f func(*rollout.Progress)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, p := range m.saved {
		f(&p)
		m.saved[name] = p
	}
}

// A canary that was rolled back gets no requests when the store loses data, by eviction or
// failover.
func TestStoreLosesData(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*rollout.Progress){
		"everything":      func(p *rollout.Progress) { *p = rollout.Progress{} },
		"the last change": func(p *rollout.Progress) { p.Revision, p.State, p.Step = p.Revision-1, rollout.Running, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				cfg := rollout.Config{Steps: []float64{0.1, 0.5, 1}, Store: m, Replicas: 2}
				a, b := startRelease(t, cfg), startRelease(t, cfg)
				synctest.Wait()
				require.NoError(t, a.Promote(t.Context()))
				synctest.Wait()
				require.NoError(t, a.RollBack(t.Context()))
				time.Sleep(11 * time.Second)
				m.edit(lose)
				time.Sleep(time.Minute)
				for _, r := range []*release{a, b} {
					require.Equal(t, rollout.RolledBack, r.Status().State)
					require.Zero(t, r.Status().Share)
				}
				require.NoError(t, b.Restart(t.Context()))
				time.Sleep(11 * time.Second)
				require.Equal(t, rollout.Running, a.Status().State, "and they are in step again")
			})
		})
	}
}

// With other steps than those of the saved progress, the share does not rise.
func TestOtherSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		cfg := rollout.Config{Steps: []float64{0.01, 0.05, 0.2, 1}, Store: m, Patience: -1}
		a := startRelease(t, cfg)
		synctest.Wait()
		require.NoError(t, a.Promote(t.Context()))
		require.NoError(t, a.Promote(t.Context()))
		synctest.Wait()
		cfg.Steps = []float64{0.1, 1}
		b := startRelease(t, cfg)
		time.Sleep(time.Minute)
		require.InDelta(t, 0.1, b.Status().Share, 1e-9)
		require.Equal(t, rollout.Running, b.Status().State)
		require.Equal(t, rollout.Running, a.Status().State)
	})
}

// The next canary does not inherit the progress of a rollout of the same name.
func TestNextCanary(t *testing.T) {
	t.Parallel()
	m := newMemory()
	one, err := rollout.New(rollout.Config{Name: "release", Stable: "v1", Canary: "v2", Store: m})
	require.NoError(t, err)
	two, err := rollout.New(rollout.Config{Name: "release", Stable: "v2", Canary: "v3", Store: m})
	require.NoError(t, err)
	require.NoError(t, one.Restore(t.Context()))
	for range 4 {
		require.NoError(t, one.Promote(t.Context()))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- one.Run(ctx) }()
	require.Eventually(t, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.saved) > 0
	}, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, two.Restore(t.Context()))
	require.InDelta(t, 0.01, two.Status().Share, 1e-9, "%v", two.Status().State)
}

// While its store is down a rollout stays at its step.
func TestRolloutWaitsForItsStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{Store: newMemory()}
		r := startRelease(t, rollout.Config{Steps: []float64{0.5, 1}, MinKeys: 10, Store: s})
		synctest.Wait()
		s.set(errors.New("down"))
		for i := range 8000 {
			r.ask(strconv.Itoa(i))
		}
		require.InDelta(t, 0.5, r.Status().Share, 1e-9)
		s.set(nil)
		time.Sleep(time.Minute)
		require.Equal(t, rollout.Done, r.Status().State)
	})
}

// A rollback right before the end of Run is saved.
func TestRollbackIsSavedAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{Store: rollout.NewFileStore(filepath.Join(t.TempDir(), "r"))}
		r := newRelease(t, rollout.Config{Steps: []float64{0.5, 1}, Store: s})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		s.set(errors.New("down for a moment"))
		require.NoError(t, r.RollBack(t.Context()))
		synctest.Wait()
		s.set(nil)
		cancel()
		require.NoError(t, <-done)
		again := newRelease(t, rollout.Config{Steps: []float64{0.5, 1}, Store: s})
		require.NoError(t, again.Restore(t.Context()))
		require.Equal(t, rollout.RolledBack, again.Status().State)
	})
}

// A save that always conflicts is repeated at the next interval, not at once.
func TestSaveAlwaysConflicts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := startRelease(t, rollout.Config{Steps: []float64{0.5, 1}, Store: m})
		synctest.Wait()
		m.mu.Lock()
		m.stuck = true
		m.mu.Unlock()
		require.NoError(t, r.RollBack(t.Context()))
		time.Sleep(time.Minute)
		m.mu.Lock()
		defer m.mu.Unlock()
		require.Less(t, m.saves, 60)
		require.Contains(t, r.reported(), "error")
	})
}

// A pause wins over a concurrent advance of another replica.
func TestPauseWinsOverAdvance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := rollout.Config{Steps: []float64{0.1, 0.5, 1}, Store: newMemory(), Replicas: 2, Patience: -1}
		a, b := startRelease(t, cfg), startRelease(t, cfg)
		synctest.Wait()
		require.NoError(t, a.Promote(t.Context()))
		synctest.Wait()
		require.NoError(t, b.Pause(t.Context())) // this replica has not read the promotion yet
		time.Sleep(time.Minute)
		for _, r := range []*release{a, b} {
			require.Equal(t, rollout.Paused, r.Status().State)
			require.InDelta(t, 0.5, r.Status().Share, 1e-9)
		}
	})
}

// A save with a lost response does not undo a later change.
func TestSaveWithALostResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := startRelease(t, rollout.Config{Steps: []float64{0.1, 0.3, 0.5, 1}, Store: m, Patience: -1})
		synctest.Wait()
		m.mu.Lock()
		m.lost = 1
		m.mu.Unlock()
		require.NoError(t, r.Promote(t.Context()))
		synctest.Wait()
		require.NoError(t, r.Promote(t.Context()))
		time.Sleep(time.Minute)
		require.InDelta(t, 0.5, r.Status().Share, 1e-9)
	})
}

// A restart drops all measurements, also with a single step, and at a replica that has not
// read the rollback meanwhile.
func TestRestartDropsMeasurements(t *testing.T) {
	t.Parallel()
	t.Run("one step", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, rollout.Config{Steps: []float64{0.5}})
			for i := range 200 {
				r.ask(strconv.Itoa(i))
			}
			require.NoError(t, r.Promote(t.Context()))
			require.NoError(t, r.Restart(t.Context()))
			require.Zero(t, r.Status().Checks[0].CanaryKeys)
		})
	})
	t.Run("replica", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			cfg := rollout.Config{Steps: []float64{0.5, 1}, Store: newMemory(), Replicas: 2}
			a, b := startRelease(t, cfg), startRelease(t, cfg)
			synctest.Wait()
			for i := range 40 {
				b.ask(strconv.Itoa(i))
			}
			require.NoError(t, a.RollBack(t.Context()))
			synctest.Wait()
			require.NoError(t, a.Restart(t.Context()))
			time.Sleep(11 * time.Second)
			require.Zero(t, b.Status().Checks[0].CanaryKeys)
		})
	})
}
