package jobs_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cut splits "GET /path".
func cut(request string) (method, path string) {
	method, path, _ = strings.Cut(request, " ")
	return method, path
}

// The result is the response of the upstream, byte for byte.
func TestResult(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, kind, body string
		status           int
		job              string // the status of the job
		code             string
	}{
		{"JSON", "application/json", `{"a": 1}`, 200, "completed", ""},
		{"text", "text/plain; charset=utf-8", "ü\n\n", 200, "completed", ""},
		{"bytes", "application/octet-stream", "\x00\xff\n{}", 201, "completed", ""},
		{"nothing", "", "", 204, "completed", ""},
		{"HTML stays what it is", "text/html", "<script>alert(1)</script>", 200, "completed", ""},
		{"an error", "application/json", `{"error":{"message":"No."}}`, 422, "failed", "upstream_error"},
		{"a redirect", "text/plain", "elsewhere", 302, "failed", "upstream_error"},
		{"an error after all attempts", "application/json", `{"error":{}}`, 503, "failed", "upstream_error"},
	}
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Attempts = 2
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			for i := range tests {
				if strings.Contains(string(b), fmt.Sprintf(`"n":%d}`, i)) {
					w.Header().Set("Content-Type", tests[i].kind)
					w.Header().Set("X-Request-ID", "up-"+r.Header.Get("X-Request-ID"))
					w.Header().Set("Set-Cookie", "secret")
					w.WriteHeader(tests[i].status)
					_, _ = io.WriteString(w, tests[i].body)
				}
			}
		})
	})
	for i, tt := range tests {
		id := a.Submit(queuetest.Job(i))
		got := a.Done(id)
		assert.Equal(t, tt.job, got.Str("status"), tt.name)
		assert.Equal(t, tt.code, got.Code(), tt.name)
		assert.Equal(t, map[string]any{"status_code": float64(tt.status), "request_id": "up-" + id + "-0"}, got["response"], tt.name)
		w := a.Do(http.MethodGet, "/v1/jobs/"+id+"/result", "")
		assert.Equal(t, tt.status, w.Code, tt.name)
		assert.Equal(t, tt.body, w.Body.String(), tt.name)
		assert.Equal(t, tt.kind, w.Header().Get("Content-Type"), tt.name)
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"), tt.name)
		assert.Empty(t, w.Header().Get("Set-Cookie"), tt.name)
	}
}

// Without a response the reason has a code, and the result a status of the gateway.
func TestResultWithoutResponse(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Attempts, cfg.Timeout, cfg.Limits.ResultBytes = 1, 100*time.Millisecond, 10
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			switch text := string(b); {
			case strings.Contains(text, `"n":0`):
				<-r.Context().Done()
			case strings.Contains(text, `"n":1`):
				_, _ = io.WriteString(w, "longer than ten bytes")
			case strings.Contains(text, `"n":2`):
				panic("at 10.0.0.7")
			default:
				panic(http.ErrAbortHandler)
			}
		})
	})
	for i, code := range []string{"timeout", "response_too_large", "request_failed", "response_cut"} {
		id := a.Submit(queuetest.Job(i))
		got := a.Done(id)
		assert.Equal(t, "failed", got.Str("status"), code)
		assert.Equal(t, code, got.Code())
		assert.Nil(t, got["response"], code)
		w := a.Do(http.MethodGet, "/v1/jobs/"+id+"/result", "")
		assert.Equal(t, http.StatusBadGateway, w.Code, code)
		assert.Contains(t, w.Body.String(), code)
		assert.NotContains(t, w.Body.String(), "10.0.0.7")
	}
}

// A job as its owner sees it in each of its states.
func TestJobView(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler, cfg.Workers = g, 1 })
	begin := time.Now().Unix()
	first := a.Submit(`{"url":"/v1/embeddings","body":{},"priority":"low","expires_in":100,"metadata":{"a":"b"}}`)
	<-g.Began
	second := a.Submit(`{"url":"/v1/completions","body":{}}`)

	got := a.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+second, "")
	assert.Equal(t, "queued", got.Str("status"))
	assert.Equal(t, "job", got.Str("object"))
	assert.Equal(t, "normal", got.Str("priority"))
	assert.Equal(t, http.MethodPost, got.Str("method"))
	for _, name := range []string{"metadata", "started_at", "finished_at", "response", "error"} {
		assert.Contains(t, got, name)
		assert.Nil(t, got[name], name)
	}
	assert.InDelta(t, begin+24*3600, got["expires_at"], 5)

	got = a.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+first, "")
	assert.Equal(t, "in_progress", got.Str("status"))
	assert.Equal(t, "low", got.Str("priority"))
	assert.Equal(t, "/v1/embeddings", got.Str("url"))
	assert.InDelta(t, 1, got["attempts"], 0.1)
	assert.InDelta(t, begin, got["started_at"], 5)
	assert.InDelta(t, begin+100, got["expires_at"], 5)
	close(g.Open)
	got = a.Done(first)
	assert.InDelta(t, begin, got["finished_at"], 10)
	a.Done(second)
}

func TestListOrder(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Workers = -1 })
	var ids []string
	for i := range 4 {
		ids = append(ids, a.Submit(queuetest.Job(i)))
		for at := time.Now().UnixMilli(); time.Now().UnixMilli() == at; { // their order goes by it
		}
	}
	tests := []struct {
		query string
		want  []string
		more  bool
	}{
		{"", []string{ids[3], ids[2], ids[1], ids[0]}, false},
		{"?order=asc", ids, false},
		{"?order=asc&limit=3", ids[:3], true},
		{"?order=asc&after=" + ids[1], ids[2:], false},
		{"?limit=1&after=" + ids[2], ids[1:2], true},
		{"?after=" + ids[0], []string{}, false},
		{"?after=" + url.QueryEscape("job_zzz"), []string{ids[3], ids[2], ids[1], ids[0]}, false},
	}
	for _, tt := range tests {
		list := a.Want(http.StatusOK, http.MethodGet, "/v1/jobs"+tt.query, "")
		got := []string{}
		for _, j := range list["data"].([]any) {
			got = append(got, queuetest.Object(j.(map[string]any)).Str("id"))
		}
		assert.Equal(t, tt.want, got, tt.query)
		assert.Equal(t, tt.more, list["has_more"], tt.query)
	}
}

// However many clients submit at once with one key, there is one job.
func TestIdempotencyKeyConcurrently(t *testing.T) {
	t.Parallel()
	var seen queuetest.Events
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.OnEvent = seen.On })
	ids := make([]string, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() { ids[i] = a.Submit(queuetest.Job(1), "Idempotency-Key", "k") })
	}
	wg.Wait()
	for _, id := range ids {
		assert.Equal(t, ids[0], id)
	}
	assert.Equal(t, "completed", a.Done(ids[0]).Str("status"))
	assert.Len(t, a.Want(http.StatusOK, http.MethodGet, "/v1/jobs", "")["data"], 1)
	assert.Len(t, seen.Of(queue.Queued), 1)
	assert.Len(t, seen.Of(queue.Started), 1)
}

// A client waits in one process for a job that runs in another, and cancels it there.
func TestAcrossProcesses(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	g := queuetest.NewGate()
	front, worker := queuetest.Defaults(s), queuetest.Defaults(s)
	front.Workers, worker.Handler = -1, g
	a := queuetest.Start(t, front)
	b := queuetest.Start(t, worker)

	id := a.Submit(queuetest.Job(1))
	<-g.Began
	ended := make(chan queuetest.Object)
	go func() { ended <- a.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+id+"?wait=20", "") }()
	assert.Equal(t, "in_progress", b.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+id, "").Str("status"))
	g.Open <- struct{}{}
	assert.Equal(t, "completed", (<-ended).Str("status"))

	id = a.Submit(queuetest.Job(2))
	<-g.Began
	assert.Equal(t, "cancelled", a.Want(http.StatusOK, http.MethodPost, "/v1/jobs/"+id+"/cancel", "").Str("status"))
	a.Eventually("the worker's request is stopped", func() bool { return g.Ended.Load() == 1 })
	assert.Equal(t, "cancelled", b.Done(id).Str("status"))
}

// A job can have less time than the window.
func TestExpiresIn(t *testing.T) {
	t.Parallel()
	var seen queuetest.Events
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Workers, cfg.OnEvent = -1, seen.On })
	id := a.Submit(`{"url":"/v1/completions","body":{},"expires_in":1}`)
	other := a.Submit(queuetest.Job(1))
	got := a.Done(id)
	assert.Equal(t, "expired", got.Str("status"))
	assert.Equal(t, "job_expired", got.Code())
	assert.Equal(t, "job_finished", a.Want(http.StatusConflict, http.MethodPost, "/v1/jobs/"+id+"/cancel", "").Code())
	assert.Equal(t, "queued", a.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+other, "").Str("status"))
	require.Len(t, seen.Of(queue.Expired), 1)
	assert.Equal(t, id, seen.Of(queue.Expired)[0].ID)
}

// A list ends what has expired, too.
func TestListExpired(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Workers, cfg.Window = -1, 200*time.Millisecond })
	a.Submit(queuetest.Job(1))
	a.Eventually("the job in the list is expired", func() bool {
		data, _ := a.Want(http.StatusOK, http.MethodGet, "/v1/jobs", "")["data"].([]any)
		return len(data) == 1 && queuetest.Object(data[0].(map[string]any)).Str("status") == "expired"
	})
}
