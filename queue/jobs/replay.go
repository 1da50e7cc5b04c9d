package jobs

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// replay is the host.Replayer of jobs. The job continues under its ID, in a new round.
func (a *API) replay(ctx context.Context, store *jet.Store, _ *jet.Letter, content []byte) (string, error) {
	var t task.Task
	if err := json.Unmarshal(content, &t); err != nil {
		return "", api.WrongState("dead_letter_unreadable", "The dead letter can't be read.")
	}
	rec, rev, err := getRecord(ctx, store, t.Owner, t.ID)
	if err != nil {
		return "", err
	}
	round := t.Slot + 1
	rec, err = update(ctx, store, rec, rev, func(rec *record) bool {
		if rec.Round >= round {
			return false
		}
		rec.Round, rec.Status, rec.Expires = round, statusQueued, time.Now().Add(a.host.Window)
		rec.Started, rec.Finished, rec.HTTP, rec.Request, rec.Error, rec.Attempts = time.Time{}, time.Time{}, 0, "", nil, 0
		return true
	})
	if err != nil {
		return "", err
	}
	t.Slot = round
	store.Notify(rec.ID, host.Changed)
	return rec.ID, host.Publish(ctx, store, rec.lane(), &t)
}

// adopt submits the line of a batch as a job of the batch's owner. A repeated call
// returns the same job.
func (a *API) adopt(ctx context.Context, store *jet.Store, l *jet.Letter, t *task.Task) (string, error) {
	key := "dead letter " + strconv.FormatUint(l.Number, 10)
	id, _, err := claim(ctx, store, key, t.Owner, []byte(key))
	if err != nil {
		return "", err
	}
	now := time.Now()
	rec := &record{
		ID: id, Owner: t.Owner, Tenant: l.Tenant, Status: statusQueued, Method: t.Method, URL: t.URL, Priority: queue.Low,
		Metadata: map[string]string{"batch": t.ID, "custom_id": t.CustomID}, Created: now, Expires: now.Add(a.host.Window),
	}
	_, err = a.enqueue(ctx, store, rec, &task.Task{Kind: task.Job, Owner: t.Owner, ID: id, Method: t.Method, URL: t.URL, Body: t.Body, Origin: t.Origin, Check: true})
	return id, err
}

// replayCall is the host.Replayer of webhooks.
func replayCall(ctx context.Context, store *jet.Store, l *jet.Letter, content []byte) (string, error) {
	return l.ID, store.Channels.Send(ctx, jet.Hooks, l.Tenant, "replay-"+strconv.FormatUint(l.Number, 10), content)
}
