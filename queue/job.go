package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
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

// jobRecord is what is known of a job.
type jobRecord struct {
	ID       string            `json:"id"`
	Owner    string            `json:"owner"`
	Tenant   string            `json:"tenant"`
	Status   string            `json:"status"`
	Method   string            `json:"method"`
	URL      string            `json:"url"`
	Priority Priority          `json:"priority"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Webhook  string            `json:"webhook,omitempty"`
	Created  time.Time         `json:"created"`
	Started  time.Time         `json:"started,omitzero"`
	Finished time.Time         `json:"finished,omitzero"`
	Expires  time.Time         `json:"expires"`
	// Round counts replays.
	Round    int        `json:"round"`
	Attempts int        `json:"attempts"`
	HTTP     int        `json:"http,omitempty"`
	Request  string     `json:"request,omitempty"`
	Error    *lineError `json:"error,omitempty"`
}

func (r *jobRecord) done() bool { return r.Status != statusQueued && r.Status != statusInProgress }

func (r *jobRecord) lane() jet.Lane { return jet.Lane{Class: r.Priority.class(), Tenant: r.Tenant} }

// jobResult is the head of a job's result; the body of the answer follows.
type jobResult struct {
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

func jobResultOf(a *answer, attempts int) jobResult {
	r := jobResult{Outcome: outcomeFailed, Attempts: attempts}
	if a.err != nil {
		e := errorOf(a.err)
		r.Code, r.Message = e.Code, e.Message
		return r
	}
	if a.status/100 == 2 {
		r.Outcome = outcomeOK
	}
	r.Status, r.Type, r.Request, r.body = a.status, a.header.Get("Content-Type"), a.requestID(), a.body
	return r
}

func (r *jobResult) encode() ([]byte, error) {
	head, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return append(append(head, '\n'), r.body...), nil
}

func decodeResult(value []byte) (jobResult, error) {
	var r jobResult
	head, body, _ := bytes.Cut(value, []byte("\n"))
	err := json.Unmarshal(head, &r)
	r.body = body
	return r, err
}

func getJob(ctx context.Context, store *jet.Store, owner, id string) (*jobRecord, uint64, error) {
	return decodeJob(store.Get(ctx, recordKey(jobRecords, owner, id)))
}

func decodeJob(value []byte, rev uint64, err error) (*jobRecord, uint64, error) {
	if err != nil {
		return nil, 0, err
	}
	rec := &jobRecord{}
	return rec, rev, json.Unmarshal(value, rec)
}

// updateJob changes a record that was read at a revision, and reads it again when
// somebody else was faster. Change says whether there is anything to change. It
// returns the record as it is now.
func updateJob(ctx context.Context, store *jet.Store, rec *jobRecord, rev uint64, change func(*jobRecord) bool) (*jobRecord, error) {
	key := recordKey(jobRecords, rec.Owner, rec.ID)
	for {
		next := *rec
		if !change(&next) {
			return rec, nil
		}
		value, err := json.Marshal(&next)
		if err != nil {
			return nil, err
		}
		if _, err = store.Update(ctx, key, value, rev); err == nil {
			return &next, nil
		}
		if !errors.Is(err, jet.ErrConflict) {
			return nil, err
		}
		if rec, rev, err = decodeJob(store.GetNewest(ctx, key)); err != nil {
			return nil, err
		}
	}
}

// endJob writes a job's result, if it has none, and brings the record to what the
// result says, whoever wrote it.
func (q *Queue) endJob(ctx context.Context, store *jet.Store, rec *jobRecord, r jobResult) error {
	_, err := q.commitJob(ctx, store, rec, r)
	return err
}

// commitJob is endJob that also says whether this result is the one.
func (q *Queue) commitJob(ctx context.Context, store *jet.Store, rec *jobRecord, r jobResult) (won bool, err error) {
	r.Finished = time.Now()
	value, err := r.encode()
	if err != nil {
		return false, err
	}
	err = store.Commit(ctx, jet.Result{ID: rec.ID, Slot: rec.Round, Outcome: r.Outcome, Value: value})
	if errors.Is(err, jet.ErrExists) {
		_, err = q.settleJob(ctx, store, rec)
		return false, err
	}
	if err != nil {
		return false, err
	}
	if err = q.recordJob(ctx, store, rec, &r); err == nil {
		q.jobEvent(ctx, rec, &r)
	}
	return true, err
}

func (q *Queue) jobEvent(ctx context.Context, rec *jobRecord, r *jobResult) {
	e := Event{ID: rec.ID, Line: -1, Tenant: rec.Tenant, Priority: rec.Priority, Attempt: r.Attempts}
	switch r.Outcome {
	case outcomeCancelled:
		e.Kind = Cancelled
	case outcomeExpired:
		e.Kind = Expired
	default: // its worker tells of it
		return
	}
	q.emit(ctx, e)
}

// settleJob brings a record to what the result says, if there is one.
func (q *Queue) settleJob(ctx context.Context, store *jet.Store, rec *jobRecord) (done bool, err error) {
	raw, err := store.Result(ctx, rec.ID, rec.Round)
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
	return true, q.recordJob(ctx, store, rec, &r)
}

func (q *Queue) recordJob(ctx context.Context, store *jet.Store, rec *jobRecord, r *jobResult) error {
	round := rec.Round
	now, rev, err := getJob(ctx, store, rec.Owner, rec.ID)
	if errors.Is(err, jet.ErrNotFound) {
		return nil // it expired
	}
	if err != nil {
		return err
	}
	now, err = updateJob(ctx, store, now, rev, func(rec *jobRecord) bool {
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
	store.Notify(rec.ID, wordChanged)
	return q.announce(ctx, store, rec)
}

func (r *jobRecord) finish(result *jobResult) {
	r.Finished, r.HTTP, r.Request = result.Finished, result.Status, result.Request
	if result.Attempts > 0 {
		r.Attempts = result.Attempts
	}
	switch result.Outcome {
	case outcomeOK:
		r.Status = statusCompleted
	case outcomeCancelled:
		r.Status = statusCancelled
	case outcomeExpired:
		r.Status = statusExpired
	default:
		r.Status = statusFailed
	}
	if result.Outcome != outcomeOK {
		r.Error = &lineError{result.Code, result.Message}
		if result.Status != 0 {
			r.Error = &lineError{"upstream_error", "The answer has status " + http.StatusText(result.Status) + "."}
		}
	}
}
