package live

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/ginfer/ginfer/observe"
)

// lastLines bounds how long the end waits for the destination of the log.
const lastLines = 5 * time.Second

// Log is the log of the process. Its lines are written in batches, or each at once, as the
// configuration in force says.
type Log struct {
	*slog.Logger

	out *observe.LogWriter

	mu   sync.Mutex
	stop func() // nil: each line is written at once
}

// NewLog returns a log that writes JSON to w, each line at once until a configuration is loaded.
func NewLog(w io.Writer, level slog.Level) *Log {
	l := &Log{}
	l.out, _ = observe.NewLogWriter(observe.LogWriterConfig{Writer: w, OnDrop: l.dropped}) // this is no invalid one
	l.Logger = slog.New(slog.NewJSONHandler(l.out, &slog.HandlerOptions{Level: level}))
	return l
}

func (l *Log) dropped(lines int64, err error) {
	l.Warn("log lines were dropped: the log's destination is slow or broken", "lines", lines, "error", err)
}

// Dropped returns the number of lines that the destination did not take.
func (l *Log) Dropped() int64 { return l.out.Dropped() }

// batch writes in batches, or each line at once.
func (l *Log) batch(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if on == (l.stop != nil) {
		return
	}
	if !on {
		l.stop()
		l.stop = nil
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.out.Run(ctx)
	}()
	l.stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(lastLines):
		}
	}
}
