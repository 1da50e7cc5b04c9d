package jobs_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJob(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	w := a.Do(http.MethodPost, "/v1/jobs", `{"url":"/v1/chat/completions","method":"POST","body":{"n":7},"priority":"high","expires_in":60,"metadata":{"k":"v"}}`)
	require.Equal(t, http.StatusAccepted, w.Code, w.Body)
	assert.Equal(t, "1", w.Header().Get("Retry-After"))
	location := w.Header().Get("Location")
	id, ok := strings.CutPrefix(location, "/v1/jobs/job_")
	require.True(t, ok, location)
	require.Len(t, id, 36)

	got := a.Done("job_" + id)
	assert.Equal(t, "completed", got.Str("status"))
	assert.Equal(t, "high", got.Str("priority"))
	assert.Equal(t, map[string]any{"k": "v"}, got["metadata"])
	assert.Equal(t, map[string]any{"status_code": float64(200), "request_id": ""}, got["response"])
	assert.Nil(t, got["error"])

	res := a.Do(http.MethodGet, location+"/result", "")
	assert.Equal(t, http.StatusOK, res.Code)
	assert.JSONEq(t, `{"echo":{"n":7}}`, res.Body.String())
	assert.Equal(t, "application/json", res.Header().Get("Content-Type"))
	assert.Equal(t, "job_finished", a.Want(http.StatusConflict, http.MethodPost, location+"/cancel", "").Code())
}

func TestJobIsChecked(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Jobs.BodyBytes = 1000 })
	tests := []struct {
		name, body, code string
		status           int
	}{
		{"no JSON", `{`, "invalid_json", 400},
		{"two values", `{} {}`, "invalid_json", 400},
		{"an unknown member", `{"url":"/v1/completions","body":{},"x":1}`, "invalid_json", 400},
		{"a wrong type", `{"url":1}`, "invalid_json", 400},
		{"another method", `{"url":"/v1/completions","method":"GET","body":{}}`, "invalid_method", 400},
		{"another path", `{"url":"/admin","body":{}}`, "invalid_url", 400},
		{"a path that leads elsewhere", `{"url":"/v1/completions/../../admin","body":{}}`, "invalid_url", 400},
		{"a URL", `{"url":"http://example.com/v1/completions","body":{}}`, "invalid_url", 400},
		{"no body", `{"url":"/v1/completions"}`, "invalid_body", 400},
		{"a body that is no object", `{"url":"/v1/completions","body":[1]}`, "invalid_body", 400},
		{"a stream", `{"url":"/v1/completions","body":{"stream":true}}`, "stream_not_supported", 400},
		{"a stream, hidden by case", `{"url":"/v1/completions","body":{"Stream":true}}`, "invalid_body", 400},
		{"a stream, said twice", `{"url":"/v1/completions","body":{"stream":false,"stream":true}}`, "invalid_body", 400},
		{"an unknown priority", `{"url":"/v1/completions","body":{},"priority":"urgent"}`, "invalid_priority", 400},
		{"too long a time", `{"url":"/v1/completions","body":{},"expires_in":86401}`, "invalid_expires_in", 400},
		{"a webhook, when there are none", `{"url":"/v1/completions","body":{},"webhook":{"url":"https://example.com"}}`, "webhooks_not_supported", 400},
		{"metadata too long", `{"url":"/v1/completions","body":{},"metadata":{"k":"` + strings.Repeat("x", 513) + `"}}`, "invalid_metadata", 400},
		{"too large", `{"url":"/v1/completions","body":{"x":"` + strings.Repeat("x", 1000) + `"}}`, "request_too_large", 413},
	}
	for _, tt := range tests {
		got := a.Do(http.MethodPost, "/v1/jobs", tt.body)
		var o queuetest.Object
		require.NoError(t, json.Unmarshal(got.Body.Bytes(), &o), tt.name)
		assert.Equal(t, tt.status, got.Code, "%s: %s", tt.name, got.Body)
		assert.Equal(t, tt.code, o.Code(), tt.name)
	}
	for _, wait := range []string{"x", "-1s", "-1"} {
		assert.Equal(t, "invalid_wait", a.Want(http.StatusBadRequest, http.MethodGet, "/v1/jobs/"+a.Submit(queuetest.Job(1))+"?wait="+wait, "").Code())
	}
	assert.Equal(t, "invalid_limit", a.Want(http.StatusBadRequest, http.MethodGet, "/v1/jobs?limit=101", "").Code())
}

// An owner can neither see nor detect what belongs to another.
func TestOwner(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	id, input := a.Submit(queuetest.Job(1)), a.Upload(queuetest.Lines(1))
	batch := a.Batch(queuetest.Lines(1))
	a.Done(id)
	a.Ended(batch)
	bob := a.As("bob")
	for _, path := range []string{
		"GET /v1/jobs/" + id, "GET /v1/jobs/" + id + "/result", "GET /v1/jobs/" + id + "/events", "POST /v1/jobs/" + id + "/cancel",
		"GET /v1/files/" + input, "GET /v1/files/" + input + "/content", "DELETE /v1/files/" + input,
		"GET /v1/batches/" + batch, "POST /v1/batches/" + batch + "/cancel",
		"GET /v1/jobs/..", "GET /v1/jobs/job_*", "GET /v1/batches/>", "GET /v1/files/file-%00",
	} {
		method, path, _ := strings.Cut(path, " ")
		assert.Equal(t, "not_found", bob.Want(http.StatusNotFound, method, path, "").Code(), path)
	}
	assert.Equal(t, "invalid_input_file_id", bob.Want(http.StatusBadRequest, http.MethodPost, "/v1/batches",
		`{"input_file_id":"`+input+`","endpoint":"/v1/chat/completions","completion_window":"24h"}`).Code())
	for _, path := range []string{"/v1/jobs", "/v1/files", "/v1/batches"} {
		assert.Empty(t, bob.Want(http.StatusOK, http.MethodGet, path, "")["data"], path)
		assert.NotEmpty(t, a.Want(http.StatusOK, http.MethodGet, path, "")["data"], path)
	}
	assert.Equal(t, "no_owner", a.As("").Want(http.StatusBadRequest, http.MethodPost, "/v1/jobs", queuetest.Job(1)).Code(), "closed")
	assert.Equal(t, "no_owner", a.As(strings.Repeat("x", 300)).Want(http.StatusBadRequest, http.MethodGet, "/v1/jobs", "").Code())
}

func TestOwnerError(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Owner = func(*gin.Context) (string, error) {
			return "", &apierror.Error{Status: http.StatusUnauthorized, Code: "unauthorized"}
		}
	})
	for _, path := range []string{"/v1/jobs", "/v1/files", "/v1/batches"} {
		assert.Equal(t, "unauthorized", a.Want(http.StatusUnauthorized, http.MethodGet, path, "").Code())
		assert.Equal(t, "unauthorized", a.Want(http.StatusUnauthorized, http.MethodPost, path, "{}").Code())
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	})
	first := a.Submit(queuetest.Job(1), "Idempotency-Key", "k")
	assert.Equal(t, first, a.Submit(queuetest.Job(1), "Idempotency-Key", "k"), "at once")
	a.Done(first)
	assert.Equal(t, first, a.Submit(queuetest.Job(1), "Idempotency-Key", "k"), "when it is done")
	assert.NotEqual(t, first, a.Submit(queuetest.Job(1), "Idempotency-Key", "K"), "another key")
	assert.NotEqual(t, first, a.As("bob").Submit(queuetest.Job(1), "Idempotency-Key", "k"), "another owner")
	assert.Equal(t, "idempotency_key_reused", a.Want(http.StatusUnprocessableEntity, http.MethodPost, "/v1/jobs", queuetest.Job(2), "Idempotency-Key", "k").Code())
	assert.Equal(t, "invalid_idempotency_key", a.Want(http.StatusBadRequest, http.MethodPost, "/v1/jobs", queuetest.Job(2), "Idempotency-Key", strings.Repeat("k", 256)).Code())
	a.Eventually("each runs once", func() bool { return calls.Load() == 3 })
}

func TestCancelJob(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	var seen queuetest.Events
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler, cfg.Workers, cfg.OnEvent = g, 1, seen.On })
	running := a.Submit(queuetest.Job(1))
	<-g.Began
	waiting := a.Submit(queuetest.Job(2))
	for _, id := range []string{waiting, running, running} { // twice is once
		assert.Equal(t, "cancelled", a.Want(http.StatusOK, http.MethodPost, "/v1/jobs/"+id+"/cancel", "").Str("status"))
	}
	a.Eventually("the request under way ends", func() bool { return g.Ended.Load() == 1 })
	last := a.Submit(queuetest.Job(3))
	<-g.Began
	close(g.Open)
	assert.Equal(t, "completed", a.Done(last).Str("status"))
	for _, id := range []string{running, waiting} {
		got := a.Done(id)
		assert.Equal(t, "cancelled", got.Str("status"))
		assert.Equal(t, "job_cancelled", got.Code())
		assert.Equal(t, "job_cancelled", a.Want(http.StatusConflict, http.MethodGet, "/v1/jobs/"+id+"/result", "").Code())
	}
	assert.Empty(t, g.Began, "what was cancelled does not run")
	assert.Len(t, seen.Of(queue.Cancelled), 2)
}

func TestJobExpires(t *testing.T) {
	t.Parallel()
	var spare atomic.Int64
	var seen queuetest.Events
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.SpareCapacity, cfg.OnEvent, cfg.Window = func() int { return int(spare.Load()) }, seen.On, 300*time.Millisecond
	})
	picked, polled := a.Submit(queuetest.Job(1)), a.Submit(queuetest.Job(2)) // both have expired when the client of one receives its response
	got := a.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+polled+"?wait=10s", "")
	assert.Equal(t, "expired", got.Str("status"), "although no worker is free")
	spare.Store(1)
	a.Eventually("a worker sees that the other expired", func() bool { return len(seen.Of(queue.Expired)) == 2 })
	assert.Equal(t, "expired", a.Done(picked).Str("status"))
	assert.Equal(t, "job_expired", a.Want(http.StatusGone, http.MethodGet, "/v1/jobs/"+picked+"/result", "").Code())
	assert.Empty(t, seen.Of(queue.Started))
}

func TestWait(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler = g; cfg.Jobs.Waiters = 1 })
	id := a.Submit(queuetest.Job(1))
	<-g.Began
	got := a.Do(http.MethodGet, "/v1/jobs/"+id+"?wait=50ms", "")
	assert.Contains(t, got.Body.String(), `"in_progress"`)
	assert.Equal(t, "1", got.Header().Get("Retry-After"))
	assert.Equal(t, "in_progress", a.Want(http.StatusAccepted, http.MethodGet, "/v1/jobs/"+id+"/result", "").Str("status"))

	responses := make(chan *httptest.ResponseRecorder)
	go func() { responses <- a.Do(http.MethodGet, "/v1/jobs/"+id+"/result?wait=20", "") }()
	a.Eventually("only so many may wait", func() bool {
		select {
		case <-responses: // the one below was first
			go func() { responses <- a.Do(http.MethodGet, "/v1/jobs/"+id+"/result?wait=20", "") }()
		default:
		}
		return a.Do(http.MethodGet, "/v1/jobs/"+id+"?wait=1ms", "").Code == http.StatusServiceUnavailable
	})
	close(g.Open)
	assert.Equal(t, http.StatusOK, (<-responses).Code)
}

func TestEvents(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler = g })
	srv := httptest.NewServer(a.HTTP)
	defer srv.Close()
	id := a.Submit(queuetest.Job(1))
	<-g.Began
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/jobs/"+id+"/events", nil)
	require.NoError(t, err)
	r.Header.Set("X-User", a.User)
	res, err := srv.Client().Do(r)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	assert.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	in := bufio.NewScanner(res.Body)
	event := func() string {
		for in.Scan() {
			if name, ok := strings.CutPrefix(in.Text(), "event: "); ok {
				return name
			}
		}
		return ""
	}
	assert.Equal(t, "job.in_progress", event())
	close(g.Open)
	assert.Equal(t, "job.completed", event())
	assert.Empty(t, event(), "then it ends")
}

func TestListJobs(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	ids := make([]string, 5)
	for i := range ids {
		ids[4-i] = a.Submit(queuetest.Job(i))
		for at := time.Now().UnixMilli(); time.Now().UnixMilli() == at; { // their order goes by it
		}
	}
	var got []string
	after := ""
	for {
		p := a.Want(http.StatusOK, http.MethodGet, "/v1/jobs?limit=2&after="+after, "")
		for _, j := range p["data"].([]any) {
			got = append(got, queuetest.Object(j.(map[string]any)).Str("id"))
		}
		if more, _ := p["has_more"].(bool); !more {
			break
		}
		after = p.Str("last_id")
	}
	assert.Equal(t, ids, got)
}

// A full queue refuses at once, with a Retry-After.
func TestFull(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	defer close(g.Open)
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler, cfg.Workers = g, 1
		cfg.Limits.Tasks, cfg.Limits.TenantTasks = 5, 3
	})
	for i := range 3 {
		a.Submit(queuetest.Job(i))
	}
	full := func(a *queuetest.App, code string) {
		begin := time.Now()
		defer func() { assert.Less(t, time.Since(begin), time.Second, "it refuses at once") }()
		w := a.Do(http.MethodPost, "/v1/jobs", queuetest.Job(9), "Idempotency-Key", "again")
		assert.Equal(t, http.StatusTooManyRequests, w.Code)
		assert.Equal(t, "5", w.Header().Get("Retry-After"))
		assert.Contains(t, w.Body.String(), `"`+code+`"`)
	}
	full(a, "tenant_queue_full")
	bob := a.As("bob")
	bob.Submit(queuetest.Job(1))
	bob.Submit(queuetest.Job(2))
	full(bob, "queue_full")
	assert.Len(t, bob.Want(http.StatusOK, http.MethodGet, "/v1/jobs", "")["data"], 2, "a refused job is not stored")
	g.Open <- struct{}{}
	var id string
	a.Eventually("when there is room, the same key works", func() bool {
		w := bob.Do(http.MethodPost, "/v1/jobs", queuetest.Job(9), "Idempotency-Key", "again")
		id = strings.TrimPrefix(w.Header().Get("Location"), "/v1/jobs/")
		return w.Code == http.StatusAccepted
	})
	assert.Equal(t, "queued", bob.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+id, "").Str("status"))
}

// A large body is stored as a file, and arrives whole.
func TestLarge(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Jobs.BodyBytes = 4 << 20 })
	text := strings.Repeat("0123456789", 200_000)
	id := a.Submit(`{"url":"/v1/completions","body":{"prompt":"` + text + `"}}`)
	a.Done(id)
	w := a.Do(http.MethodGet, "/v1/jobs/"+id+"/result", "")
	assert.Equal(t, `{"echo":{"prompt":"`+text+`"}}`, w.Body.String())
	a.Eventually("what the task took is free again", func() bool {
		s, err := a.Queue.Status(t.Context())
		return err == nil && s.FileBytes > 2_000_000 && s.FileBytes < 2_200_000 // the result's
	})
}

// The request carries the identity of its submitter.
func TestIdentity(t *testing.T) {
	t.Parallel()
	type identity struct{}
	requests := make(chan *http.Request, 1)
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Identity = func(c *gin.Context) ([]byte, error) { return []byte(c.GetHeader("X-User")), nil }
		cfg.Attach = func(ctx context.Context, id []byte) context.Context {
			return context.WithValue(ctx, identity{}, string(id))
		}
		cfg.Headers = []string{"beta-user"}
		cfg.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { requests <- r })
	})
	id := a.Submit(queuetest.Job(1), "beta-user", "true", "Authorization", "Bearer secret", "Cookie", "secret")
	r := <-requests
	assert.Equal(t, "ann", r.Context().Value(identity{}))
	assert.Equal(t, http.Header{
		"Beta-User": {"true"}, "Content-Type": {"application/json"}, "X-Request-Id": {id + "-0"}, "Idempotency-Key": {id + "-0"},
	}, r.Header)
	assert.Equal(t, "192.0.2.1:1234", r.RemoteAddr)
	assert.Equal(t, "/v1/chat/completions", r.RequestURI)
	a.Done(id)
}

func TestIdentityIsRefused(t *testing.T) {
	t.Parallel()
	var id []byte
	fault := errors.New("x")
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Identity = func(*gin.Context) ([]byte, error) { return id, fault }
		cfg.Attach = func(ctx context.Context, _ []byte) context.Context { return ctx }
	})
	a.Want(http.StatusInternalServerError, http.MethodPost, "/v1/jobs", queuetest.Job(1))
	id, fault = make([]byte, 1<<17), nil
	assert.Equal(t, "identity_too_large", a.Want(http.StatusBadRequest, http.MethodPost, "/v1/jobs", queuetest.Job(1)).Code())
}
