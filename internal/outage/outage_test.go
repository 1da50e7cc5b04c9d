package outage_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/outage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errStore = errors.New("connection refused")

// store is a stand-in, and what its monitor reported.
type store struct {
	outage.Monitor
	up, panics bool
	probes     int
	events     []string
}

func newStore() *store {
	s := &store{}
	s.Probe = func(context.Context) {
		s.probes++
		if s.panics {
			panic("store")
		}
		if s.up {
			s.Recover(func() bool { return true })
		}
	}
	s.OnDown = func(_ context.Context, err error) { s.events = append(s.events, "down: "+err.Error()) }
	s.OnUp = func(context.Context) { s.events = append(s.events, "up") }
	return s
}

func TestAStoreIsProbedUntilItIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		require.False(t, s.IsDown(t.Context()))
		s.Fail(t.Context(), errStore)
		s.Fail(t.Context(), errStore)
		for range 25 { // two and a half seconds
			assert.True(t, s.IsDown(t.Context()))
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		assert.Equal(t, 2, s.probes, "one each second")
		s.up = true
		time.Sleep(outage.ProbeEvery)
		assert.True(t, s.IsDown(t.Context()), "a request does not wait for the probe")
		synctest.Wait()
		assert.False(t, s.IsDown(t.Context()))
		assert.Equal(t, []string{"down: connection refused", "up"}, s.events)
	})
}

func TestAnUnusedStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.Fail(t.Context(), errStore)
		time.Sleep(time.Hour)
		assert.Zero(t, s.probes)
	})
}

func TestAClientThatLeftProvesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := newStore()
	s.Fail(ctx, ctx.Err())
	assert.False(t, s.IsDown(t.Context()))
	assert.Empty(t, s.events)
}

func TestAProbeThatPanicsFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.panics = true
		s.Fail(t.Context(), errStore)
		time.Sleep(2 * outage.ProbeEvery)
		require.True(t, s.IsDown(t.Context()))
		synctest.Wait()
		assert.Equal(t, 1, s.probes)
		s.panics, s.up = false, true
		time.Sleep(2 * outage.ProbeEvery)
		require.True(t, s.IsDown(t.Context()))
		synctest.Wait()
		assert.False(t, s.IsDown(t.Context()), "it is probed again")
	})
}

// What is kept for a store that is down is complete: nothing is added after its recovery.
func TestRecoveryAndWhatIsKeptExcludeEachOther(t *testing.T) {
	t.Parallel()
	s := newStore()
	kept := 0
	keep := func() { kept++ }
	assert.False(t, s.WhileDown(keep), "it is up")
	s.Fail(t.Context(), errStore)
	assert.True(t, s.WhileDown(keep))
	assert.False(t, s.Recover(func() bool { return kept == 0 }), "there is something to send first")
	kept = 0
	assert.True(t, s.Recover(func() bool { return kept == 0 }))
	assert.False(t, s.WhileDown(keep))
	assert.Zero(t, kept)
	s.Relapse()
	assert.True(t, s.WhileDown(keep))
	assert.Equal(t, []string{"down: connection refused"}, s.events)
}
