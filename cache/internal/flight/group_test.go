package flight_test

import (
	"context"
	"testing"

	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	g := newGroup()
	f, leading, leads := g.Join(ctx(), "k", "first")
	require.True(t, leads)
	require.Equal(t, 1, f.Attempt)
	same, following, leads := g.Join(ctx(), "k", "second")
	require.False(t, leads)
	require.Same(t, f, same)
	require.Equal(t, "first", same.Shared)
	other, _, leads := g.Join(ctx(), "another", "third")
	require.True(t, leads)
	require.NotSame(t, f, other)
	g.Remove(f)
	_, _, leads = g.Join(ctx(), "k", "fourth")
	require.True(t, leads, "a flight that was removed has no more followers")
	leading.Leave()
	require.NoError(t, f.Context().Err(), "a follower is left")
	following.Leave()
	require.Error(t, f.Context().Err())
	require.True(t, f.Abandoned())
}

// A flight that can no longer be read from the beginning gets no more followers.
func TestJoinAfterTheLimit(t *testing.T) {
	t.Parallel()
	g := newGroup()
	f, _, _ := g.Join(ctx(), "k", "")
	rec := record(f, live())
	write(t, rec, string(make([]byte, 1001)))
	next, _, leads := g.Join(ctx(), "k", "")
	require.True(t, leads)
	require.NotSame(t, f, next)
	require.NoError(t, rec.Close(false))
	_, whole := f.Body()
	require.False(t, whole)
}

func TestJoinAfterTheEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		panicked bool
		leads    bool
	}{"whole": {false, false}, "not whole": {true, true}} {
		g := newGroup()
		f, _, _ := g.Join(ctx(), "k", "")
		rec := record(f, live())
		write(t, rec, "abc")
		assert.Equal(t, tt.panicked, rec.Close(tt.panicked) != nil, name)
		_, r, leads := g.Join(ctx(), "k", "")
		assert.Equal(t, tt.leads, leads, name)
		if !leads {
			text, last := drain(r)
			assert.Equal(t, "abc", text, name)
			assert.True(t, last.Ended, name)
		}
	}
}

func TestSucceed(t *testing.T) {
	t.Parallel()
	g := newGroup()
	first, _, _ := g.Join(ctx(), "k", "")
	first.Resolve(flight.Failed, nil)
	second, _, leads := g.Succeed(ctx(), first, "k", "")
	require.True(t, leads)
	require.Equal(t, flight.MaxAttempts, second.Attempt)
	same, r, leads := g.Succeed(ctx(), first, "k", "")
	require.False(t, leads)
	require.Same(t, second, same)
	require.NotNil(t, r)
	rec := record(second, live())
	require.Error(t, rec.Close(true))
	same, r, leads = g.Succeed(ctx(), first, "k", "")
	require.False(t, leads)
	require.Same(t, second, same)
	require.Nil(t, r, "there is nothing to read")
	r.Leave() // a nil reader has nothing to leave
}

// A later request may have begun the next flight already.
func TestSucceedByALaterRequest(t *testing.T) {
	t.Parallel()
	g := newGroup()
	first, _, _ := g.Join(ctx(), "k", "")
	g.Remove(first)
	later, _, _ := g.Join(ctx(), "k", "")
	got, _, leads := g.Succeed(ctx(), first, "k", "")
	require.False(t, leads)
	require.Same(t, later, got)
}

func TestPin(t *testing.T) {
	t.Parallel()
	g := newGroup()
	f, ok := g.Pin(ctx(), "k", "")
	require.True(t, ok)
	_, ok = g.Pin(ctx(), "k", "")
	require.False(t, ok, "one at a time")
	rec := record(f, live())
	write(t, rec, "no reader is needed")
	_, r, leads := g.Join(ctx(), "k", "")
	require.False(t, leads)
	r.Leave()
	require.NoError(t, f.Context().Err())
	require.NoError(t, rec.Close(false))
	f.Cancel()
	require.Error(t, f.Context().Err())
	require.False(t, f.Abandoned())
}

func TestSolo(t *testing.T) {
	t.Parallel()
	g := newGroup()
	f, _ := g.Solo(ctx(), "")
	require.Equal(t, flight.MaxAttempts, f.Attempt, "it has no successor")
	g.Alias(f, "k")
	_, _, leads := g.Join(ctx(), "k", "")
	require.True(t, leads, "it has no followers")
}

func TestAlias(t *testing.T) {
	t.Parallel()
	g := newGroup()
	f, _, _ := g.Join(ctx(), "k", "")
	taken, _, _ := g.Join(ctx(), "taken", "")
	g.Alias(f, "variant")
	g.Alias(f, "taken")
	for key, want := range map[string]*flight.Flight[string]{"k": f, "variant": f, "taken": taken} {
		got, _, leads := g.Join(ctx(), key, "")
		require.False(t, leads, key)
		require.Same(t, want, got, key)
	}
	g.Remove(f)
	_, _, leads := g.Join(ctx(), "variant", "")
	require.True(t, leads)
}

// The production outlives the request of the leader, and keeps its values.
func TestContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	request, cancel := context.WithCancel(context.WithValue(ctx(), key{}, "value"))
	f, r, _ := newGroup().Join(request, "k", "")
	cancel()
	require.NoError(t, f.Context().Err())
	require.Equal(t, "value", f.Context().Value(key{}))
	r.Leave()
	require.Error(t, f.Context().Err())
	r.Leave() // more than once
}

func TestResolve(t *testing.T) {
	t.Parallel()
	f, _, _ := newGroup().Join(ctx(), "k", "")
	select {
	case <-f.Ready():
		require.Fail(t, "it is pending")
	default:
	}
	f.Resolve(flight.Stored, func() { f.Shared = "entry" })
	f.Resolve(flight.Failed, func() { f.Shared = "none" })
	<-f.Ready()
	require.Equal(t, flight.Stored, f.Outcome())
	require.Equal(t, "entry", f.Shared)
}

// A response without readers need not be written.
func TestWriteToAnAbandonedResponse(t *testing.T) {
	t.Parallel()
	f, r, _ := newGroup().Join(ctx(), "k", "")
	rec := record(f, live())
	write(t, rec, "a")
	r.Leave()
	_, err := rec.WriteString("b")
	require.ErrorContains(t, err, "all clients have disconnected")
	require.NoError(t, rec.Close(false))
	_, err = rec.WriteString("c")
	require.ErrorContains(t, err, "has ended")
}
