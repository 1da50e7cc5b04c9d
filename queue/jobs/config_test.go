package jobs_test

import (
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/ginfer/ginfer/queue/jobs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newQueue is a queue that does not run.
func newQueue(t *testing.T) *queue.Queue {
	t.Helper()
	q, err := queue.New(queue.Config{Connect: queue.URL("nats://127.0.0.1:1"), Owner: queuetest.ByHeader, Handler: queuetest.Echo})
	require.NoError(t, err)
	return q
}

func TestConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  jobs.Config
		want []string
	}{
		{"good", jobs.Config{Queue: newQueue(t)}, nil},
		{"with webhooks", jobs.Config{Queue: newQueue(t), Webhooks: &jobs.Webhooks{Secrets: []string{secret}}}, nil},
		{"nothing", jobs.Config{}, []string{"Config.Queue is required"}},
		{"negatives", jobs.Config{Queue: newQueue(t), BodyBytes: -1}, []string{"must not be negative"}},
		{"negative waiters", jobs.Config{Queue: newQueue(t), Waiters: -1}, []string{"must not be negative"}},
		{"no secret", jobs.Config{Queue: newQueue(t), Webhooks: &jobs.Webhooks{}}, []string{"Secrets is required"}},
		{"bad secrets", jobs.Config{Queue: newQueue(t), Webhooks: &jobs.Webhooks{
			Secrets: []string{"x", "whsec_", "whsec_AAAA"}, Timeout: -1,
		}}, []string{"Secrets[0]", "Secrets[1]", "Secrets[2]", "negative"}},
		{"all at once", jobs.Config{Waiters: -1, Webhooks: &jobs.Webhooks{Concurrency: -1}}, []string{"Queue is required", "Waiters", "Secrets is required", "negative"}},
	}
	for _, tt := range tests {
		_, err := jobs.New(tt.cfg)
		if tt.want == nil {
			require.NoError(t, err, tt.name)
		}
		for _, want := range tt.want {
			require.ErrorContains(t, err, want, tt.name)
		}
	}
}

// Each queue has one API, and it is there before the queue runs.
func TestNewOnceBeforeRun(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	_, err := jobs.New(jobs.Config{Queue: q})
	require.NoError(t, err)
	_, err = jobs.New(jobs.Config{Queue: q})
	require.ErrorContains(t, err, "registered already")

	a := queuetest.Quick(t, nil)
	_, err = jobs.New(jobs.Config{Queue: a.Queue})
	require.ErrorIs(t, err, queue.ErrRunning)
}

// Without the store each route responds with 503, whatever the request is.
func TestWithoutStore(t *testing.T) {
	t.Parallel()
	a := queuetest.NewApp(t, queuetest.Defaults(queuetest.StartServer(t, embedded.Config{})))
	for _, path := range []string{
		"POST /v1/jobs", "GET /v1/jobs", "GET /v1/jobs/x", "GET /v1/jobs/x?wait=1s", "GET /v1/jobs/x/result", "GET /v1/jobs/x/events", "POST /v1/jobs/x/cancel",
	} {
		method, path := cut(path)
		w := a.Do(method, path, "{}")
		assert.Equal(t, http.StatusServiceUnavailable, w.Code, path)
		assert.Equal(t, "1", w.Header().Get("Retry-After"), path)
		assert.Contains(t, w.Body.String(), "queue_unavailable", path)
	}
}
