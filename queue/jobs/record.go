package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// The statuses of a job.
const (
	statusQueued     = "queued"
	statusInProgress = "in_progress"
	statusCompleted  = "completed"
	statusFailed     = "failed"
	statusCancelled  = "cancelled"
	statusExpired    = "expired"
)

// record is the stored state of a job.
type record struct {
	ID       string            `json:"id"`
	Owner    string            `json:"owner"`
	Tenant   string            `json:"tenant"`
	Status   string            `json:"status"`
	Method   string            `json:"method"`
	URL      string            `json:"url"`
	Priority queue.Priority    `json:"priority"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Webhook  string            `json:"webhook,omitempty"`
	Created  time.Time         `json:"created"`
	Started  time.Time         `json:"started,omitzero"`
	Finished time.Time         `json:"finished,omitzero"`
	Expires  time.Time         `json:"expires"`
	// Round counts replays.
	Round    int         `json:"round"`
	Attempts int         `json:"attempts"`
	HTTP     int         `json:"http,omitempty"`
	Request  string      `json:"request,omitempty"`
	Error    *task.Error `json:"error,omitempty"`
}

func (r *record) done() bool { return r.Status != statusQueued && r.Status != statusInProgress }

func (r *record) key() string { return api.Key(api.JobRecords, r.Owner, r.ID) }

func (r *record) lane() jet.Lane { return task.LaneOf(r.Tenant, int(r.Priority)) }

// finish applies a result.
func (r *record) finish(res *result) {
	r.Finished, r.HTTP, r.Request = res.Finished, res.Status, res.Request
	if res.Attempts > 0 {
		r.Attempts = res.Attempts
	}
	switch res.Outcome {
	case task.Succeeded:
		r.Status = statusCompleted
		return
	case task.Cancelled:
		r.Status = statusCancelled
	case task.Expired:
		r.Status = statusExpired
	default:
		r.Status = statusFailed
	}
	r.Error = &task.Error{Code: res.Code, Message: res.Message}
	if res.Status != 0 {
		r.Error = &task.Error{Code: "upstream_error", Message: "The response has status " + http.StatusText(res.Status) + "."}
	}
}

func getRecord(ctx context.Context, store *jet.Store, owner, id string) (*record, uint64, error) {
	return decodeRecord(store.Records.Get(ctx, api.Key(api.JobRecords, owner, id)))
}

func decodeRecord(value []byte, rev uint64, err error) (*record, uint64, error) {
	if err != nil {
		return nil, 0, err
	}
	rec := &record{}
	return rec, rev, json.Unmarshal(value, rec)
}

// update changes a record that was read at a revision, and reads it again after a
// conflict. Change reports whether there is anything to change. It returns the record as
// it is now.
func update(ctx context.Context, store *jet.Store, rec *record, rev uint64, change func(*record) bool) (*record, error) {
	key := rec.key()
	for {
		next := *rec
		if !change(&next) {
			return rec, nil
		}
		value, err := json.Marshal(&next)
		if err != nil {
			return nil, err
		}
		if _, err = store.Records.Update(ctx, key, value, rev); err == nil {
			return &next, nil
		}
		if !errors.Is(err, jet.ErrConflict) {
			return nil, err
		}
		if rec, rev, err = decodeRecord(store.Records.GetNewest(ctx, key)); err != nil {
			return nil, err
		}
	}
}

// result is the head of a stored result. The body of the response follows it.
type result struct {
	Outcome  string    `json:"outcome"`
	Status   int       `json:"status,omitempty"`
	Type     string    `json:"type,omitempty"`
	Request  string    `json:"request,omitempty"`
	Code     string    `json:"code,omitempty"`
	Message  string    `json:"message,omitempty"`
	Attempts int       `json:"attempts"`
	Finished time.Time `json:"finished"`
	body     []byte
}

func resultOf(res *task.Response, attempts int) *result {
	r := &result{Outcome: task.Failed, Attempts: attempts}
	if res.Err != nil {
		e := task.ErrorOf(res.Err)
		r.Code, r.Message = e.Code, e.Message
		return r
	}
	if res.Succeeded() {
		r.Outcome = task.Succeeded
	}
	r.Status, r.Type, r.Request, r.body = res.Status, res.Header.Get("Content-Type"), res.RequestID(), res.Body
	return r
}

func (r *result) encode() ([]byte, error) {
	head, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return append(append(head, '\n'), r.body...), nil
}

func decodeResult(value []byte) (*result, error) {
	r := &result{}
	head, body, _ := bytes.Cut(value, []byte("\n"))
	r.body = body
	return r, json.Unmarshal(head, r)
}
