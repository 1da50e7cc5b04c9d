package task_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		task   task.Task
		want   string
		number int
	}{
		{"a job", task.Task{Kind: task.Job, ID: "job_1"}, "job_1-0", -1},
		{"a replayed job", task.Task{Kind: task.Job, ID: "job_1", Slot: 2}, "job_1-2", -1},
		{"the first line", task.Task{Kind: task.Line, ID: "batch_1"}, "batch_1-0", 0},
		{"another line", task.Task{Kind: task.Line, ID: "batch_1", Slot: 41}, "batch_1-41", 41},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, tt.task.Name(), tt.name)
		assert.Equal(t, tt.number, tt.task.Number(), tt.name)
	}
}

// A lane leads back to the priority that it was made of, and High is served first.
func TestLanes(t *testing.T) {
	t.Parallel()
	for class, p := range []queue.Priority{queue.High, queue.Normal, queue.Low} {
		l := task.LaneOf("ann", int(p))
		assert.Equal(t, jet.Lane{Class: class, Tenant: "ann"}, l)
		got, ok := task.Priority(l)
		assert.True(t, ok)
		assert.Equal(t, int(p), got)
	}
	assert.Equal(t, -1, task.LaneOf("ann", 7).Class)
	for _, class := range []int{-1, 3} {
		_, ok := task.Priority(jet.Lane{Class: class})
		assert.False(t, ok, class)
	}
	shares := task.Shares()
	require.Len(t, shares, 3)
	assert.IsDecreasing(t, shares)
}

// The format of stored tasks must not change: older processes read them too.
func TestFormat(t *testing.T) {
	t.Parallel()
	want := `{"kind":"line","owner":"ann","id":"batch_1","slot":3,"custom_id":"c","method":"POST","url":"/v1/x","body":{"a": 1},
		"origin":{"identity":"aWQ=","header":{"X-A":["1"]},"remote":"192.0.2.1:1"}}`
	in := task.Task{
		Kind: task.Line, Owner: "ann", ID: "batch_1", Slot: 3, CustomID: "c", Method: http.MethodPost, URL: "/v1/x", Body: json.RawMessage(`{"a":1}`),
		Origin: &task.Origin{Identity: []byte("id"), Header: http.Header{"X-A": {"1"}}, Remote: "192.0.2.1:1"},
	}
	b, err := json.Marshal(&in)
	require.NoError(t, err)
	assert.JSONEq(t, want, string(b))
	var out task.Task
	require.NoError(t, json.Unmarshal(b, &out))
	assert.Equal(t, in, out)
}

func TestRetriable(t *testing.T) {
	t.Parallel()
	header := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	tests := []struct {
		name string
		res  task.Response
		want bool
	}{
		{"success", task.Response{Status: 200}, false},
		{"a client error", task.Response{Status: 400}, false},
		{"a client error that may be repeated", task.Response{Status: 400, Header: header("X-Should-Retry", "true")}, true},
		{"timeout", task.Response{Status: 408}, true},
		{"too early", task.Response{Status: 425}, true},
		{"rate limit", task.Response{Status: 429}, true},
		{"rate limit that a client must not repeat", task.Response{Status: 429, Header: header("X-Should-Retry", "false")}, true},
		{"internal error", task.Response{Status: 500}, true},
		{"not implemented", task.Response{Status: 501}, false},
		{"not implemented, but may be repeated", task.Response{Status: 501, Header: header("X-Should-Retry", "true")}, false},
		{"unavailable", task.Response{Status: 503}, true},
		{"unavailable, must not be repeated", task.Response{Status: 503, Header: header("X-Should-Retry", "false")}, false},
		{"no response", task.Response{Err: errors.New("x")}, true},
		{"a panic", task.Response{Err: fmt.Errorf("%w: x", task.ErrPanic)}, true},
		{"an incomplete response", task.Response{Err: task.ErrIncomplete}, true},
		{"a response that is too large", task.Response{Err: task.ErrTooLarge}, false},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, tt.res.Retriable(), tt.name)
	}
}

func TestSucceeded(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{199: false, 200: true, 204: true, 299: true, 300: false, 404: false, 500: false} {
		assert.Equal(t, want, (&task.Response{Status: status}).Succeeded(), status)
	}
	assert.False(t, (&task.Response{Status: 200, Err: task.ErrIncomplete}).Succeeded())
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		header http.Header
		want   string
	}{
		{nil, ""},
		{http.Header{}, ""},
		{http.Header{"Request-Id": {"b"}}, "b"},
		{http.Header{"X-Request-Id": {"a"}, "Request-Id": {"b"}}, "a"},
	} {
		assert.Equal(t, tt.want, (&task.Response{Header: tt.header}).RequestID())
	}
}

// An owner learns what happened, but nothing of the gateway's inside.
func TestErrorOf(t *testing.T) {
	t.Parallel()
	inside := errors.New("dial tcp 10.0.0.7:8000: connection refused")
	tests := []struct {
		err  error
		code string
	}{
		{context.DeadlineExceeded, "timeout"},
		{fmt.Errorf("%w: %w", inside, context.DeadlineExceeded), "timeout"},
		{http.ErrHandlerTimeout, "timeout"},
		{task.ErrTooLarge, "response_too_large"},
		{fmt.Errorf("%w: %w", task.ErrIncomplete, inside), "response_cut"},
		{fmt.Errorf("%w: %w", task.ErrPanic, inside), "request_failed"},
		{inside, "request_failed"},
		{context.Canceled, "request_failed"},
		{fmt.Errorf("%w: %w", &task.Error{Code: "worker_lost", Message: "It was lost."}, inside), "worker_lost"},
	}
	for _, tt := range tests {
		got := task.ErrorOf(tt.err)
		assert.Equal(t, tt.code, got.Code, tt.err)
		assert.NotContains(t, got.Message, "10.0.0.7", tt.err)
		assert.Equal(t, got.Message, got.Error())
	}
}
