package queue

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
)

// The statuses of a batch, beside those it shares with jobs.
const (
	statusValidating = "validating"
	statusFinalizing = "finalizing"
	statusCancelling = "cancelling"
)

// batchRecord is what is known of a batch.
type batchRecord struct {
	ID       string            `json:"id"`
	Owner    string            `json:"owner"`
	Tenant   string            `json:"tenant"`
	Status   string            `json:"status"`
	Endpoint string            `json:"endpoint"`
	Input    string            `json:"input"`
	Window   string            `json:"window"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Origin   *origin           `json:"origin"`
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

	// Total requests there are; OK and Bad have results, as far as was counted.
	Total int `json:"total"`
	OK    int `json:"ok"`
	Bad   int `json:"bad"`
	// Model is that of all lines, if they have the same.
	Model string `json:"model,omitempty"`
	// Usage is there when the batch is done and answers told theirs.
	Usage *batchUsage `json:"usage,omitempty"`
	// OutputTTL is how long the output is kept; 0: as files are.
	OutputTTL time.Duration `json:"output_ttl,omitempty"`
	// Output and ErrorFile are shown when the batch is done.
	Output    string `json:"output,omitempty"`
	ErrorFile string `json:"error_file,omitempty"`

	// Driver is who drives the batch: the last one that said so.
	Driver string `json:"driver,omitempty"`
	// Fed requests are in the lane; the input goes on at FedOffset, after FedLines.
	Fed       int   `json:"fed"`
	FedOffset int64 `json:"fed_offset"`
	FedLines  int   `json:"fed_lines"`
	// Seal is there when no result counts any more that is not yet written.
	Seal *seal `json:"seal,omitempty"`
}

// seal says what a batch's files are made of, so that they can be made again.
type seal struct {
	// Status is the one to come.
	Status string `json:"status"`
	// Last is the newest result that counts.
	Last uint64 `json:"last"`
	// OutputID and ErrorID are the names of the files.
	OutputID string `json:"output_id"`
	ErrorID  string `json:"error_id"`
}

// wants says whether requests of the batch are still to be carried out.
func (r *batchRecord) wants(now time.Time) bool {
	return r.Status == statusInProgress && r.Seal == nil && now.Before(r.Expires)
}

func (r *batchRecord) done() bool {
	switch r.Status {
	case statusCompleted, statusFailed, statusExpired, statusCancelled:
		return true
	}
	return false
}

func (r *batchRecord) key() string { return recordKey(batchRecords, r.Owner, r.ID) }

// lane is where all batches of a tenant wait.
func (r *batchRecord) lane() jet.Lane { return jet.Lane{Class: Low.class(), Tenant: r.Tenant} }

func decodeBatch(value []byte, rev uint64, err error) (*batchRecord, uint64, error) {
	if err != nil {
		return nil, 0, err
	}
	rec := &batchRecord{}
	return rec, rev, json.Unmarshal(value, rec)
}

func getBatch(ctx context.Context, store *jet.Store, owner, id string) (*batchRecord, uint64, error) {
	return decodeBatch(store.Get(ctx, recordKey(batchRecords, owner, id)))
}

// updateBatch changes a record that was read at a revision, and reads it again when
// somebody else was faster. An error of change ends it.
func updateBatch(ctx context.Context, store *jet.Store, rec *batchRecord, rev uint64, change func(*batchRecord) error) (*batchRecord, uint64, error) {
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
		at, err := store.Update(ctx, key, value, rev)
		if err == nil {
			store.Notify(rec.ID, wordChanged)
			return &next, at, nil
		}
		if !errors.Is(err, jet.ErrConflict) {
			return rec, rev, err
		}
		if rec, rev, err = decodeBatch(store.GetNewest(ctx, key)); err != nil {
			return nil, 0, err
		}
	}
}

// cacheFor is how long a worker believes what it knows of a batch. A stop is heard
// at once.
const cacheFor = time.Second

// maxCached bounds the batches that are known.
const maxCached = 1024

// batchCache spares workers a look at the batch for each of its lines.
type batchCache struct {
	mu  sync.Mutex
	all map[string]cachedBatch
}

type cachedBatch struct {
	rec *batchRecord
	at  time.Time
}

func newBatchCache() *batchCache { return &batchCache{all: map[string]cachedBatch{}} }

func (b *batchCache) get(ctx context.Context, store *jet.Store, owner, id string) (*batchRecord, error) {
	b.mu.Lock()
	c, ok := b.all[id]
	b.mu.Unlock()
	if ok && time.Since(c.at) < cacheFor && c.rec.Owner == owner {
		return c.rec, nil
	}
	at := time.Now()
	rec, _, err := getBatch(ctx, store, owner, id)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.all) >= maxCached {
		clear(b.all)
	}
	b.all[id] = cachedBatch{rec, at}
	return rec, nil
}

func (b *batchCache) drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, id)
}
