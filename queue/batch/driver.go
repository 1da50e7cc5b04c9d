package batch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
	"github.com/ginfer/ginfer/queue/internal/task"
)

const (
	// maxDriven is the number of batches that a process drives. Each costs little.
	maxDriven = 1024
	// maxDrives bounds how often the validation of an input is begun, in case it kills
	// the process.
	maxDrives = 50
	// driveBackoff is the wait after a fault of the store. It doubles, up to a minute.
	driveBackoff = 2 * time.Second
)

// errDisplaced is returned when another process drives the batch.
var errDisplaced = errors.New("batch: displaced by another driver")

// driver drives one batch while it has its message: it validates the input, feeds the
// tenant's lane bit by bit, and writes the files at the end. Another process continues
// where it stopped. The record, which changes only by compare-and-swap, has the token of
// the last driver, so that one that was replaced notices it.
type driver struct {
	api   *API
	store *jet.Store
	rec   *record
	rev   uint64
	token string
	// resumed is set when there was a driver before.
	resumed bool
}

// drive drives batches until ctx ends.
func (a *API) drive(ctx context.Context, store *jet.Store, leases *jet.Leases) {
	store.Channels.Receive(ctx, jet.Batches, leases, maxDriven, func(d *jet.Delivery) {
		err := a.driveOne(ctx, store, d)
		switch {
		case err == nil, errors.Is(err, jet.ErrNotFound): // its record or its input expired
			err = d.AckSync(ctx)
		case errors.Is(err, errDisplaced): // the message belongs to the other
			err = nil
		case ctx.Err() != nil:
			err = d.Nak(0)
		default:
			err = d.Nak(driveBackoff << min(d.Attempt-1, 5))
		}
		_ = err // the lease runs out
	})
}

func (a *API) driveOne(ctx context.Context, store *jet.Store, d *jet.Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", task.ErrPanic, p)
		}
	}()
	key, err := d.Payload(ctx)
	if err != nil {
		return err
	}
	rec, rev, err := decodeRecord(store.Records.GetNewest(ctx, string(key)))
	if err != nil {
		return err
	}
	if rec.done() {
		return store.Results.Drop(ctx, rec.ID) // in case of a crash before
	}
	b := &driver{api: a, store: store, rec: rec, rev: rev, token: api.NewID(""), resumed: rec.Driver != ""}
	b.rec, b.rev, err = update(ctx, store, rec, rev, func(rec *record) error {
		rec.Driver = b.token
		return nil
	})
	if err != nil {
		return err
	}
	if d.Attempt > maxDrives && b.rec.Status == statusValidating {
		return b.fail(ctx, []*jsonl.Fault{{Code: "internal_error", Message: "The batch could not be carried out."}})
	}
	return b.drive(ctx)
}

// update changes the record, while this is its driver.
func (b *driver) update(ctx context.Context, change func(*record)) error {
	var err error
	b.rec, b.rev, err = update(ctx, b.store, b.rec, b.rev, func(rec *record) error {
		if rec.Driver != b.token {
			return errDisplaced
		}
		change(rec)
		return nil
	})
	return err
}

func (b *driver) drive(ctx context.Context) error {
	if b.rec.Status == statusValidating {
		if err := b.validate(ctx); err != nil || b.rec.done() {
			return err
		}
	}
	if b.rec.Status == statusInProgress && b.rec.Seal == nil {
		err := b.feed(ctx)
		if errors.Is(err, jet.ErrNotFound) { // its owner deleted the input
			err = b.update(ctx, func(rec *record) { rec.Errors = inputGone() })
		}
		if err != nil {
			return err
		}
	}
	if b.rec.Seal == nil {
		if err := b.seal(ctx); err != nil {
			return err
		}
	}
	return b.finish(ctx)
}

// input opens the input file at an offset.
func (b *driver) input(ctx context.Context, offset int64, lines int) (*jsonl.Reader, error) {
	file, err := getFile(ctx, b.store, b.rec.Owner, b.rec.Input)
	if err != nil {
		return nil, err
	}
	return jsonl.NewReader(b.store.Files.Open(ctx, file.ID, file.Bytes, offset), b.api.cfg.LineBytes, offset, lines), nil
}

func (b *driver) rules() *jsonl.Rules {
	c := &b.api.cfg
	return &jsonl.Rules{Endpoint: b.rec.Endpoint, MaxLines: c.FileLines, MaxLine: c.LineBytes}
}

func (b *driver) validate(ctx context.Context) error {
	file, err := getFile(ctx, b.store, b.rec.Owner, b.rec.Input)
	if errors.Is(err, jet.ErrNotFound) {
		return b.fail(ctx, inputGone())
	}
	if err != nil {
		return err
	}
	sum, faults, err := b.rules().Validate(b.store.Files.Open(ctx, file.ID, file.Bytes, 0))
	if errors.Is(err, jet.ErrNotFound) {
		return b.fail(ctx, inputGone())
	}
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return b.fail(ctx, faults)
	}
	return b.update(ctx, func(rec *record) {
		rec.Total, rec.Model = sum.Count, sum.Model
		if rec.Status == statusValidating {
			rec.Status, rec.InProgress = statusInProgress, time.Now()
		}
	})
}

func inputGone() []*jsonl.Fault {
	return []*jsonl.Fault{{Code: "invalid_input_file", Message: "The input file is gone."}}
}

func (b *driver) fail(ctx context.Context, faults []*jsonl.Fault) error {
	err := b.update(ctx, func(rec *record) {
		rec.Status, rec.Failed, rec.Errors = statusFailed, time.Now(), faults
	})
	if err == nil {
		b.event(ctx, queue.Failed)
	}
	return err
}

func (b *driver) event(ctx context.Context, kind queue.Kind) {
	b.api.queue.Emit(ctx, queue.Event{Kind: kind, ID: b.rec.ID, Batch: true, Line: -1, Tenant: b.rec.Tenant, Priority: queue.Low, Duration: time.Since(b.rec.Created)})
}
