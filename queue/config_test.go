package queue_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	good := func() queue.Config {
		return queue.Config{Connect: queue.URL("nats://127.0.0.1:1"), Owner: queuetest.ByHeader, Handler: queuetest.Echo}
	}
	tests := []struct {
		name   string
		change func(*queue.Config)
		want   []string
	}{
		{"good", func(*queue.Config) {}, nil},
		{"nothing", func(c *queue.Config) { *c = queue.Config{} }, []string{"Connect is required", "Owner is required", "one of Config.Handler and Config.Transport"}},
		{"both", func(c *queue.Config) { c.Transport = http.DefaultTransport }, []string{"one of Config.Handler and Config.Transport"}},
		{"identity alone", func(c *queue.Config) { c.Identity = func(*gin.Context) ([]byte, error) { return nil, nil } }, []string{"without Attach"}},
		{"a name", func(c *queue.Config) { c.Name = "a.b" }, []string{"Config.Name"}},
		{"replicas", func(c *queue.Config) { c.Replicas = 6 }, []string{"Replicas"}},
		{"a lease", func(c *queue.Config) { c.Lease = time.Millisecond }, []string{"Lease"}},
		{"negatives", func(c *queue.Config) { c.Attempts, c.ResultTTL, c.Limits.Tasks = -1, -1, -1 }, []string{"Attempts", "TTLs", "Limits"}},
		{"a file that does not last", func(c *queue.Config) { c.FileTTL = time.Hour }, []string{"shorter than Window"}},
		{"an endpoint", func(c *queue.Config) { c.Endpoints = []string{"x"} }, []string{`endpoint "x"`}},
		{"credentials", func(c *queue.Config) { c.Headers = []string{"authorization", "x-api-key"} }, []string{"Authorization", "X-Api-Key"}},
	}
	for _, tt := range tests {
		cfg := good()
		tt.change(&cfg)
		_, err := queue.New(cfg)
		if tt.want == nil {
			require.NoError(t, err, tt.name)
		}
		for _, want := range tt.want {
			assert.ErrorContains(t, err, want, tt.name)
		}
	}
}

// Without a store the response is 503, until it is connected.
func TestStoreIsDown(t *testing.T) {
	t.Parallel()
	var seen queuetest.Events
	cfg := queuetest.Defaults(queuetest.StartServer(t, embedded.Config{}))
	cfg.OnEvent = seen.On
	connect, ready := cfg.Connect, make(chan struct{})
	cfg.Connect = func(ctx context.Context) (*nats.Conn, error) {
		select {
		case <-ready:
			return connect(ctx)
		default:
			return nil, nats.ErrNoServers
		}
	}
	a := queuetest.NewApp(t, cfg)
	w := a.Do(http.MethodPost, "/v1/jobs", queuetest.Job(1))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code, "Run does not run yet")
	assert.Equal(t, "1", w.Header().Get("Retry-After"))
	queuetest.RunUntilEnd(t, a.Queue.Run)
	a.Eventually("it is reported", func() bool { return len(seen.Of(queue.StoreDown)) > 0 })
	_, err := a.Queue.Status(t.Context())
	require.ErrorIs(t, err, queue.ErrUnavailable)
	close(ready)
	a.Eventually("it comes", func() bool { return len(seen.Of(queue.StoreUp)) == 1 })
	a.Eventually("it is used", func() bool { return a.Do(http.MethodPost, "/v1/jobs", queuetest.Job(1)).Code == http.StatusAccepted })
	require.ErrorIs(t, a.Queue.Run(t.Context()), queue.ErrRunning)
}

// A store that stops under a queue is reported. Jobs are refused.
func TestStoreEnds(t *testing.T) {
	t.Parallel()
	var seen queuetest.Events
	dir := t.TempDir()
	s, err := embedded.New(embedded.Config{Dir: dir, DrainTimeout: time.Millisecond})
	require.NoError(t, err)
	stop := queuetest.RunUntilEnd(t, s.Run)
	cfg := queuetest.Defaults(s)
	cfg.OnEvent = seen.On
	a := queuetest.Start(t, cfg)
	stop()
	a.Eventually("it is reported", func() bool { return len(seen.Of(queue.StoreDown)) > 0 })
	assert.Equal(t, http.StatusServiceUnavailable, a.Do(http.MethodPost, "/v1/jobs", queuetest.Job(1)).Code)
}

// Tasks are given up in the end if their processes lose the store repeatedly.
func TestLostWorkers(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	g := queuetest.NewGate()
	conns := make(chan *nats.Conn, 1)
	cfg := queuetest.Defaults(s)
	cfg.Handler, cfg.Attempts, cfg.Lease, cfg.DrainTimeout = g, 2, 500*time.Millisecond, 10*time.Millisecond
	cfg.Connect = func(ctx context.Context) (*nats.Conn, error) {
		nc, err := s.Connect(ctx)
		if err == nil {
			conns <- nc
		}
		return nc, err
	}
	front := queuetest.Defaults(s)
	front.Workers = -1
	a := queuetest.Start(t, front)
	id, batch := a.Submit(queuetest.Job(1)), a.Batch(queuetest.Lines(1))
	for range 2 {
		q, _, err := queuetest.New(cfg)
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- q.Run(context.Background()) }()
		nc := <-conns
		<-g.Began
		<-g.Began
		nc.Close()
		require.ErrorIs(t, <-ended, queue.ErrClosed)
	}
	queuetest.Start(t, cfg)
	got := a.Done(id)
	assert.Equal(t, "failed", got.Str("status"))
	assert.Equal(t, "worker_lost", got.Code())
	b := a.Ended(batch)
	assert.Equal(t, [3]int{1, 0, 1}, b.Counts())
	assert.Equal(t, "worker_lost", a.Content(b.Str("error_file_id"))[0].Code())
	assert.Empty(t, g.Began, "the third makes no attempt")
	a.Eventually("they are dead letters", func() bool {
		letters, _ := a.Want(http.StatusOK, http.MethodGet, "/admin/queue/dead?limit=1", "")["data"].([]any)
		return len(letters) == 1
	})
	after := a.Want(http.StatusOK, http.MethodGet, "/admin/queue/dead?limit=1", "")
	path := "/admin/queue/dead/" + after.Str("last_id")
	assert.Equal(t, true, after["has_more"])
	assert.Equal(t, "invalid_after", a.Want(http.StatusBadRequest, http.MethodGet, "/admin/queue/dead?after=x", "").Code())
	assert.Equal(t, true, a.Want(http.StatusOK, http.MethodDelete, path, "")["deleted"])
	assert.Len(t, a.Want(http.StatusOK, http.MethodGet, "/admin/queue/dead?after="+after.Str("last_id"), "")["data"], 1)
}

// The next queue carries out what the last one accepted, including a running batch.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	g := queuetest.NewGate()
	cfg := queuetest.Defaults(s)
	cfg.Handler, cfg.DrainTimeout = g, 50*time.Millisecond
	a := queuetest.Start(t, cfg)
	id := a.Submit(queuetest.Job(1))
	batch := a.Batch(queuetest.Lines(1500))
	a.UnderWay(g, batch)
	a.Stop()
	assert.Positive(t, g.Ended.Load(), "the grace is over")

	cfg.Handler = queuetest.Echo
	b := queuetest.Start(t, cfg)
	assert.Equal(t, "completed", b.Done(id).Str("status"))
	assert.Equal(t, [3]int{1500, 1500, 0}, b.Ended(batch).Counts())
}

// One process accepts jobs, and another carries them out.
func TestTakeOnly(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	cfg := queuetest.Defaults(s)
	cfg.Workers = -1
	front := queuetest.Start(t, cfg)
	id := front.Submit(queuetest.Job(1))
	assert.Equal(t, "queued", front.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+id+"?wait=100ms", "").Str("status"))
	queuetest.Start(t, queuetest.Defaults(s))
	assert.Equal(t, "completed", front.Done(id).Str("status"), "news comes from the other")
}
