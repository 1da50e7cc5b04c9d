package routing_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/require"
)

// memory is a RolloutStore whose past can be changed.
type memory struct {
	mu    sync.Mutex
	saved map[string]routing.Progress
	stuck bool // every save meets a conflict
	saves int
	lost  int // so many answers of Save get lost
}

func newMemory() *memory { return &memory{saved: map[string]routing.Progress{}} }

func (m *memory) Load(ctx context.Context, name string) (routing.Progress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saved[name], ctx.Err()
}

func (m *memory) Save(ctx context.Context, name string, p routing.Progress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saves++; ctx.Err() != nil {
		return ctx.Err()
	}
	if m.stuck || m.saved[name].Revision != p.Revision-1 {
		return routing.ErrConflict
	}
	m.saved[name] = p
	if m.lost > 0 {
		m.lost--
		return errors.New("the answer was lost")
	}
	return nil
}

// edit changes what was saved, of all.
func (m *memory) edit(f func(*routing.Progress)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, p := range m.saved {
		f(&p)
		m.saved[name] = p
	}
}

// A store that forgot, as a server that evicts or that failed over, gives a canary that
// was rolled back nothing.
func TestAttackRolloutStoreForgets(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*routing.Progress){
		"everything":      func(p *routing.Progress) { *p = routing.Progress{} },
		"the last change": func(p *routing.Progress) { p.Revision, p.State, p.Step = p.Revision-1, routing.Running, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				cfg := routing.RolloutConfig{Steps: []float64{0.1, 0.5, 1}, Store: m, Replicas: 2}
				a, b := startRelease(t, cfg), startRelease(t, cfg)
				synctest.Wait()
				require.NoError(t, a.Promote(t.Context()))
				synctest.Wait()
				require.NoError(t, a.RollBack(t.Context()))
				time.Sleep(11 * time.Second)
				m.edit(forget)
				time.Sleep(time.Minute)
				for _, r := range []*release{a, b} {
					require.Equal(t, routing.RolledBack, r.Status().State)
					require.Zero(t, r.Status().Share)
				}
				require.NoError(t, b.Restart(t.Context()))
				time.Sleep(11 * time.Second)
				require.Equal(t, routing.Running, a.Status().State, "and they are in step again")
			})
		})
	}
}

// Other steps than those at which progress was saved: nobody gets more than before.
func TestAttackRolloutOtherSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		cfg := routing.RolloutConfig{Steps: []float64{0.01, 0.05, 0.2, 1}, Store: m, Patience: -1}
		a := startRelease(t, cfg)
		synctest.Wait()
		require.NoError(t, a.Promote(t.Context()))
		require.NoError(t, a.Promote(t.Context()))
		synctest.Wait()
		cfg.Steps = []float64{0.1, 1}
		b := startRelease(t, cfg)
		time.Sleep(time.Minute)
		require.InDelta(t, 0.1, b.Status().Share, 1e-9)
		require.Equal(t, routing.Running, b.Status().State)
		require.Equal(t, routing.Running, a.Status().State)
	})
}

// The progress of one canary is not that of the next one, whatever the rollout's name is.
func TestAttackRolloutOfTheNextCanary(t *testing.T) {
	t.Parallel()
	m := newMemory()
	one, err := routing.NewRollout(routing.RolloutConfig{Name: "release", Stable: "v1", Canary: "v2", Store: m})
	require.NoError(t, err)
	two, err := routing.NewRollout(routing.RolloutConfig{Name: "release", Stable: "v2", Canary: "v3", Store: m})
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

// While its store does not answer, a rollout stays as it is: it does not go on alone.
func TestAttackRolloutWaitsForItsStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{RolloutStore: newMemory()}
		r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}, MinKeys: 10, Store: s})
		synctest.Wait()
		s.set(errors.New("down"))
		for i := range 8000 {
			r.ask(strconv.Itoa(i))
		}
		require.InDelta(t, 0.5, r.Status().Share, 1e-9)
		s.set(nil)
		time.Sleep(time.Minute)
		require.Equal(t, routing.Done, r.Status().State)
	})
}

// A rollout that ends right after it was rolled back still says so to its store.
func TestAttackRolloutSavesAtItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{RolloutStore: routing.NewFileStore(filepath.Join(t.TempDir(), "r"))}
		r := newRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}, Store: s})
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
		again := newRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}, Store: s})
		require.NoError(t, again.Restore(t.Context()))
		require.Equal(t, routing.RolledBack, again.Status().State)
	})
}

// A store that will not take anything is asked again at the next interval, not at once.
func TestAttackRolloutStoreIsStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.5, 1}, Store: m})
		synctest.Wait()
		m.mu.Lock()
		m.stuck = true
		m.mu.Unlock()
		require.NoError(t, r.RollBack(t.Context()))
		time.Sleep(time.Minute)
		m.mu.Lock()
		defer m.mu.Unlock()
		require.Less(t, m.saves, 60)
		require.Contains(t, r.told(), "error")
	})
}

// Who pauses a rollout while another replica goes on has it paused.
func TestAttackRolloutPausedMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := routing.RolloutConfig{Steps: []float64{0.1, 0.5, 1}, Store: newMemory(), Replicas: 2, Patience: -1}
		a, b := startRelease(t, cfg), startRelease(t, cfg)
		synctest.Wait()
		require.NoError(t, a.Promote(t.Context()))
		synctest.Wait()
		require.NoError(t, b.Pause(t.Context())) // it does not know yet
		time.Sleep(time.Minute)
		for _, r := range []*release{a, b} {
			require.Equal(t, routing.Paused, r.Status().State)
			require.InDelta(t, 0.5, r.Status().Share, 1e-9)
		}
	})
}

// What was decided after a save whose answer was lost is not undone by that save.
func TestAttackRolloutLostAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.1, 0.3, 0.5, 1}, Store: m, Patience: -1})
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

// A restart knows nothing, also with a single step, and at a replica that had not heard of
// the end meanwhile.
func TestAttackRolloutRestartKnowsNothing(t *testing.T) {
	t.Parallel()
	t.Run("one step", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := startRelease(t, routing.RolloutConfig{Steps: []float64{0.5}})
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
			cfg := routing.RolloutConfig{Steps: []float64{0.5, 1}, Store: newMemory(), Replicas: 2}
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
