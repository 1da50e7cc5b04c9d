package batch_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/batch"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	newQueue := func() *queue.Queue {
		q, err := queue.New(queue.Config{Connect: queue.URL("nats://127.0.0.1:1"), Owner: queuetest.ByHeader, Handler: queuetest.Echo})
		require.NoError(t, err)
		return q
	}
	tests := []struct {
		name string
		cfg  batch.Config
		want string
	}{
		{"good", batch.Config{Queue: newQueue()}, ""},
		{"with bounds", batch.Config{Queue: newQueue(), OpenBatches: 1, Files: 1, FileBytes: 1, FileLines: 1, LineBytes: 1}, ""},
		{"nothing", batch.Config{}, "Config.Queue is required"},
		{"negative batches", batch.Config{Queue: newQueue(), OpenBatches: -1}, "negative"},
		{"negative files", batch.Config{Queue: newQueue(), Files: -1}, "negative"},
		{"negative bytes", batch.Config{Queue: newQueue(), FileBytes: -1}, "negative"},
		{"negative lines", batch.Config{Queue: newQueue(), FileLines: -1}, "negative"},
		{"negative line", batch.Config{Queue: newQueue(), LineBytes: -1}, "negative"},
	}
	for _, tt := range tests {
		_, err := batch.New(tt.cfg)
		if tt.want == "" {
			require.NoError(t, err, tt.name)
		} else {
			require.ErrorContains(t, err, tt.want, tt.name)
		}
	}
	q := newQueue()
	_, err := batch.New(batch.Config{Queue: q})
	require.NoError(t, err)
	_, err = batch.New(batch.Config{Queue: q})
	require.ErrorContains(t, err, "registered already")
	_, err = batch.New(batch.Config{Queue: queuetest.Quick(t, nil).Queue})
	require.ErrorIs(t, err, queue.ErrRunning)
}

// Without the store each route responds with 503, whatever the request is.
func TestWithoutStore(t *testing.T) {
	t.Parallel()
	a := queuetest.NewApp(t, queuetest.Defaults(queuetest.StartServer(t, embedded.Config{})))
	for _, request := range []string{
		"POST /v1/files", "GET /v1/files", "GET /v1/files/x", "GET /v1/files/x/content", "DELETE /v1/files/x",
		"POST /v1/batches", "GET /v1/batches", "GET /v1/batches/x", "POST /v1/batches/x/cancel", "GET /admin/queue/batches",
	} {
		method, path, _ := strings.Cut(request, " ")
		w := a.Do(method, path, "{}")
		assert.Equal(t, http.StatusServiceUnavailable, w.Code, request)
		assert.Contains(t, w.Body.String(), "queue_unavailable", request)
	}
}
