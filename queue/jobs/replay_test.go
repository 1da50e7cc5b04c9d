package jobs_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/batch"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// letter waits for a dead letter, the only one, and returns it.
func letter(t *testing.T, a *queuetest.App) queuetest.Object {
	t.Helper()
	var all []queuetest.Object
	a.Eventually("there is a dead letter", func() bool {
		all = nil
		data, _ := a.Want(http.StatusOK, http.MethodGet, "/admin/queue/dead", "")["data"].([]any)
		for _, l := range data {
			all = append(all, queuetest.Object(l.(map[string]any)))
		}
		return len(all) == 1
	})
	return all[0]
}

// A replayed job that fails again is another dead letter of the same job; its earlier
// result does not count.
func TestReplayFailsAgain(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Attempts = 1
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) })
	})
	id := a.Submit(queuetest.Job(1))
	a.Done(id)
	first := letter(t, a)
	status.Store(http.StatusBadGateway)
	assert.Equal(t, id, a.Want(http.StatusAccepted, http.MethodPost, "/admin/queue/dead/"+first.Str("id")+"/replay", "").Str("replayed_as"))
	a.Eventually("the second round ends", func() bool {
		return a.Do(http.MethodGet, "/v1/jobs/"+id+"/result?wait=5s", "").Code == http.StatusBadGateway
	})
	second := letter(t, a)
	assert.NotEqual(t, first.Str("id"), second.Str("id"))
	assert.Equal(t, id, second.Str("of"))
	assert.Equal(t, "failed 1 times, at last: status 502", second.Str("reason"))

	status.Store(http.StatusOK)
	a.Want(http.StatusAccepted, http.MethodPost, "/admin/queue/dead/"+second.Str("id")+"/replay", "")
	a.Eventually("the third round ends", func() bool {
		return a.Do(http.MethodGet, "/v1/jobs/"+id+"/result?wait=5s", "").Code == http.StatusOK
	})
	got := a.Done(id)
	assert.Equal(t, "completed", got.Str("status"))
	assert.Nil(t, got["error"])
	assert.InDelta(t, 1, got["attempts"], 0.1, "of this round")
}

// The job of a dead letter may have expired.
func TestReplayOfExpired(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	cfg := queuetest.Defaults(s)
	cfg.Attempts = 1
	cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	a := queuetest.Start(t, cfg)
	a.Done(a.Submit(queuetest.Job(1)))
	l := letter(t, a)
	nc, err := s.Connect(t.Context())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	records, err := js.Stream(t.Context(), "KV_ginfer_state")
	require.NoError(t, err)
	require.NoError(t, records.Purge(t.Context()))
	a.Want(http.StatusNotFound, http.MethodPost, "/admin/queue/dead/"+l.Str("id")+"/replay", "")
	assert.Equal(t, l.Str("id"), letter(t, a).Str("id"), "the letter stays")
}

// A gateway that serves only batches can neither carry out nor replay jobs; they wait
// for one that can.
func TestWithoutJobs(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	cfg := queuetest.Defaults(s)
	q, err := queue.New(cfg.Config)
	require.NoError(t, err)
	b, err := batch.New(batch.Config{Queue: q})
	require.NoError(t, err)
	r := gin.New()
	b.Routes(r.Group("/v1"))
	q.AdminRoutes(r.Group("/admin"))
	other := &queuetest.App{Queue: q, HTTP: r, User: "ann"}

	front := queuetest.Defaults(s)
	front.Workers = -1
	a := queuetest.Start(t, front)
	id := a.Submit(queuetest.Job(1))
	queuetest.RunUntilEnd(t, q.Run)
	a.Eventually("it is connected", func() bool { s, _ := q.Status(t.Context()); return s.Connected })
	assert.Equal(t, "queued", a.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+id+"?wait=300ms", "").Str("status"))

	full := queuetest.Defaults(s)
	full.Attempts = 1
	full.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	queuetest.Start(t, full)
	assert.Equal(t, "failed", a.Done(id).Str("status"))
	l := letter(t, a)
	w := httptest.NewRecorder()
	other.HTTP.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/admin/queue/dead/"+l.Str("id")+"/replay", http.NoBody))
	assert.Equal(t, http.StatusConflict, w.Code)
	assert.Contains(t, w.Body.String(), "dead_letter_unsupported")
}

// A webhook reports how its job ended.
func TestWebhookEvents(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, event string
		setup       func(*queuetest.Setup)
		job         string // members of the submission
	}{
		{"completed", "job.completed", func(*queuetest.Setup) {}, ""},
		{"failed", "job.failed", func(cfg *queuetest.Setup) {
			cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
		}, ""},
		{"expired", "job.expired", func(cfg *queuetest.Setup) { cfg.SpareCapacity = func() int { return 0 } }, `,"expires_in":1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := queuetest.Quick(t, func(cfg *queuetest.Setup) { webhooks(cfg); tt.setup(cfg) })
			url, calls := receiver(t)
			id := a.Submit(`{"url":"/v1/completions","body":{},"webhook":{"url":"` + url + `"}` + tt.job + `}`)
			a.Done(id)
			c := <-calls
			assert.Contains(t, c.body, `"type":"`+tt.event+`"`)
			assert.Contains(t, c.body, `"id":"`+id+`"`)
			assert.NotContains(t, c.body, "echo", "the response is not in it")
			assert.Equal(t, "application/json", c.header.Get("Content-Type"))
			assert.Equal(t, "msg_"+id+"_0", c.header.Get("Webhook-Id"))
			assert.Empty(t, c.header.Get("X-User"))
			assert.Empty(t, calls, "one call")
		})
	}
}

// A replayed job has a webhook call of its own.
func TestWebhookOfReplay(t *testing.T) {
	t.Parallel()
	var healthy atomic.Bool
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		webhooks(cfg)
		cfg.Attempts = 1
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !healthy.Load() {
				w.WriteHeader(http.StatusBadGateway)
			}
		})
	})
	url, calls := receiver(t)
	id := a.Submit(hooked(url))
	assert.Contains(t, (<-calls).body, `"job.failed"`)
	l := letter(t, a)
	healthy.Store(true)
	a.Want(http.StatusAccepted, http.MethodPost, "/admin/queue/dead/"+l.Str("id")+"/replay", "")
	c := <-calls
	assert.Contains(t, c.body, `"job.completed"`)
	assert.Equal(t, "msg_"+id+"_1", c.header.Get("Webhook-Id"))
}

// A process that accepts webhooks need not be the one that calls them, and a call that
// the end of a process interrupts is repeated by the next.
func TestWebhookIsRepeatedAfterRestart(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	reached, ids := make(chan string, 10), []string{}
	release := make(chan struct{})
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached <- r.Header.Get("Webhook-Id")
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hook.Close)
	cfg := queuetest.Defaults(s)
	webhooks(&cfg).Timeout = time.Minute
	a := queuetest.Start(t, cfg)
	id := a.Submit(hooked(hook.URL))
	ids = append(ids, <-reached)
	a.Stop()
	close(release)
	var seen queuetest.Events
	cfg.OnEvent = seen.On
	b := queuetest.Start(t, cfg)
	ids = append(ids, <-reached)
	assert.Equal(t, []string{"msg_" + id + "_0", "msg_" + id + "_0"}, ids)
	b.Eventually("it is delivered", func() bool { return len(seen.Of(queue.Called)) == 1 })
	assert.Equal(t, http.StatusOK, seen.Of(queue.Called)[0].Status)
}

// No more calls run at once than Concurrency allows.
func TestWebhookConcurrency(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int64
	began, end := make(chan struct{}, 20), make(chan struct{})
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := running.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		began <- struct{}{}
		<-end
		running.Add(-1)
	}))
	t.Cleanup(hook.Close)
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { webhooks(cfg).Concurrency = 2 })
	for range 20 {
		a.Submit(hooked(hook.URL))
	}
	for range 20 {
		<-began
		end <- struct{}{}
	}
	assert.LessOrEqual(t, most.Load(), int64(2))
}

// A URL that was allowed when the job came is not called after the list has changed.
func TestWebhookHostsChange(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	url, calls := receiver(t)
	front, worker := queuetest.Defaults(s), queuetest.Defaults(s)
	webhooks(&front)
	front.Workers = -1
	a := queuetest.Start(t, front)
	id := a.Submit(hooked(url))
	a.Stop()

	var seen queuetest.Events
	webhooks(&worker).Hosts = []string{"hooks.example.com"}
	worker.OnEvent = seen.On
	b := queuetest.Start(t, worker)
	assert.Equal(t, "completed", b.Done(id).Str("status"))
	l := letter(t, b)
	assert.Contains(t, l.Str("reason"), "the host is not on the list")
	assert.Len(t, seen.Of(queue.Dead), 1, "at once")
	assert.True(t, strings.HasPrefix(l.Str("of"), "job_"))
	assert.Empty(t, calls)
}
