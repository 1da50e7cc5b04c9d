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
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// create submits a batch with more members.
func create(a *queuetest.App, input, more string) queuetest.Object {
	return a.Want(http.StatusOK, http.MethodPost, "/v1/batches",
		`{"input_file_id":"`+a.Upload(input)+`","endpoint":"/v1/chat/completions","completion_window":"24h"`+more+`}`)
}

// A new batch has all members of the OpenAI API, those without a value as null.
func TestNewBatch(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { cfg.SpareCapacity = func() int { return 0 } })
	got := create(a, queuetest.Lines(2), `,"metadata":{"a":"b"}`)
	assert.Equal(t, "batch", got.Str("object"))
	assert.Equal(t, "validating", got.Str("status"))
	assert.Equal(t, "/v1/chat/completions", got.Str("endpoint"))
	assert.Equal(t, "24h", got.Str("completion_window"))
	assert.Equal(t, map[string]any{"a": "b"}, got["metadata"])
	assert.InDelta(t, 24*3600, got["expires_at"].(float64)-got["created_at"].(float64), 0.1)
	assert.Equal(t, [3]int{0, 0, 0}, got.Counts())
	for _, name := range []string{
		"errors", "output_file_id", "error_file_id", "in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at",
	} {
		assert.Contains(t, got, name)
		assert.Nil(t, got[name], name)
	}
	a.Eventually("its requests wait", func() bool {
		s, err := a.Queue.Status(t.Context())
		return err == nil && len(s.Lanes) == 1 && s.Lanes[0] == queue.LaneStatus{Tenant: "ann", Priority: "low", Tasks: 2}
	})
	assert.Equal(t, [3]int{2, 0, 0}, a.Want(http.StatusOK, http.MethodGet, "/v1/batches/"+got.Str("id"), "").Counts())
}

// The body of a submission is checked strictly.
func TestSubmissionIsChecked(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	input := a.Upload(queuetest.Lines(1))
	body := func(more string) string {
		return `{"input_file_id":"` + input + `","endpoint":"/v1/chat/completions","completion_window":"24h"` + more + `}`
	}
	output := a.Ended(create(a, queuetest.Lines(1), "").Str("id")).Str("output_file_id")
	tests := []struct {
		name, body, code string
		status           int
	}{
		{"no JSON", "x", "invalid_json", 400},
		{"an unknown member", body(`,"priority":"high"`), "invalid_json", 400},
		{"metadata of another type", body(`,"metadata":{"a":1}`), "invalid_json", 400},
		{"long metadata", body(`,"metadata":{"` + strings.Repeat("k", 65) + `":""}`), "invalid_metadata", 400},
		{"another anchor", body(`,"output_expires_after":{"anchor":"x","seconds":3600}`), "invalid_output_expires_after", 400},
		{"too short an expiry", body(`,"output_expires_after":{"anchor":"created_at","seconds":3599}`), "invalid_output_expires_after", 400},
		{"too long an expiry", body(`,"output_expires_after":{"anchor":"created_at","seconds":2592001}`), "invalid_output_expires_after", 400},
		{"too large", body(`,"metadata":{"a":"` + strings.Repeat("x", 70_000) + `"}`), "request_too_large", 413},
		{"an output for an input", strings.Replace(body(""), input, output, 1), "invalid_input_file_id", 400},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.code, a.Want(tt.status, http.MethodPost, "/v1/batches", tt.body).Code(), tt.name)
	}
	w := a.Do(http.MethodPost, "/v1/batches", body(""))
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Regexp(t, `^/v1/batches/batch_[0-9a-f]{36}$`, w.Header().Get("Location"))
}

// The output may expire before other files do.
func TestOutputExpiresAfter(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	got := a.Ended(create(a, queuetest.Lines(1), `,"output_expires_after":{"anchor":"created_at","seconds":3600}`).Str("id"))
	file := a.Want(http.StatusOK, http.MethodGet, "/v1/files/"+got.Str("output_file_id"), "")
	assert.InDelta(t, 3600, file["expires_at"].(float64)-file["created_at"].(float64), 1)
	assert.Equal(t, got.Str("id")+"_output.jsonl", file.Str("filename"))
	input := a.Want(http.StatusOK, http.MethodGet, "/v1/files/"+got.Str("input_file_id"), "")
	assert.InDelta(t, 30*24*3600, input["expires_at"].(float64)-input["created_at"].(float64), 1)
	assert.Len(t, a.Want(http.StatusOK, http.MethodGet, "/v1/files?purpose=batch_output", "")["data"], 1)
	assert.Equal(t, true, a.Want(http.StatusOK, http.MethodDelete, "/v1/files/"+got.Str("output_file_id"), "")["deleted"])
}

// A response that is no JSON is a JSON string in the output; what is, stays as it is.
func TestOutputBodies(t *testing.T) {
	t.Parallel()
	bodies := []string{`{"a":"<b>&"}`, `[1,2]`, `"x"`, ` {} `, "plain\ntext", "", "\xff\xfe", `{"half":`}
	want := []any{
		map[string]any{"a": "<b>&"}, []any{1.0, 2.0}, "x", map[string]any{}, "plain\ntext", "", "\ufffd\ufffd", `{"half":`,
	}
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			info, _ := queue.FromContext(r.Context())
			_, _ = io.WriteString(w, bodies[info.Line])
		})
	})
	got := a.Ended(a.Batch(queuetest.Lines(len(bodies))))
	w := a.Do(http.MethodGet, "/v1/files/"+got.Str("output_file_id")+"/content", "")
	assert.Contains(t, w.Body.String(), `"a":"<b>&"`, "nothing is escaped")
	for i, line := range a.Content(got.Str("output_file_id")) {
		res := line["response"].(map[string]any)
		assert.Equal(t, want[i], res["body"], bodies[i])
		assert.Equal(t, fmt.Sprintf("%s-%d", got.Str("id"), i), res["request_id"])
	}
}

// Lines are read as other systems write them.
func TestInputs(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	lines := queuetest.Lines(3)
	for name, input := range map[string]string{
		"a mark at the begin": "\xef\xbb\xbf" + lines,
		"CRLF":                strings.ReplaceAll(lines, "\n", "\r\n"),
		"no end of line":      strings.TrimSuffix(lines, "\n"),
		"blank lines":         "\n\n" + strings.ReplaceAll(lines, "\n", "\n \n") + "\n\t\n",
		"space around":        "  " + strings.ReplaceAll(lines, "\n", "\t\n  "),
	} {
		got := a.Ended(a.Batch(input))
		require.Equal(t, "completed", got.Str("status"), "%s: %v", name, got["errors"])
		out := a.Content(got.Str("output_file_id"))
		require.Len(t, out, 3, name)
		assert.Equal(t, "r2", out[2].Str("custom_id"), name)
	}
}

// A batch can be cancelled before any process drives it, and by the time one does, it
// ends without a request.
func TestCancelBeforeDriver(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) })
		cfg.SpareCapacity = func() int { return 0 }
	})
	id := create(a, queuetest.Lines(5), "").Str("id")
	assert.Equal(t, "cancelling", a.Want(http.StatusOK, http.MethodPost, "/v1/batches/"+id+"/cancel", "").Str("status"))
	again := a.Do(http.MethodPost, "/v1/batches/"+id+"/cancel", "")
	assert.Contains(t, []int{http.StatusOK, http.StatusConflict}, again.Code, "it may have ended: %s", again.Body)
	got := a.Ended(id)
	assert.Equal(t, "cancelled", got.Str("status"))
	assert.Nil(t, got["output_file_id"])
	assert.Zero(t, calls.Load())
}

// An input that is deleted before it is read fails the batch.
func TestInputIsDeletedFirst(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	cfg := queuetest.Defaults(s)
	var seen queuetest.Events
	cfg.OnEvent = seen.On
	a := queuetest.NewApp(t, cfg)
	stop := queuetest.RunUntilEnd(t, a.Queue.Run)
	a.Eventually("it is connected", func() bool { s, _ := a.Queue.Status(t.Context()); return s.Connected })
	input := a.Upload(strings.Repeat("\n", 1<<20) + queuetest.Lines(1))
	file := `{"input_file_id":"` + input + `","endpoint":"/v1/chat/completions","completion_window":"24h"}`
	nc, err := s.Connect(t.Context())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), "ginfer_files")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context())) // the record is still there
	got := a.Ended(a.Want(http.StatusOK, http.MethodPost, "/v1/batches", file).Str("id"))
	assert.Equal(t, "failed", got.Str("status"))
	faults := got["errors"].(map[string]any)["data"].([]any)
	assert.Equal(t, "invalid_input_file", faults[0].(map[string]any)["code"])
	require.Len(t, seen.Of(queue.Failed), 1)
	assert.Equal(t, got.Str("id"), seen.Of(queue.Failed)[0].ID)
	stop()
}

// The driver and the workers of a batch stop when its record has expired.
func TestRecordIsGone(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	g := queuetest.NewGate()
	cfg := queuetest.Defaults(s)
	cfg.Handler, cfg.Workers = g, 2
	a := queuetest.Start(t, cfg)
	id := a.Batch(queuetest.Lines(10))
	a.UnderWay(g, id)
	nc, err := s.Connect(t.Context())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	records, err := js.Stream(t.Context(), "KV_ginfer_state")
	require.NoError(t, err)
	require.NoError(t, records.Purge(t.Context()))
	close(g.Open)
	a.Want(http.StatusNotFound, http.MethodGet, "/v1/batches/"+id, "")
	a.Eventually("nothing is left of it in the queue", func() bool {
		s, err := a.Queue.Status(t.Context())
		info, err2 := js.Stream(t.Context(), "ginfer_control")
		return err == nil && err2 == nil && s.Tasks == 0 && info.CachedInfo().State.Msgs == 0
	})
}

// Two processes share the lines of a batch, and one continues when the other ends.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{})
	g := queuetest.NewGate()
	var calls [2]atomic.Int64
	start := func(i int) *queuetest.App {
		cfg := queuetest.Defaults(s)
		cfg.Workers, cfg.DrainTimeout = 4, 100*time.Millisecond
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls[i].Add(1)
			g.ServeHTTP(w, r)
		})
		return queuetest.Start(t, cfg)
	}
	a, b := start(0), start(1)
	id := a.Batch(queuetest.Lines(200))
	for range 8 {
		<-g.Began
	}
	assert.Positive(t, calls[0].Load())
	assert.Positive(t, calls[1].Load())
	a.Stop()
	close(g.Open)
	got := b.Ended(id)
	assert.Equal(t, "completed", got.Str("status"))
	assert.Equal(t, [3]int{200, 200, 0}, got.Counts())
	assert.Len(t, b.Content(got.Str("output_file_id")), 200)
}

// A line is in the events with its number, the batch without one.
func TestBatchEvents(t *testing.T) {
	t.Parallel()
	var seen queuetest.Events
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.OnEvent, cfg.Attempts = seen.On, 2
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if info, _ := queue.FromContext(r.Context()); info.Line == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
	})
	id := a.Batch(queuetest.Lines(3))
	a.Ended(id)
	a.Eventually("the batch is reported", func() bool { return len(seen.Of(queue.Done)) == 4 })
	lines := map[int]queue.Event{}
	for _, e := range seen.Of(queue.Done) {
		assert.Equal(t, id, e.ID)
		assert.True(t, e.Batch)
		assert.Equal(t, queue.Low, e.Priority)
		assert.Equal(t, "ann", e.Tenant)
		lines[e.Line] = e
	}
	require.Len(t, lines, 4)
	assert.Equal(t, 200, lines[0].Status)
	assert.Equal(t, 503, lines[1].Status)
	assert.Equal(t, 2, lines[1].Attempt)
	assert.Zero(t, lines[-1].Status)
	assert.Positive(t, lines[-1].Duration)
	require.Len(t, seen.Of(queue.Queued), 1)
	retried := seen.Of(queue.Retried)
	require.Len(t, retried, 1)
	assert.Equal(t, 1, retried[0].Line)
	assert.Positive(t, retried[0].Delay)
	assert.Empty(t, seen.Of(queue.Dead), "its response is in the error file")
}

// A list shows an owner's batches, page by page.
func TestListBatches(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	var ids []string
	for range 3 {
		id := a.Batch(queuetest.Lines(1))
		a.Ended(id)
		ids = append(ids, id)
	}
	a.As("bob").Batch(queuetest.Lines(1))
	tests := []struct {
		query string
		want  []string
	}{
		{"", []string{ids[2], ids[1], ids[0]}},
		{"?order=asc", ids},
		{"?limit=2", []string{ids[2], ids[1]}},
		{"?after=" + ids[1], ids[:1]},
	}
	for _, tt := range tests {
		var got []string
		for _, b := range a.Want(http.StatusOK, http.MethodGet, "/v1/batches"+tt.query, "")["data"].([]any) {
			got = append(got, queuetest.Object(b.(map[string]any)).Str("id"))
		}
		assert.Equal(t, tt.want, got, tt.query)
	}
	assert.Equal(t, "invalid_limit", a.Want(http.StatusBadRequest, http.MethodGet, "/v1/batches?limit=101", "").Code())
	assert.Equal(t, "not_found", a.Want(http.StatusNotFound, http.MethodGet, "/v1/batches/batch_"+strings.Repeat("0", 36), "").Code())
	assert.Equal(t, "not_found", a.Want(http.StatusNotFound, http.MethodPost, "/v1/batches/x/cancel", "").Code())
}
