package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
	"github.com/ginfer/ginfer/queue/internal/task"
)

const (
	// feedAhead is the number of requests of a batch that are in the lane at once.
	feedAhead = 1024
	// feedChunk is the number of requests that are added together.
	feedChunk = 128
	// saveEvery is how often the progress is saved.
	saveEvery = time.Second
	// lostEvery is how often the feeder looks for lost requests.
	lostEvery = 30 * time.Second
)

// feeder adds the requests of a batch to the lane.
type feeder struct {
	*driver
	tally *tally
	in    *jsonl.Reader
	// pending lines were read, and may not be in the lane.
	pending []jet.Task
	next    int // the next line to read
	fed     int // lines in the lane
	// check is set when lines may have been in the lane before; round distinguishes their
	// IDs.
	check bool
	round int
	full  time.Time // until when the lane is taken for full
}

// feed feeds the batch and waits for its results. It returns when all are there, the
// batch was cancelled, or its window is over.
func (b *driver) feed(ctx context.Context) error {
	t := newTally(b.rec.Total)
	stop, err := b.store.Results.Follow(ctx, b.rec.ID, t.add)
	if err != nil {
		return err
	}
	defer stop()
	news, leave := b.api.host.Waiters.Add(b.rec.ID)
	defer leave()
	f := &feeder{driver: b, tally: t, next: b.rec.Fed, fed: b.rec.Fed, check: b.resumed}
	if f.in, err = b.input(ctx, b.rec.FedOffset, b.rec.FedLines); err != nil {
		return err
	}
	return f.loop(ctx, news)
}

func (f *feeder) loop(ctx context.Context, news <-chan struct{}) error {
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	lost := time.NewTicker(lostEvery)
	defer lost.Stop()
	end := time.NewTimer(time.Until(f.rec.Expires))
	defer end.Stop()
	for {
		if err := f.fill(ctx); err != nil {
			return err
		}
		if ok, bad := f.tally.counts(); ok+bad >= f.rec.Total {
			return nil
		}
		var err error
		select {
		case <-f.tally.news:
		case <-save.C:
			err = f.save(ctx)
		case <-news:
			err = f.reload(ctx)
		case <-lost.C:
			err = f.recover(ctx)
		case <-end.C:
			return nil
		case <-ctx.Done():
			return fault.Join(ctx.Err(), f.save(context.WithoutCancel(ctx)))
		}
		if err != nil {
			return err
		}
		if !f.rec.running(time.Now()) {
			return nil
		}
	}
}

// reload reads the record: the batch may be cancelled.
func (f *feeder) reload(ctx context.Context) error {
	rec, rev, err := getRecord(ctx, f.store, f.rec.Owner, f.rec.ID)
	if err != nil {
		return err
	}
	if rec.Driver != f.token {
		return errDisplaced
	}
	if rev > f.rev {
		f.rec, f.rev = rec, rev
	}
	return nil
}

// save writes the progress to the record.
func (f *feeder) save(ctx context.Context) error {
	ok, bad := f.tally.counts()
	if ok == f.rec.OK && bad == f.rec.Bad && f.fed == f.rec.Fed {
		return f.reload(ctx)
	}
	return f.update(ctx, func(rec *record) {
		rec.OK, rec.Bad = max(rec.OK, ok), max(rec.Bad, bad)
		if f.round == 0 && len(f.pending) == 0 {
			rec.Fed, rec.FedOffset, rec.FedLines = f.fed, f.in.Offset(), f.in.Number()
		}
	})
}

// fill adds requests to the lane, up to feedAhead.
func (f *feeder) fill(ctx context.Context) error {
	for time.Now().After(f.full) {
		ok, bad := f.tally.counts()
		if len(f.pending) == 0 && f.fed-ok-bad > feedAhead-feedChunk {
			return nil
		}
		if err := f.read(); err != nil {
			return err
		}
		if len(f.pending) == 0 {
			return nil // all were added
		}
		n, err := f.store.Tasks.PublishAll(ctx, f.rec.lane(), f.pending)
		f.pending = f.pending[n:]
		f.fed += n
		if n > 0 {
			host.Announce(f.store, f.rec.lane())
		}
		switch {
		case errors.Is(err, jet.ErrFull), errors.Is(err, jet.ErrLaneFull), errors.Is(err, jet.ErrUnavailable):
			f.full = time.Now().Add(saveEvery)
		case err != nil:
			return err
		}
	}
	return nil
}

// read reads a chunk of lines without those that have a result, which count as fed.
func (f *feeder) read() error {
	for len(f.pending) < feedChunk && f.next < f.rec.Total {
		raw, err := f.in.Next()
		if err != nil {
			return fmt.Errorf("line %d of the input: %w", f.in.Number(), noEOF(err))
		}
		line := f.next
		f.next++
		if f.check && f.tally.has(line) {
			f.fed++
			continue
		}
		t, err := f.task(raw, line)
		if err != nil {
			return err
		}
		f.pending = append(f.pending, t)
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (f *feeder) task(raw []byte, line int) (jet.Task, error) {
	l, fault := f.rules().Check(raw)
	if fault != nil { // the validation accepted it
		return jet.Task{}, errors.New("batch: " + fault.Message)
	}
	t := task.Task{Kind: task.Line, Owner: f.rec.Owner, ID: f.rec.ID, Slot: line, Check: f.check, CustomID: l.CustomID, Method: http.MethodPost, URL: l.URL, Body: l.Body}
	payload, err := json.Marshal(&t)
	id := t.Name()
	if f.round > 0 {
		id = fmt.Sprintf("%s-%d", id, f.round)
	}
	return jet.Task{ID: id, Payload: payload}, err
}

// recover feeds lost requests again: those neither in the lane nor with a result. An
// operator may have purged the stream.
func (f *feeder) recover(ctx context.Context) error {
	ok, bad := f.tally.counts()
	if len(f.pending) > 0 || f.next < f.rec.Total {
		return nil
	}
	lanes, err := f.store.Tasks.Lanes(ctx)
	if err != nil || lanes[f.rec.lane()] > 0 {
		return err
	}
	if !jet.Sleep(ctx, saveEvery) { // the tally may be late
		return ctx.Err()
	}
	if ok2, bad2 := f.tally.counts(); ok2 != ok || bad2 != bad {
		return nil
	}
	f.round++
	f.check, f.next, f.fed = true, 0, 0
	f.in, err = f.input(ctx, 0, 0)
	return err
}
