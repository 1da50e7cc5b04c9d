package observe

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
)

const (
	// fullBatch is how many bytes are written without waiting for the interval.
	fullBatch = 64 << 10
	// defaultLogLimit is the default of LogWriterConfig.Limit, in bytes.
	defaultLogLimit = 8 << 20
	// defaultLogInterval is the default of LogWriterConfig.Interval.
	defaultLogInterval = 100 * time.Millisecond
)

// LogWriterConfig configures a LogWriter. Every field has a default.
type LogWriterConfig struct {
	// Writer is the destination. Each of its Write calls gets whole lines. Default: os.Stderr.
	Writer io.Writer
	// Interval is how long a line waits at most, unless Writer is slow. Default: 100 ms.
	Interval time.Duration
	// Limit bounds the bytes that wait while Writer is slow. Lines beyond it are dropped and
	// counted. Default: 8 MiB.
	Limit int
	// OnDrop is called after a write, with the number of lines that were lost since the last call:
	// beyond Limit, or by an error of Writer, which err is then. It may log. Default: nothing.
	OnDrop func(lines int64, err error)
}

// LogWriter writes log lines in batches, so that no request waits for the disk. Use it as the
// destination of a slog handler, or of any logger that writes one line with each call:
//
//	out, err := observe.NewLogWriter(observe.LogWriterConfig{})
//	go out.Run(ctx)
//	logger := slog.New(slog.NewJSONHandler(out, nil))
//
// Lines are written by Run. Before Run is called and after it has returned, Write writes at once,
// so a program without Run has a synchronous log. At the end of its context Run writes all that
// waits: end it last. Lines that wait at a crash are lost.
//
// It fails open: a slow or broken destination loses lines, never requests. It is safe for
// concurrent use.
type LogWriter struct {
	cfg  LogWriterConfig
	full chan struct{} // there is a batch to write
	lost atomic.Int64

	mu      sync.Mutex
	running bool
	waiting []byte
	dropped int64 // lines since the last batch
}

// NewLogWriter returns a LogWriter. It returns an error that joins all faults of cfg.
func NewLogWriter(cfg LogWriterConfig) (*LogWriter, error) {
	var faults []error
	if cfg.Interval < 0 {
		faults = append(faults, errors.New("observe: LogWriterConfig.Interval must not be negative"))
	}
	if cfg.Limit < 0 {
		faults = append(faults, errors.New("observe: LogWriterConfig.Limit must not be negative"))
	}
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	if cfg.Writer == nil {
		cfg.Writer = os.Stderr
	}
	cfg.Interval, cfg.Limit = cmp.Or(cfg.Interval, defaultLogInterval), cmp.Or(cfg.Limit, defaultLogLimit)
	return &LogWriter{cfg: cfg, full: make(chan struct{}, 1)}, nil
}

// Write takes whole lines. While Run runs it never blocks and never fails; else the error is that
// of the destination.
func (w *LogWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.running:
		return w.cfg.Writer.Write(p)
	case len(w.waiting)+len(p) > w.cfg.Limit:
		w.drop(lines(p))
		return len(p), nil
	}
	w.waiting = append(w.waiting, p...)
	if len(w.waiting) >= fullBatch {
		select {
		case w.full <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

// drop counts lost lines. The caller holds mu.
func (w *LogWriter) drop(n int64) {
	w.dropped += n
	w.lost.Add(n)
}

func lines(p []byte) int64 { return int64(bytes.Count(p, []byte("\n"))) }

// Dropped returns the number of lines that were lost.
func (w *LogWriter) Dropped() int64 { return w.lost.Load() }

// Run writes batches until ctx ends, and then all that waits. It returns the error of the last
// write, or nil. A second concurrent call returns an error at once.
func (w *LogWriter) Run(ctx context.Context) error {
	if !w.start() {
		return errors.New("observe: LogWriter.Run is called twice")
	}
	tick := time.NewTicker(w.cfg.Interval)
	defer tick.Stop()
	var spare []byte
	for {
		select {
		case <-ctx.Done():
			return w.finish()
		case <-tick.C:
		case <-w.full:
		}
		spare, _ = w.flush(spare)
	}
}

func (w *LogWriter) start() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running {
		return false
	}
	w.running = true
	return true
}

// flush writes what waits. It exchanges the buffers, so that others can write meanwhile.
func (w *LogWriter) flush(spare []byte) ([]byte, error) {
	w.mu.Lock()
	batch, dropped := w.waiting, w.dropped
	w.waiting, w.dropped = spare[:0], 0
	w.mu.Unlock()
	var err error
	if len(batch) > 0 {
		var n int
		if n, err = w.cfg.Writer.Write(batch); err != nil {
			missing := lines(batch[min(n, len(batch)):])
			w.lost.Add(missing)
			dropped += missing
		}
	}
	if dropped > 0 && w.cfg.OnDrop != nil {
		safely(func() { w.cfg.OnDrop(dropped, err) })
	}
	if cap(batch) > 4*fullBatch { // of a burst, or a slow destination
		batch = nil
	}
	return batch, err
}

// finish writes all that waits, in order before what others write from then on.
func (w *LogWriter) finish() error {
	_, err := w.flush(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = false
	if len(w.waiting) == 0 {
		return err
	}
	_, last := w.cfg.Writer.Write(w.waiting)
	w.waiting = nil
	return errors.Join(err, last)
}
