package batch

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// line is the host.Run of a line.
type line struct {
	store       *jet.Store
	task        *task.Task
	redelivered bool
	attempt     int
}

// open is the host.Opener of lines.
func (a *API) open(ctx context.Context, store *jet.Store, t *task.Task, redelivered bool) (host.Run, error) {
	b, err := a.cache.get(ctx, store, t.Owner, t.ID)
	if errors.Is(err, jet.ErrNotFound) || err == nil && !b.running(time.Now()) {
		return nil, host.ErrNotNeeded
	}
	if err != nil {
		return nil, err
	}
	t.Origin = b.Origin
	if t.Check || redelivered {
		_, err = store.Results.Get(ctx, t.ID, t.Slot)
		if err == nil {
			return nil, host.ErrNotNeeded
		}
		if !errors.Is(err, jet.ErrNotFound) {
			return nil, err
		}
	}
	return &line{store: store, task: t, redelivered: redelivered}, nil
}

// Begin implements host.Run. It counts attempts rather than deliveries, which a fault of
// the store or the end of a process may repeat. The first attempt is not stored.
func (l *line) Begin(ctx context.Context) (attempt int, err error) {
	if !l.redelivered {
		l.attempt = 1
		return 1, nil
	}
	before := 1
	value, _, err := l.store.Records.Get(ctx, l.key())
	if err == nil {
		before, err = strconv.Atoi(string(value))
	}
	if err != nil && !errors.Is(err, jet.ErrNotFound) {
		return 0, err
	}
	l.attempt = before + 1
	return l.attempt, l.store.Records.Put(ctx, l.key(), []byte(strconv.Itoa(l.attempt)))
}

func (l *line) key() string { return api.AttemptRecords + "." + l.task.Name() }

// Undo implements host.Run. A failure costs the line one attempt.
func (l *line) Undo(ctx context.Context) {
	_ = l.store.Records.Put(ctx, l.key(), []byte(strconv.Itoa(l.attempt-1)))
}

// End implements host.Run. The first result of a line counts.
func (l *line) End(ctx context.Context, res *task.Response, _ int) error {
	outcome := task.Failed
	if res.Succeeded() {
		outcome = task.Succeeded
	}
	err := l.store.Results.Commit(ctx, jet.Result{ID: l.task.ID, Slot: l.task.Slot, Outcome: outcome, Value: outputLine(l.task, res)})
	if errors.Is(err, jet.ErrExists) {
		return nil
	}
	return err
}

// replay is the host.Replayer of lines. The line has its result already, so it becomes a
// job of the batch's owner.
func (a *API) replay(ctx context.Context, store *jet.Store, l *jet.Letter, content []byte) (string, error) {
	var t task.Task
	if err := json.Unmarshal(content, &t); err != nil {
		return "", api.WrongState("dead_letter_unreadable", "The dead letter can't be read.")
	}
	batch, _, err := getRecord(ctx, store, t.Owner, t.ID)
	if err != nil && !errors.Is(err, jet.ErrNotFound) {
		return "", err
	}
	if batch != nil {
		t.Origin = batch.Origin
	}
	return a.host.Adopt(ctx, store, l, &t)
}
