package jobs_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stream opens the events of a job. Next returns the next event and its job.
func stream(ctx context.Context, t *testing.T, a *queuetest.App, id string) (h http.Header, next func() (string, queuetest.Object)) {
	t.Helper()
	srv := httptest.NewServer(a.HTTP)
	t.Cleanup(srv.Close)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/v1/jobs/"+id+"/events", http.NoBody)
	require.NoError(t, err)
	r.Header.Set("X-User", a.User)
	res, err := srv.Client().Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	in := bufio.NewScanner(res.Body)
	return res.Header, func() (name string, o queuetest.Object) {
		for in.Scan() {
			if n, ok := strings.CutPrefix(in.Text(), "event: "); ok {
				name = n
			}
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				require.NoError(t, json.Unmarshal([]byte(data), &o))
				return name, o
			}
		}
		return "", nil
	}
}

// Each event has the whole job, from its state at the request to its end.
func TestEventsFromQueuedToDone(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler, cfg.Workers = g, 1 })
	first := a.Submit(queuetest.Job(1))
	<-g.Began
	id := a.Submit(queuetest.Job(2))
	header, next := stream(t.Context(), t, a, id)
	assert.Equal(t, "no-cache, no-transform", header.Get("Cache-Control"))
	assert.Equal(t, "no", header.Get("X-Accel-Buffering"))
	for i, want := range []string{"queued", "in_progress", "completed"} {
		name, o := next()
		assert.Equal(t, "job."+want, name)
		assert.Equal(t, want, o.Str("status"))
		assert.Equal(t, id, o.Str("id"))
		if i < 2 {
			g.Open <- struct{}{} // first the other job, then this one
		}
	}
	name, _ := next()
	assert.Empty(t, name, "the stream ends with the job")
	a.Done(first)
}

// A job that is done has one event.
func TestEventsOfDone(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	id := a.Submit(queuetest.Job(1))
	a.Done(id)
	_, next := stream(t.Context(), t, a, id)
	name, o := next()
	assert.Equal(t, "job.completed", name)
	assert.NotNil(t, o["response"])
	name, _ = next()
	assert.Empty(t, name)
}

func TestEventsOfCancelled(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler = g })
	id := a.Submit(queuetest.Job(1))
	<-g.Began
	_, next := stream(t.Context(), t, a, id)
	name, _ := next()
	assert.Equal(t, "job.in_progress", name)
	a.Want(http.StatusOK, http.MethodPost, "/v1/jobs/"+id+"/cancel", "")
	name, o := next()
	assert.Equal(t, "job.cancelled", name)
	assert.Equal(t, "job_cancelled", o.Code())
}

// A client disconnect frees its place among the waiters.
func TestEventsDisconnect(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler, cfg.Jobs.Waiters = g, 1 })
	id := a.Submit(queuetest.Job(1))
	<-g.Began
	ctx, disconnect := context.WithCancel(t.Context())
	_, next := stream(ctx, t, a, id)
	name, _ := next()
	require.Equal(t, "job.in_progress", name)
	assert.Equal(t, "too_many_waiters", a.Want(http.StatusServiceUnavailable, http.MethodGet, "/v1/jobs/"+id+"?wait=1s", "").Code())
	assert.Equal(t, "too_many_waiters", a.Want(http.StatusServiceUnavailable, http.MethodGet, "/v1/jobs/"+id+"/events", "").Code())
	assert.Equal(t, "in_progress", a.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+id, "").Str("status"), "without ?wait there is no bound")
	disconnect()
	a.Eventually("there is a place again", func() bool {
		return a.Do(http.MethodGet, "/v1/jobs/"+id+"?wait=1ms", "").Code == http.StatusOK
	})
	close(g.Open)
	a.Done(id)
}

// A batch is driven however many clients wait for jobs.
func TestWaitersDoNotStopBatches(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler, cfg.Jobs.Waiters = g, 1 })
	id := a.Submit(queuetest.Job(1))
	<-g.Began
	_, next := stream(t.Context(), t, a, id)
	next()
	batch := a.Batch(queuetest.Lines(3))
	a.UnderWay(g, batch)
	close(g.Open)
	assert.Equal(t, [3]int{3, 3, 0}, a.Ended(batch).Counts())
}
