package queue

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
)

// batchView is a batch as the OpenAI API has it.
type batchView struct {
	ID               string            `json:"id"`
	Object           string            `json:"object"`
	Endpoint         string            `json:"endpoint"`
	Model            string            `json:"model,omitempty"`
	Errors           *errorList        `json:"errors"`
	InputFileID      string            `json:"input_file_id"`
	CompletionWindow string            `json:"completion_window"`
	Status           string            `json:"status"`
	OutputFileID     *string           `json:"output_file_id"`
	ErrorFileID      *string           `json:"error_file_id"`
	CreatedAt        int64             `json:"created_at"`
	InProgressAt     *int64            `json:"in_progress_at"`
	ExpiresAt        *int64            `json:"expires_at"`
	FinalizingAt     *int64            `json:"finalizing_at"`
	CompletedAt      *int64            `json:"completed_at"`
	FailedAt         *int64            `json:"failed_at"`
	ExpiredAt        *int64            `json:"expired_at"`
	CancellingAt     *int64            `json:"cancelling_at"`
	CancelledAt      *int64            `json:"cancelled_at"`
	RequestCounts    requestCounts     `json:"request_counts"`
	Usage            *batchUsage       `json:"usage,omitempty"`
	Metadata         map[string]string `json:"metadata"`
}

type errorList struct {
	Object string         `json:"object"`
	Data   []*jsonl.Fault `json:"data"`
}

type requestCounts struct {
	Total     int `json:"total"`
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
}

func (r *batchRecord) view() *batchView {
	v := &batchView{
		ID: r.ID, Object: "batch", Endpoint: r.Endpoint, Model: r.Model, InputFileID: r.Input, CompletionWindow: r.Window, Status: r.Status,
		CreatedAt: r.Created.Unix(), InProgressAt: unix(r.InProgress), ExpiresAt: unix(r.Expires), FinalizingAt: unix(r.Finalizing),
		CompletedAt: unix(r.Completed), FailedAt: unix(r.Failed), ExpiredAt: unix(r.Expired), CancellingAt: unix(r.Cancelling),
		CancelledAt: unix(r.Cancelled), RequestCounts: requestCounts{r.Total, r.OK, r.Bad}, Usage: r.Usage, Metadata: r.Metadata,
	}
	if len(r.Errors) > 0 {
		v.Errors = &errorList{"list", r.Errors}
	}
	if r.Output != "" {
		v.OutputFileID = &r.Output
	}
	if r.ErrorFile != "" {
		v.ErrorFileID = &r.ErrorFile
	}
	return v
}

// batchRequest is the body of a submission.
type batchRequest struct {
	InputFileID        string            `json:"input_file_id"`
	Endpoint           string            `json:"endpoint"`
	CompletionWindow   string            `json:"completion_window"`
	Metadata           map[string]string `json:"metadata"`
	OutputExpiresAfter *struct {
		Anchor  string `json:"anchor"`
		Seconds int64  `json:"seconds"`
	} `json:"output_expires_after"`
}

// onlyWindow is the only completion_window that OpenAI has.
const onlyWindow = "24h"

// maxBatchBody bounds the body of a submission.
const maxBatchBody = 64 << 10

func (q *Queue) checkBatch(r *batchRequest) (*batchRecord, error) {
	switch {
	case !isID(filePrefix, r.InputFileID):
		return nil, invalid("invalid_input_file_id", "input_file_id must name a file.")
	case !slices.Contains(q.cfg.Endpoints, r.Endpoint):
		return nil, invalid("invalid_endpoint", "endpoint must be one of %q.", q.cfg.Endpoints)
	case r.CompletionWindow != onlyWindow:
		return nil, invalid("invalid_completion_window", "completion_window must be %q.", onlyWindow)
	}
	if err := checkMetadata(r.Metadata); err != nil {
		return nil, err
	}
	now := time.Now()
	rec := &batchRecord{
		ID: newID(batchPrefix), Status: statusValidating, Endpoint: r.Endpoint, Input: r.InputFileID, Window: r.CompletionWindow,
		Metadata: r.Metadata, Created: now, Expires: now.Add(q.cfg.Window),
	}
	if e := r.OutputExpiresAfter; e != nil {
		rec.OutputTTL = time.Duration(min(e.Seconds, int64(maxFileTTL/time.Second)+1)) * time.Second
		if e.Anchor != "created_at" || rec.OutputTTL < minFileTTL || rec.OutputTTL > maxFileTTL {
			return nil, invalid("invalid_output_expires_after", "output_expires_after must have the anchor created_at and 3600 to 2592000 seconds.")
		}
	}
	return rec, nil
}

func (q *Queue) postBatch(c *gin.Context) error {
	store, err := q.backend()
	if err != nil {
		return err
	}
	owner, tenant, err := q.owner(c)
	if err != nil {
		return err
	}
	var r batchRequest
	if _, err := readBody(c, maxBatchBody, &r); err != nil {
		return err
	}
	rec, err := q.checkBatch(&r)
	if err != nil {
		return err
	}
	rec.Owner, rec.Tenant = owner, tenant
	if rec.Origin, err = q.origin(c); err != nil {
		return err
	}
	ctx := c.Request.Context()
	file, err := getFile(ctx, store, owner, r.InputFileID)
	if errors.Is(err, jet.ErrNotFound) || err == nil && file.Purpose != purposeBatch {
		return invalid("invalid_input_file_id", "There is no such input file.")
	}
	if err != nil {
		return err
	}
	if err := q.createBatch(ctx, store, rec); err != nil {
		return err
	}
	c.Header("Location", c.Request.URL.Path+"/"+rec.ID)
	c.JSON(http.StatusOK, rec.view())
	return nil
}

// createBatch writes the record, then what brings a driver to it.
func (q *Queue) createBatch(ctx context.Context, store *jet.Store, rec *batchRecord) error {
	n, err := store.Count(ctx, jet.Batches, rec.Owner)
	if err != nil {
		return err
	}
	if n >= uint64(q.cfg.Limits.OpenBatches) { //nolint:gosec // not negative
		return tooMany("too_many_batches", "You have too many batches that are not done.")
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if _, err := store.Create(ctx, rec.key(), value); err != nil {
		return err
	}
	if err := store.Send(ctx, jet.Batches, rec.Owner, rec.ID, []byte(rec.key())); err != nil {
		_ = store.Delete(context.WithoutCancel(ctx), rec.key())
		return err
	}
	q.emit(ctx, Event{Kind: Queued, ID: rec.ID, Batch: true, Line: -1, Tenant: rec.Tenant, Priority: Low})
	return nil
}

func (q *Queue) findBatch(c *gin.Context) (*jet.Store, *batchRecord, uint64, error) {
	store, owner, err := q.mine(c)
	if err != nil {
		return nil, nil, 0, err
	}
	id := c.Param("id")
	if !isID(batchPrefix, id) {
		return nil, nil, 0, notFound("There is no such batch.", nil)
	}
	rec, rev, err := getBatch(c.Request.Context(), store, owner, id)
	if errors.Is(err, jet.ErrNotFound) {
		return nil, nil, 0, notFound("There is no such batch.", err)
	}
	return store, rec, rev, err
}

func (q *Queue) readBatch(c *gin.Context) error {
	_, rec, _, err := q.findBatch(c)
	if err == nil {
		c.JSON(http.StatusOK, rec.view())
	}
	return err
}

// cancelBatch says that a batch is to be cancelled; its driver does it.
func (q *Queue) cancelBatch(c *gin.Context) error {
	store, rec, rev, err := q.findBatch(c)
	if err != nil {
		return err
	}
	rec, _, err = updateBatch(c.Request.Context(), store, rec, rev, func(rec *batchRecord) error {
		switch rec.Status {
		case statusValidating, statusInProgress:
			rec.Status, rec.Cancelling = statusCancelling, time.Now()
			return nil
		case statusCancelling:
			return errUnchanged
		}
		return wrongState("batch_finished", "Cannot cancel a batch with status '%s'.", rec.Status)
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return err
	}
	store.Notify(rec.ID, wordStop)
	c.JSON(http.StatusOK, rec.view())
	return nil
}

// errUnchanged: there is nothing to change.
var errUnchanged = errors.New("queue: unchanged")

func (q *Queue) listBatches(c *gin.Context) error {
	return q.listed(c, batchRecords, 100, 20, func(ctx context.Context, store *jet.Store, owner, id string) (any, error) {
		rec, _, err := getBatch(ctx, store, owner, id)
		if err != nil {
			return nil, err
		}
		return rec.view(), nil
	})
}
