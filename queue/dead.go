package queue

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// Status is how the queue is.
type Status struct {
	// Connected says that the store answers.
	Connected bool `json:"connected"`
	// Tasks are not done yet, of all processes; Running run in this one, of Workers.
	Tasks   uint64 `json:"tasks"`
	Running int    `json:"running"`
	Workers int    `json:"workers"`
	// Lanes are the tenants with tasks.
	Lanes []LaneStatus `json:"lanes"`
	// DeadLetters, Results, ResultBytes and FileBytes are kept.
	DeadLetters uint64 `json:"dead_letters"`
	Results     uint64 `json:"results"`
	ResultBytes uint64 `json:"result_bytes"`
	FileBytes   uint64 `json:"file_bytes"`
}

// LaneStatus is a tenant's tasks of one priority.
type LaneStatus struct {
	Tenant   string `json:"tenant"`
	Priority string `json:"priority"`
	Tasks    uint64 `json:"tasks"`
}

// Status asks the store. Without it, the error is [ErrUnavailable].
func (q *Queue) Status(ctx context.Context) (Status, error) {
	s := Status{Workers: max(q.cfg.Workers, 0), Lanes: []LaneStatus{}}
	store, err := q.backend()
	if err != nil {
		return s, err
	}
	if d := q.lanes.Load(); d != nil {
		d.mu.Lock()
		s.Running = d.busy
		d.mu.Unlock()
	}
	u, err := store.Usage(ctx)
	if err != nil {
		return s, faultOf(err)
	}
	s.Connected, s.Tasks, s.DeadLetters, s.Results, s.ResultBytes, s.FileBytes = true, u.Tasks, u.Dead, u.Results, u.ResultBytes, u.FileBytes
	_, order := classes()
	for lane, n := range u.Lanes {
		if lane.Class >= 0 && lane.Class < len(order) {
			s.Lanes = append(s.Lanes, LaneStatus{lane.Tenant, order[lane.Class].String(), n})
		}
	}
	return s, nil
}

// AdminRoutes adds /queue, /queue/batches and /queue/dead to a group that only operators
// reach. They see everybody's batches and dead letters, but not what was asked.
func (q *Queue) AdminRoutes(r gin.IRouter) {
	r.GET("/queue", q.answer(func(c *gin.Context) error {
		s, err := q.Status(c.Request.Context())
		if err == nil {
			c.JSON(http.StatusOK, s)
		}
		return err
	}))
	r.GET("/queue/batches", q.answer(q.listAllBatches))
	r.GET("/queue/dead", q.answer(q.listDead))
	r.POST("/queue/dead/:number/replay", q.answer(q.replayDead))
	r.DELETE("/queue/dead/:number", q.answer(q.deleteDead))
}

// deadView is a dead letter for an operator.
type deadView struct {
	ID        string `json:"id"`
	Object    string `json:"object"`
	Kind      string `json:"kind"`
	Of        string `json:"of"`
	Tenant    string `json:"tenant"`
	Reason    string `json:"reason"`
	Attempts  int    `json:"attempts"`
	CreatedAt int64  `json:"created_at"`
}

func (q *Queue) listDead(c *gin.Context) error {
	store, err := q.backend()
	if err != nil {
		return err
	}
	text, limit, err := page(c, 1000, 100)
	if err != nil {
		return err
	}
	var after uint64
	if text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return invalid("invalid_after", "after must be the id of a dead letter.")
		}
	}
	letters, err := store.Letters(c.Request.Context(), after, limit+1)
	if err != nil {
		return err
	}
	more := len(letters) > limit
	letters = letters[:min(limit, len(letters))]
	var data []any
	var ids []string
	for i := range letters {
		l := &letters[i]
		id := strconv.FormatUint(l.Number, 10)
		ids = append(ids, id)
		data = append(data, deadView{id, "dead_letter", l.Kind, l.ID, l.Tenant, l.Reason, l.Attempts, l.Time.Unix()})
	}
	c.JSON(http.StatusOK, newList(data, ids, more))
	return nil
}

func (q *Queue) findDead(c *gin.Context) (*jet.Store, jet.Letter, error) {
	store, err := q.backend()
	if err != nil {
		return nil, jet.Letter{}, err
	}
	number, err := strconv.ParseUint(c.Param("number"), 10, 64)
	if err != nil {
		return nil, jet.Letter{}, notFound("There is no such dead letter.", nil)
	}
	l, err := store.Letter(c.Request.Context(), number)
	return store, l, err
}

func (q *Queue) deleteDead(c *gin.Context) error {
	store, l, err := q.findDead(c)
	if err != nil {
		return err
	}
	if err := store.Discard(c.Request.Context(), l); err != nil {
		return err
	}
	c.JSON(http.StatusOK, gin.H{"id": c.Param("number"), "object": "dead_letter", "deleted": true})
	return nil
}

// replayDead tries again. A job goes on under its ID; a line of a batch, which has its
// error already, becomes a job of the batch's owner. A second call finds how far the
// first came.
func (q *Queue) replayDead(c *gin.Context) error {
	store, l, err := q.findDead(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	content, err := store.Content(ctx, l)
	if err != nil {
		return err
	}
	id := l.ID
	if l.Kind == kindHook {
		err = store.Send(ctx, jet.Hooks, l.Tenant, "replay-"+c.Param("number"), content)
	} else {
		id, err = q.replay(ctx, store, &l, content)
	}
	if err != nil {
		return err
	}
	if err := store.Discard(ctx, l); err != nil {
		return err
	}
	c.JSON(http.StatusAccepted, gin.H{"id": c.Param("number"), "object": "dead_letter", "replayed_as": id})
	return nil
}

func (q *Queue) replay(ctx context.Context, store *jet.Store, l *jet.Letter, content []byte) (string, error) {
	var t task
	if err := json.Unmarshal(content, &t); err != nil {
		return "", wrongState("dead_letter_unreadable", "The dead letter can't be read.")
	}
	if t.Kind == kindLine {
		return q.replayLine(ctx, store, l, &t)
	}
	rec, rev, err := getJob(ctx, store, t.Owner, t.ID)
	if err != nil {
		return "", err
	}
	round := t.Slot + 1
	rec, err = updateJob(ctx, store, rec, rev, func(rec *jobRecord) bool {
		if rec.Round >= round {
			return false
		}
		rec.Round, rec.Status, rec.Expires = round, statusQueued, time.Now().Add(q.cfg.Window)
		rec.Started, rec.Finished, rec.HTTP, rec.Request, rec.Error, rec.Attempts = time.Time{}, time.Time{}, 0, "", nil, 0
		return true
	})
	if err != nil {
		return "", err
	}
	t.Slot = round
	store.Notify(rec.ID, wordChanged)
	return rec.ID, publish(ctx, store, rec.lane(), &t)
}

// replayLine makes the same job at each call.
func (q *Queue) replayLine(ctx context.Context, store *jet.Store, l *jet.Letter, t *task) (string, error) {
	batch, _, err := getBatch(ctx, store, t.Owner, t.ID)
	if err != nil && !errors.Is(err, jet.ErrNotFound) {
		return "", err
	}
	if batch != nil {
		t.Origin = batch.Origin
	}
	key := "dead letter " + strconv.FormatUint(l.Number, 10)
	id, _, err := q.claim(ctx, store, key, t.Owner, []byte(key))
	if err != nil {
		return "", err
	}
	now := time.Now()
	rec := &jobRecord{
		ID: id, Owner: t.Owner, Tenant: l.Tenant, Status: statusQueued, Method: t.Method, URL: t.URL, Priority: Low,
		Metadata: map[string]string{"batch": t.ID, "custom_id": t.CustomID}, Created: now, Expires: now.Add(q.cfg.Window),
	}
	_, err = q.enqueue(ctx, store, rec, &task{Kind: kindJob, Owner: t.Owner, ID: id, Method: t.Method, URL: t.URL, Body: t.Body, Origin: t.Origin, Check: true})
	return id, err
}
