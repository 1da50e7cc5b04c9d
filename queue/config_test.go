package queue_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	good := func() queue.Config {
		return queue.Config{Connect: queue.URL("nats://127.0.0.1:1"), Owner: byHeader, Handler: echo}
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
		{"no secret", func(c *queue.Config) { c.Webhooks = &queue.Webhooks{} }, []string{"Secrets is required"}},
		{"bad secrets", func(c *queue.Config) {
			c.Webhooks = &queue.Webhooks{Secrets: []string{"x", "whsec_", "whsec_AAAA"}, Timeout: -1}
		}, []string{"Secrets[0]", "Secrets[1]", "Secrets[2]", "negative"}},
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

// Without a store the answer is 503, and there is one when it comes.
func TestStoreIsDown(t *testing.T) {
	t.Parallel()
	var seen events
	cfg := config(startServer(t, embedded.Config{}))
	cfg.OnEvent = seen.on
	connect, ready := cfg.Connect, make(chan struct{})
	cfg.Connect = func(ctx context.Context) (*nats.Conn, error) {
		select {
		case <-ready:
			return connect(ctx)
		default:
			return nil, nats.ErrNoServers
		}
	}
	q, err := queue.New(cfg)
	require.NoError(t, err)
	a := &app{tb: t, queue: q, user: "ann", http: router(q)}
	w := a.do(http.MethodPost, "/v1/jobs", job(1))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code, "Run does not run yet")
	assert.Equal(t, "1", w.Header().Get("Retry-After"))
	runUntilEnd(t, q.Run)
	a.eventually("it tells", func() bool { return len(seen.of(queue.StoreDown)) > 0 })
	_, err = q.Status(t.Context())
	require.ErrorIs(t, err, queue.ErrUnavailable)
	close(ready)
	a.eventually("it comes", func() bool { return len(seen.of(queue.StoreUp)) == 1 })
	a.eventually("it is used", func() bool { return a.do(http.MethodPost, "/v1/jobs", job(1)).Code == http.StatusAccepted })
	require.ErrorIs(t, q.Run(t.Context()), queue.ErrRunning)
}

// A store that ends under a queue is told of; jobs wait for another.
func TestStoreEnds(t *testing.T) {
	t.Parallel()
	var seen events
	dir := t.TempDir()
	s, err := embedded.New(embedded.Config{Dir: dir, DrainTimeout: time.Millisecond})
	require.NoError(t, err)
	stop := runUntilEnd(t, s.Run)
	cfg := config(s)
	cfg.OnEvent = seen.on
	a := start(t, cfg)
	stop()
	a.eventually("it tells", func() bool { return len(seen.of(queue.StoreDown)) > 0 })
	assert.Equal(t, http.StatusServiceUnavailable, a.do(http.MethodPost, "/v1/jobs", job(1)).Code)
}

// A process that is cut off from the store again and again is lost to its tasks. In
// the end they are given up.
func TestLostWorkers(t *testing.T) {
	t.Parallel()
	s := startServer(t, embedded.Config{})
	g := newGate()
	conns := make(chan *nats.Conn, 1)
	cfg := config(s)
	cfg.Handler, cfg.Attempts, cfg.Lease, cfg.DrainTimeout = g, 2, 500*time.Millisecond, 10*time.Millisecond
	cfg.Connect = func(ctx context.Context) (*nats.Conn, error) {
		nc, err := s.Connect(ctx)
		if err == nil {
			conns <- nc
		}
		return nc, err
	}
	front := config(s)
	front.Workers = -1
	a := start(t, front)
	id, batch := a.submit(job(1)), a.batch(lines(1))
	for range 2 {
		q, err := queue.New(cfg)
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- q.Run(context.Background()) }()
		nc := <-conns
		<-g.began
		<-g.began
		nc.Close()
		require.ErrorIs(t, <-ended, queue.ErrClosed)
	}
	start(t, cfg)
	got := a.done(id)
	assert.Equal(t, "failed", got.str("status"))
	assert.Equal(t, "worker_lost", got.code())
	b := a.ended(batch)
	assert.Equal(t, [3]int{1, 0, 1}, b.counts())
	assert.Equal(t, "worker_lost", a.content(b.str("error_file_id"))[0].code())
	assert.Empty(t, g.began, "the third does not try")
	a.eventually("they are dead letters", func() bool {
		letters, _ := a.want(http.StatusOK, http.MethodGet, "/admin/queue/dead?limit=1", "")["data"].([]any)
		return len(letters) == 1
	})
	after := a.want(http.StatusOK, http.MethodGet, "/admin/queue/dead?limit=1", "")
	path := "/admin/queue/dead/" + after.str("last_id")
	assert.Equal(t, true, after["has_more"])
	assert.Equal(t, "invalid_after", a.want(http.StatusBadRequest, http.MethodGet, "/admin/queue/dead?after=x", "").code())
	assert.Equal(t, true, a.want(http.StatusOK, http.MethodDelete, path, "")["deleted"])
	assert.Len(t, a.want(http.StatusOK, http.MethodGet, "/admin/queue/dead?after="+after.str("last_id"), "")["data"], 1)
}

// What one queue took, the next carries out: also a batch under way.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := startServer(t, embedded.Config{})
	g := newGate()
	cfg := config(s)
	cfg.Handler, cfg.DrainTimeout = g, 50*time.Millisecond
	a := start(t, cfg)
	id := a.submit(job(1))
	batch := a.batch(lines(1500))
	a.underWay(g, batch)
	a.stop()
	assert.Positive(t, g.ended.Load(), "the grace is over")

	cfg.Handler = echo
	b := start(t, cfg)
	assert.Equal(t, "completed", b.done(id).str("status"))
	assert.Equal(t, [3]int{1500, 1500, 0}, b.ended(batch).counts())
}

// Several processes carry out what one takes.
func TestTakeOnly(t *testing.T) {
	t.Parallel()
	s := startServer(t, embedded.Config{})
	cfg := config(s)
	cfg.Workers = -1
	front := start(t, cfg)
	id := front.submit(job(1))
	assert.Equal(t, "queued", front.want(http.StatusOK, http.MethodGet, "/v1/jobs/"+id+"?wait=100ms", "").str("status"))
	start(t, config(s))
	assert.Equal(t, "completed", front.done(id).str("status"), "news comes from the other")
}
