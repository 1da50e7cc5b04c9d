package idle_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/ginfer/ginfer/internal/idle"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWaitReturnsAtOnceWhenIdle(t *testing.T) {
	t.Parallel()
	var g idle.Gate
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, g.Wait(ended), "idle comes before a context that has ended")
}

func TestWaitReturnsWithTheLastPiece(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g idle.Gate
		end := make(chan struct{})
		for range 3 {
			g.Go(func() { <-end })
		}
		assert.Equal(t, 3, g.Len())
		waits := make(chan error, 2)
		for range 2 {
			go func() { waits <- g.Wait(t.Context()) }()
		}
		end <- struct{}{}
		end <- struct{}{}
		synctest.Wait()
		assert.Empty(t, waits, "one is still under way")
		end <- struct{}{}
		require.NoError(t, <-waits)
		require.NoError(t, <-waits)
		assert.Zero(t, g.Len())
	})
}

func TestWaitReturnsTheCauseOfItsContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("shutdown took too long")
	ctx, cancel := context.WithCancelCause(t.Context())
	var g idle.Gate
	g.Add()
	cancel(cause)
	require.ErrorIs(t, g.Wait(ctx), cause)
	g.Done()
	require.NoError(t, g.Wait(ctx))
	g.Add() // and again
	require.ErrorIs(t, g.Wait(ctx), cause)
	g.Done()
}

func ExampleGate() {
	var g idle.Gate
	g.Go(func() { fmt.Println("refreshed") })
	fmt.Println(g.Wait(context.Background()))
	// Output:
	// refreshed
	// <nil>
}
