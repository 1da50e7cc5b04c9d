package batch

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// request is the body of a submission.
type request struct {
	InputFileID        string            `json:"input_file_id"`
	Endpoint           string            `json:"endpoint"`
	CompletionWindow   string            `json:"completion_window"`
	Metadata           map[string]string `json:"metadata"`
	OutputExpiresAfter *struct {
		Anchor  string `json:"anchor"`
		Seconds int64  `json:"seconds"`
	} `json:"output_expires_after"`
}

// onlyWindow is the only completion_window of the OpenAI API.
const onlyWindow = "24h"

// maxBody bounds the body of a submission, in bytes.
const maxBody = 64 << 10

// check returns the record of a submission.
func (a *API) check(r *request) (*record, error) {
	switch {
	case !api.IsID(api.FilePrefix, r.InputFileID):
		return nil, api.Invalid("invalid_input_file_id", "input_file_id must be the ID of a file.")
	case !slices.Contains(a.host.Endpoints, r.Endpoint):
		return nil, api.Invalid("invalid_endpoint", "endpoint must be one of %q.", a.host.Endpoints)
	case r.CompletionWindow != onlyWindow:
		return nil, api.Invalid("invalid_completion_window", "completion_window must be %q.", onlyWindow)
	}
	if err := api.CheckMetadata(r.Metadata); err != nil {
		return nil, err
	}
	now := time.Now()
	rec := &record{
		ID: api.NewID(api.BatchPrefix), Status: statusValidating, Endpoint: r.Endpoint, Input: r.InputFileID, Window: r.CompletionWindow,
		Metadata: r.Metadata, Created: now, Expires: now.Add(a.host.Window),
	}
	if e := r.OutputExpiresAfter; e != nil {
		rec.OutputTTL = time.Duration(min(e.Seconds, int64(maxFileTTL/time.Second)+1)) * time.Second
		if e.Anchor != "created_at" || rec.OutputTTL < minFileTTL || rec.OutputTTL > maxFileTTL {
			return nil, api.Invalid("invalid_output_expires_after", "output_expires_after must have the anchor created_at and 3600 to 2592000 seconds.")
		}
	}
	return rec, nil
}

func (a *API) post(c *gin.Context) error {
	store, err := a.host.Store()
	if err != nil {
		return err
	}
	owner, tenant, err := a.host.Caller(c)
	if err != nil {
		return err
	}
	var r request
	if _, err := api.ReadBody(c, maxBody, &r); err != nil {
		return err
	}
	rec, err := a.check(&r)
	if err != nil {
		return err
	}
	rec.Owner, rec.Tenant = owner, tenant
	if rec.Origin, err = a.host.Origin(c); err != nil {
		return err
	}
	ctx := c.Request.Context()
	file, err := getFile(ctx, store, owner, r.InputFileID)
	if errors.Is(err, jet.ErrNotFound) || err == nil && file.Purpose != purposeBatch {
		return api.Invalid("invalid_input_file_id", "There is no such input file.")
	}
	if err != nil {
		return err
	}
	if err := a.create(ctx, store, rec); err != nil {
		return err
	}
	c.Header("Location", c.Request.URL.Path+"/"+rec.ID)
	c.JSON(http.StatusOK, rec.view())
	return nil
}

// create writes the record, then the message for its driver.
func (a *API) create(ctx context.Context, store *jet.Store, rec *record) error {
	n, err := store.Channels.Count(ctx, jet.Batches, rec.Owner)
	if err != nil {
		return err
	}
	if n >= uint64(a.cfg.OpenBatches) { //nolint:gosec // not negative
		return api.TooMany("too_many_batches", "You have too many batches that are not done.")
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if _, err := store.Records.Create(ctx, rec.key(), value); err != nil {
		return err
	}
	if err := store.Channels.Send(ctx, jet.Batches, rec.Owner, rec.ID, []byte(rec.key())); err != nil {
		_ = store.Records.Delete(context.WithoutCancel(ctx), rec.key())
		return err
	}
	a.queue.Emit(ctx, queue.Event{Kind: queue.Queued, ID: rec.ID, Batch: true, Line: -1, Tenant: rec.Tenant, Priority: queue.Low})
	return nil
}

// find reads the batch that a request names.
func (a *API) find(c *gin.Context) (*jet.Store, *record, uint64, error) {
	store, owner, err := a.host.StoreOf(c)
	if err != nil {
		return nil, nil, 0, err
	}
	id := c.Param("id")
	if !api.IsID(api.BatchPrefix, id) {
		return nil, nil, 0, api.NotFound("There is no such batch.", nil)
	}
	rec, rev, err := getRecord(c.Request.Context(), store, owner, id)
	if errors.Is(err, jet.ErrNotFound) {
		return nil, nil, 0, api.NotFound("There is no such batch.", err)
	}
	return store, rec, rev, err
}

func (a *API) read(c *gin.Context) error {
	_, rec, _, err := a.find(c)
	if err == nil {
		c.JSON(http.StatusOK, rec.view())
	}
	return err
}

// cancel marks a batch as cancelling. Its driver cancels it.
func (a *API) cancel(c *gin.Context) error {
	store, rec, rev, err := a.find(c)
	if err != nil {
		return err
	}
	rec, _, err = update(c.Request.Context(), store, rec, rev, func(rec *record) error {
		switch rec.Status {
		case statusValidating, statusInProgress:
			rec.Status, rec.Cancelling = statusCancelling, time.Now()
			return nil
		case statusCancelling:
			return errUnchanged
		}
		return api.WrongState("batch_finished", "Cannot cancel a batch with status '%s'.", rec.Status)
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return err
	}
	store.Notify(rec.ID, host.Stop)
	c.JSON(http.StatusOK, rec.view())
	return nil
}

// errUnchanged is returned when there is nothing to change.
var errUnchanged = errors.New("batch: unchanged")

func (a *API) list(c *gin.Context) error {
	return a.host.Listed(c, api.BatchRecords, api.Pages{Most: 100, Usual: 20}, func(ctx context.Context, store *jet.Store, owner, id string) (any, error) {
		rec, _, err := getRecord(ctx, store, owner, id)
		if err != nil {
			return nil, err
		}
		return rec.view(), nil
	})
}
