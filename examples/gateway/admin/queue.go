package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue"
)

const (
	// queuePatience is how long the page waits for the queue's store.
	queuePatience = 500 * time.Millisecond
	// shownBatches and shownLetters are on the page; /admin/queue has all.
	shownBatches, shownLetters = 10, 20
)

// queueState is the queue on the page. The lists are what operators are answered, the
// newest first.
type queueState struct {
	queue.Status
	Batches json.RawMessage `json:"batches"`
	Dead    json.RawMessage `json:"dead"`
}

// queueView reads the queue for the page, by the same handlers that operators use.
type queueView struct {
	work *work
	api  *gin.Engine
	last queueState
}

// newQueueView is nil without a queue.
func (g *gateway) newQueueView() *queueView {
	if g.work == nil {
		return nil
	}
	none := json.RawMessage("[]")
	v := &queueView{work: g.work, api: gin.New(), last: queueState{Batches: none, Dead: none}}
	v.work.AdminRoutes(v.api)
	return v
}

// state is nil without a queue. What the store does not tell in time is as it was.
// Feeds ask one after the other.
func (v *queueView) state(ctx context.Context) *queueState {
	if v == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queuePatience)
	defer cancel()
	next := v.last
	next.Status, _ = v.work.Status(ctx) // it says whether the store is there
	if next.Connected {
		latest(ctx, v.api, "/queue/batches", shownBatches, &next.Batches)
		latest(ctx, v.api, "/queue/dead", shownLetters, &next.Dead)
	}
	v.last = next
	return &next
}

// latest asks a handler for the first of a list, and leaves it alone when there is no
// answer.
func latest(ctx context.Context, api http.Handler, path string, n int, list *json.RawMessage) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path+"?limit="+strconv.Itoa(n), http.NoBody)
	if err != nil {
		return
	}
	w := &kept{header: http.Header{}, status: http.StatusOK}
	api.ServeHTTP(w, req)
	var page struct{ Data json.RawMessage }
	if w.status == http.StatusOK && json.Unmarshal(w.body.Bytes(), &page) == nil && page.Data != nil {
		*list = page.Data
	}
}

// kept is an answer that stays here.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (k *kept) Header() http.Header { return k.header }

// WriteHeader implements http.ResponseWriter.
func (k *kept) WriteHeader(status int) { k.status = status }

// Write implements http.ResponseWriter.
func (k *kept) Write(p []byte) (int, error) { return k.body.Write(p) }
