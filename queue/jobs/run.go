package jobs

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// run is the host.Run of a job.
type run struct {
	api   *API
	store *jet.Store
	rec   *record
	rev   uint64
}

// open is the host.Opener of jobs.
func (a *API) open(ctx context.Context, store *jet.Store, t *task.Task, redelivered bool) (host.Run, error) {
	rec, rev, err := getRecord(ctx, store, t.Owner, t.ID)
	if errors.Is(err, jet.ErrNotFound) {
		return nil, host.ErrNotNeeded // the record, which is written first, expired
	}
	if err != nil {
		return nil, err
	}
	switch {
	case rec.Round != t.Slot:
		return nil, host.ErrNotNeeded
	case rec.done():
		return nil, cmp.Or(a.hooks.announce(ctx, store, rec), host.ErrNotNeeded) // in case of a crash before
	case time.Now().After(rec.Expires):
		return nil, cmp.Or(a.end(ctx, store, rec, expired()), host.ErrNotNeeded)
	}
	if redelivered || t.Check {
		if done, err := a.settle(ctx, store, rec); done || err != nil {
			return nil, cmp.Or(err, host.ErrNotNeeded)
		}
	}
	return &run{a, store, rec, rev}, nil
}

func expired() *result {
	return &result{Outcome: task.Expired, Code: "job_expired", Message: "The job ran out of time before it was done."}
}

// Begin implements host.Run.
func (r *run) Begin(ctx context.Context) (attempt int, err error) {
	r.rec, err = update(ctx, r.store, r.rec, r.rev, func(rec *record) bool {
		if rec.done() {
			return false
		}
		rec.Status = statusInProgress
		rec.Attempts++
		if rec.Started.IsZero() {
			rec.Started = time.Now()
		}
		return true
	})
	if err != nil {
		return 0, err
	}
	r.store.Notify(r.rec.ID, host.Changed)
	if r.rec.done() { // it was cancelled
		return 0, nil
	}
	return r.rec.Attempts, nil
}

// Undo implements host.Run. A failure costs the job one attempt.
func (r *run) Undo(ctx context.Context) {
	_, _ = update(ctx, r.store, r.rec, r.rev, func(rec *record) bool {
		if rec.done() {
			return false
		}
		rec.Attempts = max(rec.Attempts-1, 0)
		return true
	})
}

// End implements host.Run.
func (r *run) End(ctx context.Context, res *task.Response, attempts int) error {
	return r.api.end(ctx, r.store, r.rec, resultOf(res, attempts))
}

// end writes the result of a job, if it has none, and updates the record to the stored
// result.
func (a *API) end(ctx context.Context, store *jet.Store, rec *record, r *result) error {
	r.Finished = time.Now()
	value, err := r.encode()
	if err != nil {
		return err
	}
	err = store.Results.Commit(ctx, jet.Result{ID: rec.ID, Slot: rec.Round, Outcome: r.Outcome, Value: value})
	if errors.Is(err, jet.ErrExists) {
		_, err = a.settle(ctx, store, rec)
		return err
	}
	if err == nil {
		err = a.apply(ctx, store, rec, r)
	}
	if err == nil {
		a.report(ctx, rec, r)
	}
	return err
}

// report emits the events that no worker emits.
func (a *API) report(ctx context.Context, rec *record, r *result) {
	kinds := map[string]queue.Kind{task.Cancelled: queue.Cancelled, task.Expired: queue.Expired}
	if kind, ok := kinds[r.Outcome]; ok {
		a.queue.Emit(ctx, queue.Event{Kind: kind, ID: rec.ID, Line: -1, Tenant: rec.Tenant, Priority: rec.Priority, Attempt: r.Attempts})
	}
}

// settle updates a record to the stored result, if there is one.
func (a *API) settle(ctx context.Context, store *jet.Store, rec *record) (done bool, err error) {
	raw, err := store.Results.Get(ctx, rec.ID, rec.Round)
	if errors.Is(err, jet.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r, err := decodeResult(raw.Value)
	if err != nil {
		return false, err
	}
	return true, a.apply(ctx, store, rec, r)
}

// apply updates a record to a result.
func (a *API) apply(ctx context.Context, store *jet.Store, rec *record, r *result) error {
	round := rec.Round
	now, rev, err := getRecord(ctx, store, rec.Owner, rec.ID)
	if errors.Is(err, jet.ErrNotFound) {
		return nil // it expired
	}
	if err != nil {
		return err
	}
	now, err = update(ctx, store, now, rev, func(rec *record) bool {
		if rec.done() || rec.Round != round {
			return false
		}
		rec.finish(r)
		return true
	})
	if err != nil {
		return err
	}
	*rec = *now
	store.Notify(rec.ID, host.Changed)
	return a.hooks.announce(ctx, store, rec)
}
