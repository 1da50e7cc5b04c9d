package queue

import (
	"context"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// Status is the state of a queue.
type Status struct {
	// Connected reports whether the store responds.
	Connected bool `json:"connected"`
	// Tasks is the number of unfinished tasks of all processes; Running those in this
	// one, of at most Workers.
	Tasks   uint64 `json:"tasks"`
	Running int    `json:"running"`
	Workers int    `json:"workers"`
	// Lanes are the lanes with tasks.
	Lanes []LaneStatus `json:"lanes"`
	// DeadLetters, Results, ResultBytes and FileBytes are stored.
	DeadLetters uint64 `json:"dead_letters"`
	Results     uint64 `json:"results"`
	ResultBytes uint64 `json:"result_bytes"`
	FileBytes   uint64 `json:"file_bytes"`
}

// LaneStatus is the number of unfinished tasks of a tenant and priority.
type LaneStatus struct {
	Tenant   string `json:"tenant"`
	Priority string `json:"priority"`
	Tasks    uint64 `json:"tasks"`
}

// Status queries the store. Without it the error is [ErrUnavailable].
func (q *Queue) Status(ctx context.Context) (Status, error) {
	s := Status{Workers: max(q.cfg.Workers, 0), Lanes: []LaneStatus{}}
	store, err := q.host.Store()
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
		return s, api.Error(err)
	}
	s.Connected, s.Tasks, s.DeadLetters, s.Results, s.ResultBytes, s.FileBytes = true, u.Tasks, u.Dead, u.Results, u.ResultBytes, u.FileBytes
	for lane, n := range u.Lanes {
		if p, ok := task.Priority(lane); ok {
			s.Lanes = append(s.Lanes, LaneStatus{lane.Tenant, Priority(p).String(), n})
		}
	}
	return s, nil
}

// AdminRoutes adds /queue and /queue/dead to a group that only operators reach. They see
// the dead letters of all tenants, but not their content.
func (q *Queue) AdminRoutes(r gin.IRouter) {
	r.GET("/queue", q.host.Handler(func(c *gin.Context) error {
		s, err := q.Status(c.Request.Context())
		if err == nil {
			c.JSON(http.StatusOK, s)
		}
		return err
	}))
	r.GET("/queue/dead", q.host.Handler(q.listDead))
	r.POST("/queue/dead/:number/replay", q.host.Writer(q.replayDead))
	r.DELETE("/queue/dead/:number", q.host.Writer(q.deleteDead))
}

// deadView is a dead letter as operators see it.
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
	store, err := q.host.Store()
	if err != nil {
		return err
	}
	text, limit, err := api.Page(c, 1000, 100)
	if err != nil {
		return err
	}
	var after uint64
	if text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return api.Invalid("invalid_after", "after must be the id of a dead letter.")
		}
	}
	letters, err := store.Letters.List(c.Request.Context(), after, limit+1)
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
	c.JSON(http.StatusOK, api.NewList(data, ids, more))
	return nil
}

func (q *Queue) findDead(c *gin.Context) (*jet.Store, jet.Letter, error) {
	store, err := q.host.Store()
	if err != nil {
		return nil, jet.Letter{}, err
	}
	number, err := strconv.ParseUint(c.Param("number"), 10, 64)
	if err != nil {
		return nil, jet.Letter{}, api.NotFound("There is no such dead letter.", nil)
	}
	l, err := store.Letters.Get(c.Request.Context(), number)
	return store, l, err
}

func (q *Queue) deleteDead(c *gin.Context) error {
	store, l, err := q.findDead(c)
	if err != nil {
		return err
	}
	if err := store.Letters.Discard(c.Request.Context(), l); err != nil {
		return err
	}
	c.JSON(http.StatusOK, gin.H{"id": c.Param("number"), "object": "dead_letter", "deleted": true})
	return nil
}

// replayDead submits a dead letter again. A repeated call continues where the first one
// failed.
func (q *Queue) replayDead(c *gin.Context) error {
	store, l, err := q.findDead(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	content, err := store.Letters.Content(ctx, l)
	if err != nil {
		return err
	}
	id, err := q.host.Replay(ctx, store, &l, content)
	if err != nil {
		return err
	}
	if err := store.Letters.Discard(ctx, l); err != nil {
		return err
	}
	c.JSON(http.StatusAccepted, gin.H{"id": c.Param("number"), "object": "dead_letter", "replayed_as": id})
	return nil
}
