package batch_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBatch(t *testing.T) {
	t.Parallel()
	var seen queuetest.Events
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.OnEvent = seen.On })
	got := a.Ended(a.Batch(queuetest.Lines(1500)))
	assert.Equal(t, "completed", got.Str("status"))
	assert.Equal(t, [3]int{1500, 1500, 0}, got.Counts())
	assert.Nil(t, got["error_file_id"])
	for _, at := range []string{"created_at", "in_progress_at", "finalizing_at", "completed_at", "expires_at"} {
		assert.NotNil(t, got[at], at)
	}
	for _, at := range []string{"failed_at", "expired_at", "cancelling_at", "cancelled_at", "errors"} {
		assert.Nil(t, got[at], at)
	}
	out := a.Content(got.Str("output_file_id"))
	require.Len(t, out, 1500)
	for i, line := range out {
		require.Equal(t, fmt.Sprintf("r%d", i), line.Str("custom_id"), "in the order of the input")
		require.Nil(t, line["error"])
		res := queuetest.Object(line["response"].(map[string]any))
		require.InEpsilon(t, 200, res["status_code"], 0.1)
		require.NotEmpty(t, res.Str("request_id"))
		require.InDelta(t, i, res["body"].(map[string]any)["echo"].(map[string]any)["n"], 0.1)
	}
	assert.True(t, strings.HasPrefix(out[0].Str("id"), "batch_req_"))
	file := a.Want(http.StatusOK, http.MethodGet, "/v1/files/"+got.Str("output_file_id"), "")
	assert.Equal(t, "batch_output", file.Str("purpose"))
	assert.Len(t, seen.Of(queue.Done), 1501)
	a.Eventually("the results are dropped, because the file has them", func() bool {
		s, err := a.Queue.Status(t.Context())
		return err == nil && s.Results == 0 && s.Tasks == 0
	})
}

// Lines that fail are in a file of their own, and the batch continues.
func TestBatchWithFailures(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Attempts, cfg.Timeout = 2, 300*time.Millisecond
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			info, _ := queue.FromContext(r.Context())
			switch info.Line % 5 {
			case 1:
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"error":{"message":"No <b>."}}`)
			case 2:
				w.WriteHeader(http.StatusTooManyRequests)
				_, _ = io.WriteString(w, "slow down")
			case 3:
				<-r.Context().Done()
			case 4:
				panic("x")
			default:
				_, _ = io.WriteString(w, "{}")
			}
		})
	})
	got := a.Ended(a.Batch(queuetest.Lines(10)))
	assert.Equal(t, "completed", got.Str("status"))
	assert.Equal(t, [3]int{10, 2, 8}, got.Counts())
	out, bad := a.Content(got.Str("output_file_id")), a.Content(got.Str("error_file_id"))
	require.Len(t, out, 2)
	require.Len(t, bad, 8)
	assert.Equal(t, "r0", out[0].Str("custom_id"))
	want := []struct {
		id     string
		status float64
		body   any
		code   string
	}{
		{"r1", 400, map[string]any{"error": map[string]any{"message": "No <b>."}}, ""},
		{"r2", 429, "slow down", ""},
		{"r3", 0, nil, "timeout"},
		{"r4", 0, nil, "request_failed"},
	}
	for i, w := range want {
		assert.Equal(t, w.id, bad[i].Str("custom_id"))
		if w.code != "" {
			assert.Nil(t, bad[i]["response"], w.id)
			assert.Equal(t, w.code, bad[i].Code(), w.id)
			continue
		}
		assert.Nil(t, bad[i]["error"], w.id)
		res := bad[i]["response"].(map[string]any)
		assert.InEpsilon(t, w.status, res["status_code"], 0.1, w.id)
		assert.Equal(t, w.body, res["body"], w.id)
	}

	// A line that panicked is a dead letter. Its replay is a job of the same owner.
	var letters []any
	a.Eventually("they are dead letters", func() bool {
		letters, _ = a.Want(http.StatusOK, http.MethodGet, "/admin/queue/dead", "")["data"].([]any)
		return len(letters) == 2
	})
	l := queuetest.Object(letters[0].(map[string]any))
	assert.Equal(t, "line", l.Str("kind"))
	id := a.Want(http.StatusAccepted, http.MethodPost, "/admin/queue/dead/"+l.Str("id")+"/replay", "").Str("replayed_as")
	again := a.Done(id)
	assert.Equal(t, "completed", again.Str("status"), "its line is -1 now")
	assert.Equal(t, got.Str("id"), again["metadata"].(map[string]any)["batch"])
}

func TestBatchIsChecked(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Batch.FileLines, cfg.Batch.LineBytes, cfg.Batch.FileBytes = 4, 200, 2000
	})
	line := func(id string) string {
		return `{"custom_id":"` + id + `","method":"POST","url":"/v1/chat/completions","body":{}}` + "\n"
	}
	tests := []struct {
		name, input, code string
		line              any
	}{
		{"no lines", "\n\n", "empty_file", nil},
		{"no JSON", line("a") + "{\n" + line("b"), "invalid_json_line", 2},
		{"blank lines count", line("a") + "\n\n{}", "missing_required_parameter", 4},
		{"the same twice", line("a") + line("a"), "duplicate_custom_id", 2},
		{"another endpoint", `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{}}`, "invalid_url", 1},
		{"a stream", `{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"stream":true}}`, "stream_not_supported", 1},
		{"too many", line("a") + line("b") + line("c") + line("d") + line("e"), "too_many_requests", 5},
		{"too long", line("a") + line(strings.Repeat("x", 200)), "line_too_long", 2},
	}
	for _, tt := range tests {
		got := a.Ended(a.Batch(tt.input))
		assert.Equal(t, "failed", got.Str("status"), tt.name)
		assert.NotNil(t, got["failed_at"], tt.name)
		list := got["errors"].(map[string]any)
		assert.Equal(t, "list", list["object"])
		first := list["data"].([]any)[0].(map[string]any)
		assert.Equal(t, tt.code, first["code"], tt.name)
		if tt.line == nil {
			assert.Nil(t, first["line"], tt.name)
		} else {
			assert.InDelta(t, tt.line, first["line"], 0.1, tt.name)
		}
	}
	file := a.Upload(line("a"))
	for body, code := range map[string]string{
		`{"input_file_id":"x","endpoint":"/v1/embeddings","completion_window":"24h"}`:                                                                       "invalid_input_file_id",
		`{"input_file_id":"` + file + `","endpoint":"/v1/x","completion_window":"24h"}`:                                                                     "invalid_endpoint",
		`{"input_file_id":"` + file + `","endpoint":"/v1/embeddings","completion_window":"1h"}`:                                                             "invalid_completion_window",
		`{"input_file_id":"` + file + `","endpoint":"/v1/embeddings","completion_window":"24h","output_expires_after":{"anchor":"created_at","seconds":1}}`: "invalid_output_expires_after",
		`{"input_file_id":"file-` + strings.Repeat("0", 36) + `","endpoint":"/v1/embeddings","completion_window":"24h"}`:                                    "invalid_input_file_id",
	} {
		assert.Equal(t, code, a.Want(http.StatusBadRequest, http.MethodPost, "/v1/batches", body).Code())
	}
}

func TestCancelBatch(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	var seen queuetest.Events
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler, cfg.Workers, cfg.OnEvent = g, 4, seen.On })
	id := a.Batch(queuetest.Lines(2000))
	a.UnderWay(g, id)
	for range 20 {
		g.Open <- struct{}{}
	}
	a.Eventually("20 are done", func() bool { return len(seen.Of(queue.Done)) == 20 })
	assert.Equal(t, "cancelling", a.Want(http.StatusOK, http.MethodPost, "/v1/batches/"+id+"/cancel", "").Str("status"))
	got := a.Ended(id)
	assert.Equal(t, "cancelled", got.Str("status"))
	assert.NotNil(t, got["cancelling_at"])
	assert.NotNil(t, got["cancelled_at"])
	assert.Equal(t, [3]int{2000, 20, 1980}, got.Counts())
	assert.Len(t, a.Content(got.Str("output_file_id")), 20, "what was done is kept")
	bad := a.Content(got.Str("error_file_id"))
	require.Len(t, bad, 1980)
	assert.Equal(t, "batch_cancelled", bad[0].Code())
	assert.Equal(t, "batch_finished", a.Want(http.StatusConflict, http.MethodPost, "/v1/batches/"+id+"/cancel", "").Code())
	a.Eventually("nothing is left in the queue", func() bool {
		s, err := a.Queue.Status(t.Context())
		return err == nil && s.Tasks == 0 && s.Running == 0
	})
	assert.Positive(t, g.Ended.Load(), "what was under way was stopped")
}

func TestBatchExpires(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Window, cfg.Workers = 1500*time.Millisecond, 1
		cfg.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if calls.Add(1) > 10 {
				<-r.Context().Done()
			}
		})
	})
	got := a.Ended(a.Batch(queuetest.Lines(30)))
	assert.Equal(t, "expired", got.Str("status"))
	assert.NotNil(t, got["expired_at"])
	assert.Equal(t, [3]int{30, 10, 20}, got.Counts())
	bad := a.Content(got.Str("error_file_id"))
	require.Len(t, bad, 20)
	assert.Equal(t, "batch_expired", bad[0].Code())
	assert.Equal(t, "r10", bad[0].Str("custom_id"))
}

func TestOpenBatches(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler, cfg.Batch.OpenBatches = g, 2 })
	first := a.Batch(queuetest.Lines(1))
	a.Batch(queuetest.Lines(1))
	body := `{"input_file_id":"` + a.Upload(queuetest.Lines(1)) + `","endpoint":"/v1/chat/completions","completion_window":"24h"}`
	assert.Equal(t, "too_many_batches", a.Want(http.StatusTooManyRequests, http.MethodPost, "/v1/batches", body).Code())
	a.As("bob").Batch(queuetest.Lines(1))
	close(g.Open)
	a.Ended(first)
	a.Eventually("there is room again", func() bool { return a.Do(http.MethodPost, "/v1/batches", body).Code == http.StatusOK })
	assert.Len(t, a.Want(http.StatusOK, http.MethodGet, "/v1/batches?limit=2", "")["data"], 2)
}

func TestFiles(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Batch.FileBytes, cfg.Batch.Files = 300_000, 3 })
	post := func(fields map[string]string, content string) (int, string) {
		body, kind := queuetest.Form(fields, content)
		w := a.Do(http.MethodPost, "/v1/files", body, "Content-Type", kind)
		return w.Code, w.Body.String()
	}
	batch := map[string]string{"purpose": "batch"}
	for _, tt := range []struct {
		name    string
		fields  map[string]string
		content string
		status  int
		code    string
	}{
		{"another purpose", map[string]string{"purpose": "assistants"}, "x", 400, "invalid_purpose"},
		{"no purpose", nil, "x", 400, "invalid_purpose"},
		{"too large", batch, strings.Repeat("x", 300_001), 413, "file_too_large"},
		{"a bad time", map[string]string{"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "1"}, "x", 400, "invalid_expires_after"},
		{"a bad number", map[string]string{"purpose": "batch", "expires_after[seconds]": "x"}, "x", 400, "invalid_expires_after"},
	} {
		status, body := post(tt.fields, tt.content)
		assert.Equal(t, tt.status, status, tt.name)
		assert.Contains(t, body, tt.code, tt.name)
	}
	assert.Equal(t, "invalid_form", a.Want(http.StatusBadRequest, http.MethodPost, "/v1/files", "{}", "Content-Type", "application/json").Code())
	assert.Equal(t, "invalid_form", a.Want(http.StatusBadRequest, http.MethodPost, "/v1/files", "--b\r\nbroken", "Content-Type", "multipart/form-data; boundary=b").Code())
	s, err := a.Queue.Status(t.Context())
	require.NoError(t, err)
	assert.Zero(t, s.FileBytes, "nothing is left of what was refused")

	content := strings.Repeat("0123456789abcdef\n", 17_000) // several chunks
	status, _ := post(map[string]string{"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}, content)
	require.Equal(t, http.StatusOK, status)
	files := a.Want(http.StatusOK, http.MethodGet, "/v1/files?purpose=batch", "")["data"].([]any)
	require.Len(t, files, 1)
	file := queuetest.Object(files[0].(map[string]any))
	assert.Equal(t, "in.jsonl", file.Str("filename"))
	assert.InDelta(t, len(content), file["bytes"], 0.1)
	assert.InDelta(t, 3600, file["expires_at"].(float64)-file["created_at"].(float64), 0.1)
	path := "/v1/files/" + file.Str("id")
	w := a.Do(http.MethodGet, path+"/content", "")
	assert.Equal(t, content, w.Body.String())
	assert.Equal(t, `attachment; filename=in.jsonl`, w.Header().Get("Content-Disposition"))
	a.Upload("x")
	a.Upload("x")
	status, body := post(batch, "x")
	assert.Equal(t, http.StatusTooManyRequests, status, body)
	assert.Equal(t, true, a.Want(http.StatusOK, http.MethodDelete, path, "")["deleted"])
	a.Want(http.StatusNotFound, http.MethodGet, path, "")
	a.Want(http.StatusNotFound, http.MethodGet, path+"/content", "")
	assert.Len(t, a.Want(http.StatusOK, http.MethodGet, "/v1/files?order=asc&limit=1", "")["data"], 1)
	assert.Empty(t, a.Want(http.StatusOK, http.MethodGet, "/v1/files?purpose=batch_output", "")["data"])
}

// Deleting the input ends the batch. Its results so far are kept.
func TestInputIsDeleted(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.Handler = g })
	id := a.Batch(queuetest.Lines(2000))
	a.UnderWay(g, id)
	input := a.Want(http.StatusOK, http.MethodGet, "/v1/batches/"+id, "").Str("input_file_id")
	a.Want(http.StatusOK, http.MethodDelete, "/v1/files/"+input, "")
	close(g.Open)
	got := a.Ended(id)
	if got.Str("status") == "failed" { // the rest of the input was not read yet
		assert.NotNil(t, got["errors"])
	} else {
		assert.Equal(t, "completed", got.Str("status"))
	}
	n := got.Counts()
	assert.Equal(t, 2000, n[1]+n[2])
	assert.Len(t, a.Content(got.Str("output_file_id")), n[1])
}

// A file that expires is gone, and so are its bytes.
func TestFileExpires(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.FileTTL, cfg.Window = 2*time.Second, time.Second })
	id := a.Upload(queuetest.Lines(1))
	assert.Equal(t, http.StatusOK, a.Do(http.MethodGet, "/v1/files/"+id, "").Code)
	a.Eventually("it expires", func() bool { return a.Do(http.MethodGet, "/v1/files/"+id, "").Code == http.StatusNotFound })
	a.Eventually("its bytes are gone too", func() bool {
		s, err := a.Queue.Status(t.Context())
		return err == nil && s.FileBytes == 0
	})
}
