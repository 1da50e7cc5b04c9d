package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
)

const (
	// feedAhead is how many of a batch's requests are in the lane at once.
	feedAhead = 1024
	// feedChunk is how many are added together.
	feedChunk = 128
	// noteEvery is how often the record tells how far the batch is.
	noteEvery = time.Second
	// lostEvery is how often it is looked whether requests are missing.
	lostEvery = 30 * time.Second
)

// feeder brings a batch's requests into the lane.
type feeder struct {
	*driver
	tally *tally
	in    *jsonl.Reader
	// pending were read, and are not surely in the lane.
	pending []jet.Task
	next    int // the next line to read
	fed     int // lines that are surely in the lane
	// check says that lines may have been there before; round tells their IDs from
	// those before.
	check bool
	round int
	full  time.Time // until when the lane is taken for full
}

// carryOut feeds the batch and waits for its results. It returns when all are there,
// the batch was cancelled, or its time is over.
func (b *driver) carryOut(ctx context.Context) error {
	t := newTally(b.rec.Total)
	stop, err := b.store.Follow(ctx, b.rec.ID, t.add)
	if err != nil {
		return err
	}
	defer stop()
	news, leave, err := b.q.waiters.add(b.rec.ID)
	if err != nil {
		return err
	}
	defer leave()
	f := &feeder{driver: b, tally: t, next: b.rec.Fed, fed: b.rec.Fed, check: b.resumed}
	if f.in, err = b.input(ctx, b.rec.FedOffset, b.rec.FedLines); err != nil {
		return err
	}
	return f.loop(ctx, news)
}

func (f *feeder) loop(ctx context.Context, news <-chan struct{}) error {
	note := time.NewTicker(noteEvery)
	defer note.Stop()
	lost := time.NewTicker(lostEvery)
	defer lost.Stop()
	end := time.NewTimer(time.Until(f.rec.Expires))
	defer end.Stop()
	for {
		if err := f.feed(ctx); err != nil {
			return err
		}
		if ok, bad := f.tally.counts(); ok+bad >= f.rec.Total {
			return nil
		}
		var err error
		select {
		case <-f.tally.news:
		case <-note.C:
			err = f.note(ctx)
		case <-news:
			err = f.look(ctx)
		case <-lost.C:
			err = f.find(ctx)
		case <-end.C:
			return nil
		case <-ctx.Done():
			return errors.Join(ctx.Err(), f.note(context.WithoutCancel(ctx)))
		}
		if err != nil {
			return err
		}
		if !f.rec.wants(time.Now()) {
			return nil
		}
	}
}

// look reads the record, which may tell that the batch is cancelled.
func (f *feeder) look(ctx context.Context) error {
	rec, rev, err := getBatch(ctx, f.store, f.rec.Owner, f.rec.ID)
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

// note writes down how far the batch is.
func (f *feeder) note(ctx context.Context) error {
	ok, bad := f.tally.counts()
	if ok == f.rec.OK && bad == f.rec.Bad && f.fed == f.rec.Fed {
		return f.look(ctx)
	}
	return f.update(ctx, func(rec *batchRecord) {
		rec.OK, rec.Bad = max(rec.OK, ok), max(rec.Bad, bad)
		if f.round == 0 && len(f.pending) == 0 {
			rec.Fed, rec.FedOffset, rec.FedLines = f.fed, f.in.Offset(), f.in.Number()
		}
	})
}

// feed fills the lane up to what is allowed.
func (f *feeder) feed(ctx context.Context) error {
	for time.Now().After(f.full) {
		ok, bad := f.tally.counts()
		if len(f.pending) == 0 && f.fed-ok-bad > feedAhead-feedChunk {
			return nil
		}
		if err := f.read(); err != nil {
			return err
		}
		if len(f.pending) == 0 {
			return nil // all are there
		}
		n, err := f.store.PublishAll(ctx, f.rec.lane(), f.pending)
		f.pending = f.pending[n:]
		f.fed += n
		if n > 0 {
			f.store.Notify(laneNews, laneWord(f.rec.lane()))
		}
		switch {
		case errors.Is(err, jet.ErrFull), errors.Is(err, jet.ErrLaneFull), errors.Is(err, jet.ErrUnavailable):
			f.full = time.Now().Add(noteEvery)
		case err != nil:
			return err
		}
	}
	return nil
}

// read reads a chunk of lines, and leaves out those with a result. They count as
// fed, but the tally has them already.
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
	if fault != nil { // it was valid before
		return jet.Task{}, errors.New("queue: " + fault.Message)
	}
	t := task{Kind: kindLine, Owner: f.rec.Owner, ID: f.rec.ID, Slot: line, Check: f.check, CustomID: l.CustomID, Method: http.MethodPost, URL: l.URL, Body: l.Body}
	payload, err := json.Marshal(&t)
	id := t.name()
	if f.round > 0 {
		id = fmt.Sprintf("%s-%d", id, f.round)
	}
	return jet.Task{ID: id, Payload: payload}, err
}

// find feeds again what is nowhere: not in the lane and without a result. That is
// when somebody emptied the lane.
func (f *feeder) find(ctx context.Context) error {
	ok, bad := f.tally.counts()
	if len(f.pending) > 0 || f.next < f.rec.Total {
		return nil
	}
	lanes, err := f.store.Lanes(ctx)
	if err != nil || lanes[f.rec.lane()] > 0 {
		return err
	}
	if !jet.Sleep(ctx, noteEvery) { // a result may be on its way to the tally
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
