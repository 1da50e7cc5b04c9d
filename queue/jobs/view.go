package jobs

import (
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// view is a job as its owner sees it.
type view struct {
	ID         string            `json:"id"`
	Object     string            `json:"object"`
	Status     string            `json:"status"`
	Method     string            `json:"method"`
	URL        string            `json:"url"`
	Priority   string            `json:"priority"`
	Metadata   map[string]string `json:"metadata"`
	CreatedAt  int64             `json:"created_at"`
	StartedAt  *int64            `json:"started_at"`
	FinishedAt *int64            `json:"finished_at"`
	ExpiresAt  int64             `json:"expires_at"`
	Attempts   int               `json:"attempts"`
	Response   *responseView     `json:"response"`
	Error      *task.Error       `json:"error"`
}

type responseView struct {
	StatusCode int    `json:"status_code"`
	RequestID  string `json:"request_id"`
}

func (r *record) view() *view {
	v := &view{
		ID: r.ID, Object: "job", Status: r.Status, Method: r.Method, URL: r.URL, Priority: r.Priority.String(), Metadata: r.Metadata,
		CreatedAt: r.Created.Unix(), StartedAt: api.Unix(r.Started), FinishedAt: api.Unix(r.Finished), ExpiresAt: r.Expires.Unix(),
		Attempts: r.Attempts, Error: r.Error,
	}
	if r.HTTP != 0 {
		v.Response = &responseView{r.HTTP, r.Request}
	}
	return v
}
