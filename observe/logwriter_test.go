package observe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/observe"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// disk is a destination that can be slow or broken.
type disk struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
	slow   time.Duration
	err    error
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	time.Sleep(d.slow)
	d.writes++
	if d.err != nil {
		return 0, d.err
	}
	return d.text.Write(p)
}

func (d *disk) lines() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Count(d.text.String(), "\n")
}

// running returns a LogWriter that runs until stop is called.
func running(t *testing.T, cfg observe.LogWriterConfig) (w *observe.LogWriter, stop func() error) {
	t.Helper()
	w, err := observe.NewLogWriter(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	synctest.Wait()
	return w, func() error { cancel(); return <-done }
}

func TestLogWriterWritesBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(disk)
		w, stop := running(t, observe.LogWriterConfig{Writer: d})
		log := slog.New(slog.NewJSONHandler(w, nil))
		for i := range 100 {
			log.Info("request", "i", i)
		}
		assert.Zero(t, d.lines(), "no request waits for the disk")
		time.Sleep(101 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, 100, d.lines())
		assert.Equal(t, 1, d.writes)
		log.Info("last")
		require.NoError(t, stop())
		assert.Equal(t, 101, d.lines(), "the end writes what waits")
		log.Info("after the end")
		assert.Equal(t, 102, d.lines(), "then each line is written at once")
		assert.Zero(t, w.Dropped())
	})
}

func TestLogWriterWritesAFullBatchAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(disk)
		w, stop := running(t, observe.LogWriterConfig{Writer: d, Interval: time.Hour})
		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range 64 {
			_, err := w.Write(line)
			require.NoError(t, err)
		}
		synctest.Wait()
		assert.Equal(t, 64, d.lines())
		require.NoError(t, stop())
	})
}

func TestLogWriterIsSynchronousWithoutRun(t *testing.T) {
	t.Parallel()
	d := &disk{err: errors.New("full")}
	w, err := observe.NewLogWriter(observe.LogWriterConfig{Writer: d})
	require.NoError(t, err)
	_, err = w.Write([]byte("a\n"))
	require.ErrorIs(t, err, d.err)
	d.err = nil
	_, err = w.Write([]byte("a\n"))
	require.NoError(t, err)
	assert.Equal(t, 1, d.lines())
}

// A slow disk costs lines beyond the limit, which are counted, and no time of those who write.
func TestLogWriterDropsWhatASlowDiskCannotTake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{slow: time.Minute}
		var reported int64
		w, stop := running(t, observe.LogWriterConfig{Writer: d, Limit: 1000, OnDrop: func(n int64, err error) {
			assert.NoError(t, err)
			reported += n
		}})
		write := func(n int) {
			for range n {
				_, err := w.Write([]byte(strings.Repeat("y", 99) + "\n"))
				assert.NoError(t, err)
			}
		}
		write(1)
		time.Sleep(time.Second) // the disk is busy with the first one
		begun := time.Now()
		write(25)
		assert.Zero(t, time.Since(begun))
		assert.EqualValues(t, 15, w.Dropped())
		require.NoError(t, stop())
		assert.Equal(t, 11, d.lines())
		assert.EqualValues(t, 15, reported)
	})
}

func TestLogWriterCountsWhatABrokenDiskLoses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{err: errors.New("no space left on device")}
		var reported []string
		w, stop := running(t, observe.LogWriterConfig{Writer: d, OnDrop: func(n int64, err error) {
			reported = append(reported, fmt.Sprint(n, " ", err))
		}})
		_, err := w.Write([]byte("a\nb\n"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"2 no space left on device"}, reported)
		assert.EqualValues(t, 2, w.Dropped())
		d.mu.Lock()
		d.err = nil
		d.mu.Unlock()
		_, err = w.Write([]byte("c\n"))
		require.NoError(t, err)
		require.NoError(t, stop())
		assert.Equal(t, "c\n", d.text.String())
	})
}

// Lines of many writers are neither lost, mixed nor doubled when Run ends among them.
func TestLogWriterLosesNothingAtItsEnd(t *testing.T) {
	t.Parallel()
	d := new(disk)
	w, err := observe.NewLogWriter(observe.LogWriterConfig{Writer: d, Interval: time.Microsecond})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for n := range 5000 {
				_, _ = fmt.Fprintf(w, "%d-%d\n", i, n)
				if i == 0 && n == 2500 {
					cancel()
				}
			}
		})
	}
	writers.Wait()
	require.NoError(t, <-done)
	seen := map[string]bool{}
	next := [4]int{}
	for line := range strings.Lines(d.text.String()) {
		var i, n int
		_, err := fmt.Sscanf(line, "%d-%d\n", &i, &n)
		require.NoError(t, err, line)
		require.Equal(t, next[i], n, "in order")
		next[i]++
		seen[line] = true
	}
	assert.Len(t, seen, 20000)
}

func TestLogWriterRunsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, stop := running(t, observe.LogWriterConfig{Writer: new(disk)})
		require.ErrorContains(t, w.Run(t.Context()), "twice")
		require.NoError(t, stop())
	})
}

func TestLogWriterConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := observe.NewLogWriter(observe.LogWriterConfig{Interval: -1, Limit: -1})
	require.ErrorContains(t, err, "Interval")
	require.ErrorContains(t, err, "Limit")
}
