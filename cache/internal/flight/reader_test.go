package flight_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A reader that joins late gets the body from the beginning.
func TestReadersBeginAtTheBeginning(t *testing.T) {
	t.Parallel()
	g := newGroup()
	f, _, _ := g.Join(ctx(), "k", "")
	rec := record(f, live())
	for i, part := range []string{"a", "b", "c"} {
		write(t, rec, part)
		_, r, leads := g.Join(ctx(), "k", "")
		require.False(t, leads)
		text, last := drain(r)
		require.Equal(t, "abc"[:i+1], text)
		require.NotNil(t, last.Wait)
		r.Leave()
	}
	require.NoError(t, rec.Close(false))
}

func TestWaitForMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		f, _, _ := g.Join(ctx(), "k", "")
		rec := record(f, live())
		_, r, _ := g.Join(ctx(), "k", "")
		go func() {
			time.Sleep(time.Second)
			write(t, rec, "a")
			time.Sleep(time.Second)
			assert.NoError(t, rec.Close(false))
		}()
		begin := time.Now()
		<-r.Next().Wait
		require.Equal(t, time.Second, time.Since(begin))
		text, last := drain(r)
		require.Equal(t, "a", text)
		<-last.Wait
		require.Equal(t, 2*time.Second, time.Since(begin))
		require.True(t, r.Next().Ended)
	})
}

// The leader's reader waits for the end from the beginning, and then gets no bytes.
func TestAwaitEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		size int
		want flight.Part
	}{
		"buffered": {1000, flight.Part{Ended: true}},
		"too long": {1001, flight.Part{Lost: true}},
	} {
		g := newGroup()
		f, _, _ := g.Join(ctx(), "k", "")
		rec := record(f, live())
		_, r, _ := g.Join(ctx(), "k", "")
		r.AwaitEnd()
		write(t, rec, strings.Repeat("x", tt.size))
		require.NoError(t, rec.Close(false), name)
		assert.Equal(t, tt.want, r.Next(), name)
	}
}

// slow joins a group with a reader that reads, and one that does not.
func slow(t *testing.T) (rec *flight.Recorder, reads, sleeps *flight.Reader) {
	t.Helper()
	g := newGroup()
	f, leading, _ := g.Join(ctx(), "k", "")
	_, reads, _ = g.Join(ctx(), "k", "")
	_, sleeps, _ = g.Join(ctx(), "k", "")
	leading.Leave()
	return record(f, live()), reads, sleeps
}

// A reader that keeps others waiting is dropped when it has delayed them for a second.
func TestSlowReaderIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec, reads, sleeps := slow(t)
		begin := time.Now()
		for range 5 {
			write(t, rec, strings.Repeat("x", 60))
			drain(reads)
		}
		require.Equal(t, time.Second, time.Since(begin), "once")
		require.True(t, sleeps.Next().Dropped)
		sleeps.Leave()
		require.NoError(t, rec.Close(false))
		_, last := drain(reads)
		require.True(t, last.Ended)
	})
}

// The patience with a reader is a budget: it is not renewed when the reader catches up.
func TestPatienceAddsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec, reads, sleeps := slow(t)
		dropped := 0
		go func() {
			for {
				time.Sleep(300 * time.Millisecond)
				if _, last := drain(sleeps); last.Dropped {
					dropped++
					return
				}
			}
		}()
		for range 20 {
			write(t, rec, strings.Repeat("x", 110))
			drain(reads)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 1, dropped)
		require.NoError(t, rec.Close(false))
	})
}

// When all readers are slow, none is: the writer waits.
func TestAllReadersAreSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec, one, two := slow(t)
		begin := time.Now()
		go func() {
			time.Sleep(time.Hour)
			drain(one)
			drain(two)
		}()
		write(t, rec, strings.Repeat("x", 101))
		write(t, rec, "y")
		require.Equal(t, time.Hour, time.Since(begin))
		require.NoError(t, rec.Close(false))
		for _, r := range []*flight.Reader{one, two} {
			text, last := drain(r)
			require.Equal(t, "y", text)
			require.True(t, last.Ended)
		}
	})
}

// A reader that leaves does not keep the writer waiting.
func TestLeaveWakesTheWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec, reads, sleeps := slow(t)
		begin := time.Now()
		go func() {
			time.Sleep(100 * time.Millisecond)
			sleeps.Leave()
		}()
		write(t, rec, strings.Repeat("x", 101))
		drain(reads)
		write(t, rec, "y")
		require.Equal(t, 100*time.Millisecond, time.Since(begin))
		require.NoError(t, rec.Close(false))
	})
}

// What all readers have read is not kept beyond the limit.
func TestReadBytesAreTrimmed(t *testing.T) {
	t.Parallel()
	g := &flight.Group[string]{Lag: 1 << 20, Limit: 1 << 10}
	f, leading, _ := g.Join(ctx(), "k", "")
	_, r, _ := g.Join(ctx(), "k", "")
	leading.Leave()
	rec := record(f, live())
	want := 0
	for range 40 {
		write(t, rec, strings.Repeat("x", 64<<10))
		text, _ := drain(r)
		want += len(text)
	}
	require.Equal(t, 40*64<<10, want)
	kept, all := f.Buffered()
	require.False(t, all)
	require.Less(t, len(kept), 1<<20)
	require.NoError(t, rec.Close(false))
	_, whole := f.Body()
	require.False(t, whole)
}
