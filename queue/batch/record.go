package batch

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// The statuses of a batch.
const (
	statusValidating = "validating"
	statusInProgress = "in_progress"
	statusFinalizing = "finalizing"
	statusCompleted  = "completed"
	statusFailed     = "failed"
	statusExpired    = "expired"
	statusCancelling = "cancelling"
	statusCancelled  = "cancelled"
)

// record is the stored state of a batch.
type record struct {
	ID       string            `json:"id"`
	Owner    string            `json:"owner"`
	Tenant   string            `json:"tenant"`
	Status   string            `json:"status"`
	Endpoint string            `json:"endpoint"`
	Input    string            `json:"input"`
	Window   string            `json:"window"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Origin   *task.Origin      `json:"origin"`
	Errors   []*jsonl.Fault    `json:"errors,omitempty"`

	Created    time.Time `json:"created"`
	Expires    time.Time `json:"expires"`
	InProgress time.Time `json:"in_progress,omitzero"`
	Finalizing time.Time `json:"finalizing,omitzero"`
	Completed  time.Time `json:"completed,omitzero"`
	Failed     time.Time `json:"failed,omitzero"`
	Expired    time.Time `json:"expired,omitzero"`
	Cancelling time.Time `json:"cancelling,omitzero"`
	Cancelled  time.Time `json:"cancelled,omitzero"`

	// Total is the number of requests; OK and Bad those with a result so far.
	Total int `json:"total"`
	OK    int `json:"ok"`
	Bad   int `json:"bad"`
	// Model is the model of all lines, if they have the same.
	Model string `json:"model,omitempty"`
	// Usage is the sum of what the responses report, when the batch is done.
	Usage *usage `json:"usage,omitempty"`
	// OutputTTL is how long the output is stored; 0 means FileTTL.
	OutputTTL time.Duration `json:"output_ttl,omitempty"`
	// Output and ErrorFile are the IDs of the files, when the batch is done.
	Output    string `json:"output,omitempty"`
	ErrorFile string `json:"error_file,omitempty"`

	// Driver is the token of the last driver.
	Driver string `json:"driver,omitempty"`
	// Fed is the number of requests that are in the lane. The input continues at
	// FedOffset, after FedLines lines.
	Fed       int   `json:"fed"`
	FedOffset int64 `json:"fed_offset"`
	FedLines  int   `json:"fed_lines"`
	// Seal is set when later results do not count.
	Seal *seal `json:"seal,omitempty"`
}

// seal fixes the content of a batch's files, so that they can be written again.
type seal struct {
	// Status is the final status.
	Status string `json:"status"`
	// Last is the sequence of the newest result that counts.
	Last uint64 `json:"last"`
	// OutputID and ErrorID are the IDs of the files.
	OutputID string `json:"output_id"`
	ErrorID  string `json:"error_id"`
}

// running reports whether requests of the batch are still carried out.
func (r *record) running(now time.Time) bool {
	return r.Status == statusInProgress && r.Seal == nil && now.Before(r.Expires)
}

func (r *record) done() bool {
	switch r.Status {
	case statusCompleted, statusFailed, statusExpired, statusCancelled:
		return true
	}
	return false
}

func (r *record) key() string { return api.Key(api.BatchRecords, r.Owner, r.ID) }

// lane is the lane of all batches of a tenant.
func (r *record) lane() jet.Lane { return task.LaneOf(r.Tenant, int(queue.Low)) }

func decodeRecord(value []byte, rev uint64, err error) (*record, uint64, error) {
	if err != nil {
		return nil, 0, err
	}
	rec := &record{}
	return rec, rev, json.Unmarshal(value, rec)
}

func getRecord(ctx context.Context, store *jet.Store, owner, id string) (*record, uint64, error) {
	return decodeRecord(store.Records.Get(ctx, api.Key(api.BatchRecords, owner, id)))
}

// update changes a record that was read at a revision, and reads it again after a
// conflict. It returns an error of change.
func update(ctx context.Context, store *jet.Store, rec *record, rev uint64, change func(*record) error) (*record, uint64, error) {
	key := rec.key()
	for {
		next := *rec
		if err := change(&next); err != nil {
			return rec, rev, err
		}
		value, err := json.Marshal(&next)
		if err != nil {
			return rec, rev, err
		}
		at, err := store.Records.Update(ctx, key, value, rev)
		if err == nil {
			store.Notify(rec.ID, host.Changed)
			return &next, at, nil
		}
		if !errors.Is(err, jet.ErrConflict) {
			return rec, rev, err
		}
		if rec, rev, err = decodeRecord(store.Records.GetNewest(ctx, key)); err != nil {
			return nil, 0, err
		}
	}
}
