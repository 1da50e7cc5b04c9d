package queue

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// Routes adds all of the API to a group, such as /v1, behind what identifies its
// callers: /files, /batches and /jobs.
func (q *Queue) Routes(r gin.IRouter) {
	q.JobRoutes(r)
	q.BatchRoutes(r)
}

// JobRoutes adds /jobs: one request each.
func (q *Queue) JobRoutes(r gin.IRouter) {
	r.POST("/jobs", q.answer(q.postJob))
	r.GET("/jobs", q.answer(q.listJobs))
	r.GET("/jobs/:id", q.answer(q.readJob))
	r.GET("/jobs/:id/result", q.answer(q.readResult))
	r.GET("/jobs/:id/events", q.answer(q.jobEvents))
	r.POST("/jobs/:id/cancel", q.answer(q.cancelJob))
}

// answer is a handler of a function whose error is still to be answered.
func (q *Queue) answer(f func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		if err := f(c); err != nil {
			q.cfg.ErrorHandler(c, faultOf(err))
		}
	}
}

func (q *Queue) postJob(c *gin.Context) error {
	rec, err := q.submit(c)
	if err != nil {
		return err
	}
	c.Header("Location", strings.TrimSuffix(c.Request.URL.Path, "/")+"/"+rec.ID)
	c.Header("Retry-After", "1")
	c.JSON(http.StatusAccepted, rec.view())
	return nil
}

// find reads the job that a request names.
func (q *Queue) find(c *gin.Context) (*jet.Store, *jobRecord, error) {
	store, owner, err := q.mine(c)
	if err != nil {
		return nil, nil, err
	}
	id := c.Param("id")
	if !isID(jobPrefix, id) {
		return nil, nil, notFound("There is no such job.", nil)
	}
	rec, err := q.current(c.Request.Context(), store, owner, id)
	if errors.Is(err, jet.ErrNotFound) {
		return nil, nil, notFound("There is no such job.", err)
	}
	return store, rec, err
}

// current reads a job, and ends it first when its time has run out.
func (q *Queue) current(ctx context.Context, store *jet.Store, owner, id string) (*jobRecord, error) {
	rec, _, err := getJob(ctx, store, owner, id)
	if err != nil {
		return nil, err
	}
	if rec.Status == statusQueued && time.Now().After(rec.Expires) {
		err = q.endJob(ctx, store, rec, jobResult{Outcome: outcomeExpired, Code: "job_expired", Message: "The job ran out of time before it was done."})
	}
	return rec, err
}

// recheck is how often a waiting client's job is read without any news.
const recheck = 5 * time.Second

// maxWait is the longest that a client can wait.
const maxWait = 5 * time.Minute

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
		return 0, invalid("invalid_wait", "wait must be a time such as 30s.")
	}
	return min(d, maxWait), nil
}

// await reads the job a request names, and waits for its end if the request asks to.
func (q *Queue) await(c *gin.Context) (*jet.Store, *jobRecord, error) {
	wait, err := waitFor(c)
	if err != nil {
		return nil, nil, err
	}
	store, rec, err := q.find(c)
	if err != nil || rec.done() || wait == 0 {
		return store, rec, err
	}
	ctx := c.Request.Context()
	end := time.Now().Add(wait)
	err = q.follow(ctx, store, rec, end, func(now *jobRecord) (bool, error) {
		rec = now
		return now.done(), nil
	})
	return store, rec, err
}

// follow calls each with a job, whenever it is new, until each says that it is
// enough, or a time comes. The client's end is an error.
func (q *Queue) follow(ctx context.Context, store *jet.Store, rec *jobRecord, until time.Time, each func(*jobRecord) (bool, error)) error {
	news, leave, err := q.waiters.add(rec.ID)
	if err != nil {
		return err
	}
	defer leave()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if rec, err = q.current(ctx, store, rec.Owner, rec.ID); err != nil {
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

func (q *Queue) readJob(c *gin.Context) error {
	_, rec, err := q.await(c)
	if err != nil {
		return err
	}
	if !rec.done() {
		c.Header("Retry-After", "1")
	}
	c.JSON(http.StatusOK, rec.view())
	return nil
}

// readResult gives the answer as it came. Until there is one, it is the job, with 202.
func (q *Queue) readResult(c *gin.Context) error {
	store, rec, err := q.await(c)
	if err != nil {
		return err
	}
	if !rec.done() {
		c.Header("Retry-After", "1")
		c.JSON(http.StatusAccepted, rec.view())
		return nil
	}
	raw, err := store.Result(c.Request.Context(), rec.ID, rec.Round)
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
	case r.Outcome == outcomeCancelled:
		return &apierror.Error{Status: http.StatusConflict, Code: r.Code, Message: r.Message, Err: ErrState}
	case r.Outcome == outcomeExpired:
		return &apierror.Error{Status: http.StatusGone, Code: r.Code, Message: r.Message, Err: ErrState}
	}
	return &apierror.Error{Status: http.StatusBadGateway, Code: r.Code, Message: r.Message}
}

func (q *Queue) cancelJob(c *gin.Context) error {
	store, rec, err := q.find(c)
	if err != nil {
		return err
	}
	if !rec.done() {
		ctx := c.Request.Context()
		if err := q.endJob(ctx, store, rec, jobResult{Outcome: outcomeCancelled, Code: "job_cancelled", Message: "The job was cancelled."}); err != nil {
			return err
		}
		store.Notify(rec.ID, wordStop)
	}
	if rec.Status != statusCancelled {
		return wrongState("job_finished", "The job is %s already.", rec.Status)
	}
	c.JSON(http.StatusOK, rec.view())
	return nil
}

func (q *Queue) listJobs(c *gin.Context) error {
	return q.listed(c, jobRecords, 100, 20, func(ctx context.Context, store *jet.Store, owner, id string) (any, error) {
		rec, err := q.current(ctx, store, owner, id)
		if err != nil {
			return nil, err
		}
		return rec.view(), nil
	})
}
