package batch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// seal fixes which results count, and the IDs of the files.
func (b *driver) seal(ctx context.Context) error {
	last, err := b.store.Results.Last(ctx)
	if err != nil {
		return err
	}
	s := &seal{Last: last, OutputID: api.NewID(api.FilePrefix), ErrorID: api.NewID(api.FilePrefix)}
	err = b.update(ctx, func(rec *record) {
		now := time.Now()
		rec.Seal = s
		switch {
		case rec.Status == statusCancelling:
			s.Status = statusCancelled
			return
		case len(rec.Errors) > 0:
			s.Status = statusFailed
		case rec.OK+rec.Bad < rec.Total && !now.Before(rec.Expires):
			s.Status = statusExpired // finish sets completed if none is missing
		default:
			s.Status = statusCompleted
		}
		rec.Status, rec.Finalizing = statusFinalizing, now
	})
	if err == nil {
		b.store.Notify(b.rec.ID, host.Stop) // results of running requests would not count
	}
	return err
}

// finish writes the files and ends the batch. It can be repeated: the files are the
// same each time.
func (b *driver) finish(ctx context.Context) error {
	w := newWriter(b)
	if b.rec.Total > 0 {
		if err := w.write(ctx); err != nil {
			return err
		}
	}
	if err := w.record(ctx); err != nil {
		return err
	}
	kind := queue.Done
	err := b.update(ctx, func(rec *record) {
		now := time.Now()
		rec.OK, rec.Bad, rec.Usage = w.ok, w.bad, w.tokens.sum
		rec.Output, rec.ErrorFile = w.files()
		rec.Status = rec.Seal.Status
		if rec.Status == statusExpired && w.missing == 0 {
			rec.Status = statusCompleted
		}
		switch rec.Status {
		case statusExpired:
			rec.Expired, kind = now, queue.Expired
		case statusCancelled:
			rec.Cancelled, kind = now, queue.Cancelled
		case statusFailed:
			rec.Failed, kind = now, queue.Failed
		default:
			rec.Completed = now
		}
	})
	if err != nil {
		return err
	}
	b.event(ctx, kind)
	_ = b.store.Results.Drop(ctx, b.rec.ID) // the files have them; otherwise they expire
	return nil
}

// writer writes the files, in the order of the input.
type writer struct {
	*driver
	output, errors *sink
	// The lines so far.
	ok, bad, missing int
	// tokens are counted here because each line is read here once, with its only result.
	tokens tokens
}

func newWriter(b *driver) *writer {
	return &writer{driver: b, output: &sink{id: b.rec.Seal.OutputID, store: b.store}, errors: &sink{id: b.rec.Seal.ErrorID, store: b.store}}
}

const (
	// writeChunk results are read together, by writeReaders goroutines.
	writeChunk   = 256
	writeReaders = 16
)

func (w *writer) write(ctx context.Context) (err error) {
	in, err := w.input(ctx, 0, 0)
	if err != nil && !errors.Is(err, jet.ErrNotFound) {
		return err
	}
	defer func() { err = fault.Join(err, w.output.close(err), w.errors.close(err)) }()
	for first := 0; first < w.rec.Total; first += writeChunk {
		results, err := w.results(ctx, first, min(writeChunk, w.rec.Total-first))
		if err != nil {
			return err
		}
		for _, r := range results {
			customID, err := w.customID(&in)
			if err == nil {
				err = w.line(ctx, customID, r)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// customID returns the custom_id of the next line. It is unknown when the input was
// deleted meanwhile.
func (w *writer) customID(in **jsonl.Reader) (string, error) {
	if *in == nil {
		return "", nil
	}
	raw, err := (*in).Next()
	if errors.Is(err, jet.ErrNotFound) {
		*in = nil
		return "", nil
	}
	if err != nil {
		return "", noEOF(err)
	}
	l, _ := w.rules().Check(raw)
	return l.CustomID, nil
}

// results reads the results of n lines. A missing result has no Outcome.
func (w *writer) results(ctx context.Context, first, n int) ([]jet.Result, error) {
	all, faults := make([]jet.Result, n), make([]error, n)
	var wg sync.WaitGroup
	for reader := range writeReaders {
		wg.Go(func() {
			for i := reader; i < n; i += writeReaders {
				r, err := w.store.Results.Get(ctx, w.rec.ID, first+i)
				switch {
				case errors.Is(err, jet.ErrNotFound), err == nil && r.Sequence > w.rec.Seal.Last:
				case err != nil:
					faults[i] = err
				default:
					all[i] = r
				}
			}
		})
	}
	wg.Wait()
	return all, fault.Join(faults...)
}

func (w *writer) line(ctx context.Context, customID string, r jet.Result) error {
	w.tokens.add(r.Value)
	switch r.Outcome {
	case task.Succeeded:
		w.ok++
		return w.output.write(ctx, r.Value)
	case "":
		w.bad++
		w.missing++
		return w.errors.write(ctx, missing(customID, w.rec.Seal.Status))
	}
	w.bad++
	return w.errors.write(ctx, r.Value)
}

// files returns the IDs of the files that were created.
func (w *writer) files() (output, errorFile string) { return w.output.used(), w.errors.used() }

// record creates the records of the files.
func (w *writer) record(ctx context.Context) error {
	now := time.Now()
	expires := now.Add(w.api.host.FileTTL)
	if w.rec.OutputTTL > 0 && now.Add(w.rec.OutputTTL).Before(expires) {
		expires = now.Add(w.rec.OutputTTL)
	}
	for s, name := range map[*sink]string{w.output: "_output.jsonl", w.errors: "_error.jsonl"} {
		if s.used() == "" {
			continue
		}
		rec := &fileRecord{ID: s.id, Owner: w.rec.Owner, Name: w.rec.ID + name, Purpose: purposeOutput, Bytes: s.size, Created: now, Expires: expires}
		if err := createFile(ctx, w.store, rec); err != nil && !errors.Is(err, jet.ErrExists) {
			return err
		}
	}
	return nil
}
