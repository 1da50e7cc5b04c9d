package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/ginfer/ginfer/queue"
)

const (
	// queuePatience is how long the page waits for the queue's store.
	queuePatience = 500 * time.Millisecond
	// shownBatches and shownLetters are on the page; /admin/queue has all.
	shownBatches, shownLetters = 10, 20
)

// queueState is the queue on the page. The lists are those of /admin/queue, newest first.
type queueState struct {
	queue.Status
	Batches json.RawMessage `json:"batches"`
	Dead    json.RawMessage `json:"dead"`
}

// queueView reads the queue for the page, through the handlers of /admin/queue.
type queueView struct {
	queue *live.Queue
	api   *gin.Engine
	last  queueState
}

// newQueueView is nil without a queue.
func newQueueView(q *live.Queue) *queueView {
	if q == nil {
		return nil
	}
	none := json.RawMessage("[]")
	v := &queueView{queue: q, api: gin.New(), last: queueState{Batches: none, Dead: none}}
	v.queue.AdminRoutes(v.api)
	return v
}

// state is nil without a queue. What the store does not return in time stays as it was.
// Feeds call it one after the other.
func (v *queueView) state(ctx context.Context) *queueState {
	if v == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queuePatience)
	defer cancel()
	next := v.last
	next.Status, _ = v.queue.Status(ctx) // it reports whether the store is there
	if next.Connected {
		latest(ctx, v.api, "/queue/batches", shownBatches, &next.Batches)
		latest(ctx, v.api, "/queue/dead", shownLetters, &next.Dead)
	}
	v.last = next
	return &next
}

// latest requests the first n rows of a list, and leaves the list alone when that fails.
func latest(ctx context.Context, api http.Handler, path string, n int, list *json.RawMessage) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path+"?limit="+strconv.Itoa(n), http.NoBody)
	if err != nil {
		return
	}
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	api.ServeHTTP(w, req)
	var page struct{ Data json.RawMessage }
	if w.status == http.StatusOK && json.Unmarshal(w.body.Bytes(), &page) == nil && page.Data != nil {
		*list = page.Data
	}
}

// recorder is a response writer in memory.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) { r.status = status }

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
