package jobs

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

func (a *API) post(c *gin.Context) error {
	rec, err := a.submit(c)
	if err != nil {
		return err
	}
	c.Header("Location", strings.TrimSuffix(c.Request.URL.Path, "/")+"/"+rec.ID)
	c.Header("Retry-After", "1")
	c.JSON(http.StatusAccepted, rec.view())
	return nil
}

// find reads the job that a request names.
func (a *API) find(c *gin.Context) (*jet.Store, *record, error) {
	store, owner, err := a.host.StoreOf(c)
	if err != nil {
		return nil, nil, err
	}
	id := c.Param("id")
	if !api.IsID(api.JobPrefix, id) {
		return nil, nil, api.NotFound("There is no such job.", nil)
	}
	rec, err := a.current(c.Request.Context(), store, owner, id)
	if errors.Is(err, jet.ErrNotFound) {
		return nil, nil, api.NotFound("There is no such job.", err)
	}
	return store, rec, err
}

// current reads a job, and ends it first if it has expired.
func (a *API) current(ctx context.Context, store *jet.Store, owner, id string) (*record, error) {
	rec, _, err := getRecord(ctx, store, owner, id)
	if err != nil {
		return nil, err
	}
	if rec.Status == statusQueued && time.Now().After(rec.Expires) {
		err = a.end(ctx, store, rec, expired())
	}
	return rec, err
}

const (
	// recheck is how often a job is read for a waiting client without a notification.
	recheck = 5 * time.Second
	// maxWait is the longest ?wait that is obeyed.
	maxWait = 5 * time.Minute
)

// waitFor reads ?wait=30s, or plain seconds.
func waitFor(c *gin.Context) (time.Duration, error) {
	text := c.Query("wait")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if seconds, fault := strconv.ParseUint(text, 10, 31); fault == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < 0 {
		return 0, api.Invalid("invalid_wait", "wait must be a duration such as 30s.")
	}
	return min(d, maxWait), nil
}

// await reads the job that a request names, and waits for its end if the request has a
// ?wait.
func (a *API) await(c *gin.Context) (*jet.Store, *record, error) {
	wait, err := waitFor(c)
	if err != nil {
		return nil, nil, err
	}
	store, rec, err := a.find(c)
	if err != nil || rec.done() || wait == 0 {
		return store, rec, err
	}
	err = a.follow(c.Request.Context(), store, rec, time.Now().Add(wait), func(now *record) (bool, error) {
		rec = now
		return now.done(), nil
	})
	return store, rec, err
}

// follow calls each with a job after every change, until each returns true, or a time
// comes. A client disconnect is an error.
func (a *API) follow(ctx context.Context, store *jet.Store, rec *record, until time.Time, each func(*record) (bool, error)) error {
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > int64(a.cfg.Waiters) {
		return &apierror.Error{Status: http.StatusServiceUnavailable, Code: "too_many_waiters", Message: "Too many clients wait.", RetryAfter: time.Second, Err: queue.ErrLimit}
	}
	news, leave := a.host.Waiters.Add(rec.ID)
	defer leave()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var err error
		if rec, err = a.current(ctx, store, rec.Owner, rec.ID); err != nil {
			return err
		}
		if enough, err := each(rec); err != nil || enough {
			return err
		}
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		timer.Reset(min(left, recheck, max(time.Until(rec.Expires), time.Millisecond)))
		select {
		case <-news:
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (a *API) read(c *gin.Context) error {
	_, rec, err := a.await(c)
	if err != nil {
		return err
	}
	if !rec.done() {
		c.Header("Retry-After", "1")
	}
	c.JSON(http.StatusOK, rec.view())
	return nil
}

// readResult responds as the upstream did; with the job and 202 while there is no
// result.
func (a *API) readResult(c *gin.Context) error {
	store, rec, err := a.await(c)
	if err != nil {
		return err
	}
	if !rec.done() {
		c.Header("Retry-After", "1")
		c.JSON(http.StatusAccepted, rec.view())
		return nil
	}
	raw, err := store.Results.Get(c.Request.Context(), rec.ID, rec.Round)
	if err != nil {
		return err
	}
	r, err := decodeResult(raw.Value)
	if err != nil {
		return err
	}
	switch {
	case r.Status != 0:
		c.Header("X-Content-Type-Options", "nosniff")
		c.Data(r.Status, r.Type, r.body)
		return nil
	case r.Outcome == task.Cancelled:
		return &apierror.Error{Status: http.StatusConflict, Code: r.Code, Message: r.Message, Err: queue.ErrState}
	case r.Outcome == task.Expired:
		return &apierror.Error{Status: http.StatusGone, Code: r.Code, Message: r.Message, Err: queue.ErrState}
	}
	return &apierror.Error{Status: http.StatusBadGateway, Code: r.Code, Message: r.Message}
}

func (a *API) cancel(c *gin.Context) error {
	store, rec, err := a.find(c)
	if err != nil {
		return err
	}
	if !rec.done() {
		if err := a.end(c.Request.Context(), store, rec, &result{Outcome: task.Cancelled, Code: "job_cancelled", Message: "The job was cancelled."}); err != nil {
			return err
		}
		store.Notify(rec.ID, host.Stop)
	}
	if rec.Status != statusCancelled {
		return api.WrongState("job_finished", "The job is %s already.", rec.Status)
	}
	c.JSON(http.StatusOK, rec.view())
	return nil
}

func (a *API) list(c *gin.Context) error {
	return a.host.Listed(c, api.JobRecords, api.Pages{Most: 100, Usual: 20}, func(ctx context.Context, store *jet.Store, owner, id string) (any, error) {
		rec, err := a.current(ctx, store, owner, id)
		if err != nil {
			return nil, err
		}
		return rec.view(), nil
	})
}
