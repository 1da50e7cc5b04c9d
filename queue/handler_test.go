package queue_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A handler can use its ResponseWriter as that of a server.
func TestResponseWriter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		handler http.HandlerFunc
		status  int
		body    string
	}{
		{"nothing", func(http.ResponseWriter, *http.Request) {}, 200, ""},
		{"a body alone", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a") }, 200, "a"},
		{"a status alone", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }, 202, ""},
		{"early hints", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusCreated)
		}, 201, ""},
		{"the first status counts", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			w.WriteHeader(http.StatusInternalServerError)
		}, 201, ""},
		{"a header that is too late", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.Header().Set("Content-Type", "text/late")
		}, 200, ""},
		{"flushes", func(w http.ResponseWriter, _ *http.Request) {
			c := http.NewResponseController(w)
			if _, err := io.WriteString(w, "a"); err != nil || c.Flush() != nil {
				return
			}
			_, _ = io.WriteString(w, "b")
		}, 200, "ab"},
		{"deadlines", func(w http.ResponseWriter, _ *http.Request) {
			c := http.NewResponseController(w)
			err := errors.Join(c.SetReadDeadline(time.Now()), c.EnableFullDuplex(), c.SetWriteDeadline(time.Now().Add(time.Hour)), c.SetWriteDeadline(time.Time{}))
			if err == nil {
				_, _ = io.WriteString(w, "all are supported")
			}
		}, 200, "all are supported"},
		{"its length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "ab")
		}, 200, "ab"},
		{"an error of the gateway", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusNotFound) }, 404, "no\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler, cfg.Attempts = tt.handler, 1 })
			id := a.Submit(queuetest.Job(1))
			a.Done(id)
			w := a.Do(http.MethodGet, "/v1/jobs/"+id+"/result", "")
			assert.Equal(t, tt.status, w.Code)
			assert.Equal(t, tt.body, w.Body.String())
			assert.NotEqual(t, "text/late", w.Header().Get("Content-Type"))
		})
	}
}

// The request can be read twice, as a retry in the chain does, and carries no credential.
func TestRequest(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			first, _ := io.ReadAll(r.Body)
			again, err := r.GetBody()
			if err != nil {
				return
			}
			second, _ := io.ReadAll(again)
			if string(first) == string(second) && int(r.ContentLength) == len(first) && r.Header.Get("Authorization") == "" {
				got <- r.Method + " " + r.URL.Path + " " + string(first)
			}
		})
	})
	a.Submit(`{"url":"/v1/embeddings","body":{"input":"ü<>"}}`, "Authorization", "Bearer x")
	assert.Equal(t, `POST /v1/embeddings {"input":"ü\u003c\u003e"}`, <-got)
}

// The wait before an attempt doubles, with jitter, up to MaxBackoff.
func TestBackoff(t *testing.T) {
	t.Parallel()
	var seen queuetest.Events
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.OnEvent, cfg.Attempts, cfg.Backoff, cfg.MaxBackoff = seen.On, 6, 10*time.Millisecond, 40*time.Millisecond
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	})
	a.Done(a.Submit(queuetest.Job(1)))
	retried := seen.Of(queue.Retried)
	require.Len(t, retried, 5)
	for i, ms := range []int{10, 20, 40, 40, 40} {
		e, most := retried[i], time.Duration(ms)*time.Millisecond
		assert.Equal(t, i+1, e.Attempt)
		assert.Equal(t, 500, e.Status)
		assert.GreaterOrEqual(t, e.Delay, most/2, i)
		assert.LessOrEqual(t, e.Delay, most+1, i)
	}
}

// A Retry-After pauses the lane of the tenant, not that of others.
func TestRetryAfterPausesLane(t *testing.T) {
	t.Parallel()
	calls := make(chan string, 10)
	var refused atomic.Bool
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.MaxBackoff = 10 * time.Second
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			info, _ := queue.FromContext(r.Context())
			calls <- info.Tenant
			if !refused.Swap(true) {
				w.Header().Set("Retry-After", "3")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		})
	})
	first := a.Submit(queuetest.Job(1))
	assert.Equal(t, "ann", <-calls)
	begin := time.Now()
	a.Eventually("the lane is paused", func() bool {
		return a.Want(http.StatusOK, http.MethodGet, "/admin/queue", "")["running"].(float64) == 0
	})
	second := a.Submit(queuetest.Job(2))
	a.As("bob").Submit(queuetest.Job(3))
	assert.Equal(t, "bob", <-calls, "bob does not wait")
	assert.Equal(t, "ann", <-calls)
	assert.Equal(t, "ann", <-calls)
	assert.GreaterOrEqual(t, time.Since(begin), 2500*time.Millisecond, "both of ann's do")
	assert.Equal(t, "completed", a.Done(first).Str("status"))
	assert.Equal(t, "completed", a.Done(second).Str("status"))
}

// Errors are rendered by ErrorHandler, and can be distinguished.
func TestErrors(t *testing.T) {
	t.Parallel()
	faults := make(chan error, 1)
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Workers, cfg.Limits.TenantTasks, cfg.Batch.Files = -1, 1, 1
		cfg.ErrorHandler = func(c *gin.Context, err error) {
			faults <- err
			apierror.Abort(c, err)
		}
	})
	id := a.Submit(queuetest.Job(1), "Idempotency-Key", "k")
	a.Upload("x")
	body, kind := queuetest.Form(map[string]string{"purpose": "batch"}, "x")
	tests := []struct {
		request, body string
		header        []string
		want          error
	}{
		{"POST /v1/jobs", queuetest.Job(2), nil, queue.ErrFull},
		{"POST /v1/jobs", queuetest.Job(2), []string{"Idempotency-Key", "k"}, queue.ErrKeyReused},
		{"POST /v1/jobs", "x", nil, queue.ErrInvalid},
		{"GET /v1/jobs/x", "", nil, queue.ErrNotFound},
		{"GET /v1/files/x", "", nil, queue.ErrNotFound},
		{"GET /admin/queue/dead?limit=0", "", nil, queue.ErrInvalid},
		{"POST /admin/queue/dead/9/replay", "", nil, queue.ErrNotFound},
		{"POST /v1/files", body, []string{"Content-Type", kind}, queue.ErrLimit},
	}
	for _, tt := range tests {
		method, path, _ := strings.Cut(tt.request, " ")
		a.Do(method, path, tt.body, tt.header...)
		require.ErrorIs(t, <-faults, tt.want, tt.request)
	}
	a.Want(http.StatusOK, http.MethodPost, "/v1/jobs/"+id+"/cancel", "")
	a.Do(http.MethodGet, "/v1/jobs/"+id+"/result", "")
	require.ErrorIs(t, <-faults, queue.ErrState)
}

// A message that is no task becomes a dead letter, which can't be replayed.
func TestMalformedTask(t *testing.T) {
	t.Parallel()
	var seen queuetest.Events
	s := queuetest.StartServer(t, embedded.Config{})
	cfg := queuetest.Defaults(s)
	cfg.OnEvent = seen.On
	a := queuetest.Start(t, cfg)
	nc, err := s.Connect(t.Context())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "ginfer.w.1.=YW5u", []byte("{")) // ann's lane
	require.NoError(t, err)
	a.Eventually("it is a dead letter", func() bool { return len(seen.Of(queue.Dead)) == 1 })
	require.ErrorContains(t, seen.Of(queue.Dead)[0].Err, "the task can't be read")
	list := a.Want(http.StatusOK, http.MethodGet, "/admin/queue/dead", "")
	l := queuetest.Object(list["data"].([]any)[0].(map[string]any))
	assert.Equal(t, "ann", l.Str("tenant"))
	assert.Equal(t, "dead_letter_unreadable", a.Want(http.StatusConflict, http.MethodPost, "/admin/queue/dead/"+l.Str("id")+"/replay", "").Code())
	assert.Equal(t, "completed", a.Done(a.Submit(queuetest.Job(1))).Str("status"), "the lane continues")
}

// Two queues with different names share a store, and nothing else.
func TestNames(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	one, two := queuetest.Defaults(s), queuetest.Defaults(s)
	one.Name, two.Name = "one", "two"
	one.Workers = -1
	a, b := queuetest.Start(t, one), queuetest.Start(t, two)
	id := a.Submit(queuetest.Job(1), "Idempotency-Key", "k")
	other := b.Submit(queuetest.Job(2), "Idempotency-Key", "k")
	assert.Equal(t, "completed", b.Done(other).Str("status"))
	assert.Equal(t, "queued", a.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+id, "").Str("status"))
	b.Want(http.StatusNotFound, http.MethodGet, "/v1/jobs/"+id, "")
}

// Run retries the connection until it works, and ends with its context even so.
func TestRunWithoutStore(t *testing.T) {
	t.Parallel()
	var seen queuetest.Events
	var attempts atomic.Int64
	q, err := queue.New(queue.Config{
		Owner: queuetest.ByHeader, Handler: queuetest.Echo, OnEvent: seen.On,
		Connect: func(context.Context) (*nats.Conn, error) {
			attempts.Add(1)
			return nil, nats.ErrNoServers
		},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	require.Eventually(t, func() bool { return attempts.Load() >= 2 }, 5*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	require.Len(t, seen.Of(queue.StoreDown), 1, "once, not at each attempt")
	require.ErrorIs(t, seen.Of(queue.StoreDown)[0].Err, nats.ErrNoServers)
	_, err = q.Status(t.Context())
	require.ErrorIs(t, err, queue.ErrUnavailable)
}

// A queue can run again after its Run has ended.
func TestRunAgain(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	first := a.Submit(queuetest.Job(1))
	a.Done(first)
	a.Stop()
	assert.Equal(t, http.StatusServiceUnavailable, a.Do(http.MethodGet, "/v1/jobs/"+first, "").Code)
	queuetest.RunUntilEnd(t, a.Queue.Run)
	a.Eventually("it is connected again", func() bool { s, _ := a.Queue.Status(t.Context()); return s.Connected })
	assert.Equal(t, "completed", a.Done(first).Str("status"))
	assert.Equal(t, "completed", a.Done(a.Submit(queuetest.Job(2))).Str("status"))
}

func TestFromContext(t *testing.T) {
	t.Parallel()
	_, ok := queue.FromContext(t.Context())
	assert.False(t, ok, "a live request")
	found := make(chan bool, 2)
	r := gin.New()
	r.NoRoute(func(c *gin.Context) {
		ctx, cancel := context.WithCancel(c)
		defer cancel()
		for _, ctx := range []context.Context{c, ctx} {
			info, ok := queue.FromContext(ctx)
			found <- ok && info.Tenant == "ann"
		}
		c.JSON(http.StatusOK, gin.H{})
	})
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler = r })
	a.Submit(queuetest.Job(1))
	assert.True(t, <-found, "a *gin.Context")
	assert.True(t, <-found, "a context derived from one")
	assert.Equal(t, "normal high low", strings.Join([]string{queue.Normal.String(), queue.High.String(), queue.Low.String()}, " "))
}
