package observe_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe"
	"github.com/stretchr/testify/require"
)

// lines collects the output of a logger.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// all returns the lines as objects.
func (l *lines) all(t *testing.T) []map[string]any {
	t.Helper()
	var out []map[string]any
	for text := range strings.Lines(l.String()) {
		var one map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &one), text)
		out = append(out, one)
	}
	return out
}

// one returns the only line.
func (l *lines) one(t *testing.T) map[string]any {
	t.Helper()
	all := l.all(t)
	require.Len(t, all, 1)
	return all[0]
}

func newAccessLog(t *testing.T, cfg observe.AccessLogConfig) (*observe.AccessLog, *lines) {
	t.Helper()
	out := new(lines)
	cfg.Logger = slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	access, err := observe.NewAccessLog(cfg)
	require.NoError(t, err)
	return access, out
}

// ask sends a request through handlers at /v1/chat/completions; any other path is a
// NoRoute.
func ask(req *http.Request, handlers ...gin.HandlerFunc) *httptest.ResponseRecorder {
	e := gin.New()
	e.POST("/v1/chat/completions", handlers...)
	e.NoRoute(handlers...)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, req)
	return w
}

func post(header ...string) *http.Request {
	req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions?api_key=sk-query-secret", strings.NewReader(`{"model":"m","messages":"the prompt"}`))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}
