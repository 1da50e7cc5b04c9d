package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
)

// A batch is driven by whoever holds its message: checked, fed into the tenant's lane
// bit by bit, and put together at the end. Another process goes on where this one
// ended. The record is changed by compare-and-swap only, and tells the last driver:
// one that was thought dead finds that it is no longer meant.
const (
	// maxDriven is how many batches a process drives. Each costs little.
	maxDriven = 1024
	// maxDrives bounds how often an input is begun to be read, in case it is what kills
	// the process.
	maxDrives = 50
	// driveAgain is the wait after a fault of the store. It doubles, up to a minute.
	driveAgain = 2 * time.Second
)

// errDisplaced: another process drives the batch.
var errDisplaced = errors.New("queue: displaced by another driver")

// driver drives one batch.
type driver struct {
	q     *Queue
	store *jet.Store
	rec   *batchRecord
	rev   uint64
	token string
	// resumed says that there was a driver before.
	resumed bool
}

// drive drives batches until ctx ends.
func (q *Queue) drive(ctx context.Context, store *jet.Store, kept *keeper) {
	q.receive(ctx, store, jet.Batches, maxDriven, func(d *jet.Delivery) {
		kept.hold(d)
		defer kept.drop(d)
		err := q.driveOne(ctx, store, d)
		switch {
		case err == nil, errors.Is(err, jet.ErrNotFound): // its record or its input expired
			err = d.AckSync(ctx)
		case errors.Is(err, errDisplaced): // the message is the other's
			err = nil
		case ctx.Err() != nil:
			err = d.Nak(0)
		default:
			err = d.Nak(driveAgain << min(d.Attempt-1, 5))
		}
		_ = err // then the lease runs out
	})
}

func (q *Queue) driveOne(ctx context.Context, store *jet.Store, d *jet.Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	key, err := d.Payload(ctx)
	if err != nil {
		return err
	}
	rec, rev, err := decodeBatch(store.GetNewest(ctx, string(key)))
	if err != nil || rec.done() {
		return err
	}
	b := &driver{q: q, store: store, rec: rec, rev: rev, token: newID(""), resumed: rec.Driver != ""}
	b.rec, b.rev, err = updateBatch(ctx, store, rec, rev, func(rec *batchRecord) error {
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

// update changes the record, as long as this is its driver.
func (b *driver) update(ctx context.Context, change func(*batchRecord)) error {
	var err error
	b.rec, b.rev, err = updateBatch(ctx, b.store, b.rec, b.rev, func(rec *batchRecord) error {
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
		err := b.carryOut(ctx)
		if errors.Is(err, jet.ErrNotFound) { // its owner deleted the input
			err = b.update(ctx, func(rec *batchRecord) { rec.Errors = inputGone() })
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

// input opens the input file from an offset on.
func (b *driver) input(ctx context.Context, offset int64, lines int) (*jsonl.Reader, error) {
	file, err := getFile(ctx, b.store, b.rec.Owner, b.rec.Input)
	if err != nil {
		return nil, err
	}
	return jsonl.NewReader(b.store.Open(ctx, file.ID, file.Bytes, offset), b.q.cfg.Limits.LineBytes, offset, lines), nil
}

func (b *driver) rules() *jsonl.Rules {
	l := &b.q.cfg.Limits
	return &jsonl.Rules{Endpoint: b.rec.Endpoint, MaxLines: l.FileLines, MaxLine: l.LineBytes}
}

func (b *driver) validate(ctx context.Context) error {
	file, err := getFile(ctx, b.store, b.rec.Owner, b.rec.Input)
	if errors.Is(err, jet.ErrNotFound) {
		return b.fail(ctx, inputGone())
	}
	if err != nil {
		return err
	}
	sum, faults, err := b.rules().Validate(b.store.Open(ctx, file.ID, file.Bytes, 0))
	if errors.Is(err, jet.ErrNotFound) {
		return b.fail(ctx, inputGone())
	}
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return b.fail(ctx, faults)
	}
	return b.update(ctx, func(rec *batchRecord) {
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
	err := b.update(ctx, func(rec *batchRecord) {
		rec.Status, rec.Failed, rec.Errors = statusFailed, time.Now(), faults
	})
	if err == nil {
		b.event(ctx, Failed)
	}
	return err
}

func (b *driver) event(ctx context.Context, kind Kind) {
	b.q.emit(ctx, Event{Kind: kind, ID: b.rec.ID, Batch: true, Line: -1, Tenant: b.rec.Tenant, Priority: Low, Duration: time.Since(b.rec.Created)})
}

// tally counts results. What it counts is what is stored, whoever stored it.
type tally struct {
	news chan struct{}

	mu   sync.Mutex
	done []uint64 // a bit for each line
	ok   int
	bad  int
}

func newTally(lines int) *tally {
	return &tally{news: make(chan struct{}, 1), done: make([]uint64, (lines+63)/64)}
}

func (t *tally) add(r jet.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	word, bit := r.Slot/64, uint64(1)<<(r.Slot%64)
	if r.Slot < 0 || word >= len(t.done) || t.done[word]&bit != 0 {
		return
	}
	t.done[word] |= bit
	if r.Outcome == outcomeOK {
		t.ok++
	} else {
		t.bad++
	}
	select {
	case t.news <- struct{}{}:
	default:
	}
}

func (t *tally) has(line int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return line/64 < len(t.done) && t.done[line/64]&(1<<(line%64)) != 0
}

func (t *tally) counts() (ok, bad int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ok, t.bad
}
