package recent_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache/internal/recent"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Unix(1_700_000_000, 0)

func TestZeroValueIsEmpty(t *testing.T) {
	t.Parallel()
	var times recent.Times
	require.True(t, times.Empty())
	require.False(t, times.After("a", start))
	require.True(t, times.Latest("a").IsZero())
	times.Remove("a")
	require.True(t, times.Empty())
}

func TestTimesOfAKey(t *testing.T) {
	t.Parallel()
	var times recent.Times
	times.Add("a", start)
	require.False(t, times.Empty())
	require.True(t, times.After("a", start.Add(-1)))
	require.False(t, times.After("a", start))
	require.False(t, times.After("b", start.Add(-1)))
	require.Equal(t, start, times.Latest("a"))
	require.True(t, times.Latest("b").IsZero())
	times.Add("a", start.Add(time.Second))
	require.Equal(t, start.Add(time.Second), times.Latest("a"))
	times.Remove("a")
	require.True(t, times.Latest("a").IsZero())
}

// A key that was forgotten may have had the latest of the forgotten times.
func TestForgottenKeys(t *testing.T) {
	t.Parallel()
	var times recent.Times
	times.Add("first", start.Add(time.Hour))
	for i := range recent.Max {
		times.Add(strconv.Itoa(i), start)
	}
	require.Equal(t, start.Add(time.Hour), times.Latest("first"))
	require.Equal(t, start.Add(time.Hour), times.Latest("any other"))
	require.Equal(t, start.Add(time.Hour), times.Latest("0"), "the later of both")
	require.False(t, times.After("first", start), "its own time is unknown")
}
