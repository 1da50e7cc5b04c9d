package queue_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/internal/testkit/writers"
	"github.com/ginfer/ginfer/queue"
	"github.com/stretchr/testify/assert"
)

// A response that may be better the next time leads to another attempt.
func TestRetry(t *testing.T) {
	t.Parallel()
	respond := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
		}
	}
	tests := []struct {
		name     string
		bad      http.HandlerFunc
		attempts int // of 3
	}{
		{"429", respond(429), 3},
		{"429 that clients should give up on", respond(429, "X-Should-Retry", "false"), 3},
		{"500", respond(500), 3},
		{"503", respond(503, "Retry-After", "0"), 3},
		{"408", respond(408), 3},
		{"400 to be repeated", respond(400, "X-Should-Retry", "true"), 3},
		{"503 not to be repeated", respond(503, "X-Should-Retry", "false"), 1},
		{"501", respond(501), 1},
		{"400", respond(400), 1},
		{"404", respond(404), 1},
		{"a panic", func(http.ResponseWriter, *http.Request) { panic("x") }, 3},
		{"an aborted response", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 3},
		{"a response that is too short", respond(200, "Content-Length", "5"), 3},
		{"a response that is cut", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "ha")
			c := http.NewResponseController(w)
			_ = c.SetWriteDeadline(time.Unix(1, 0))
		}, 3},
		{"a response that is cut behind a writer", cutBehind(writers.Embedding), 3},
		{"a response that is cut behind an opaque writer", cutBehind(writers.Opaque), 3},
		{"a response that is too long", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2000)) }, 1},
		{"one that takes too long", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			var seen queuetest.Events
			a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
				cfg.Attempts, cfg.Timeout, cfg.OnEvent, cfg.Limits.ResultBytes = 3, 200*time.Millisecond, seen.On, 1000
				cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					calls.Add(1)
					tt.bad(w, r)
				})
			})
			got := a.Done(a.Submit(queuetest.Job(1)))
			assert.Equal(t, "failed", got.Str("status"))
			assert.NotNil(t, got["error"])
			assert.InEpsilon(t, float64(tt.attempts), got["attempts"], 0.01)
			assert.EqualValues(t, tt.attempts, calls.Load())
			assert.Len(t, seen.Of(queue.Retried), tt.attempts-1)
		})
	}
}

// cutBehind returns a handler whose response breaks off behind another middleware's writer.
func cutBehind(hide gin.HandlerFunc) http.HandlerFunc {
	e := gin.New()
	e.Use(gin.RecoveryWithWriter(io.Discard), hide)
	e.NoRoute(func(c *gin.Context) {
		c.String(http.StatusOK, "ha")
		apierror.Cut(c, nil)
	})
	return e.ServeHTTP
}

func TestRetrySucceeds(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	var last atomic.Value
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			info, _ := queue.FromContext(r.Context())
			last.Store(info)
			if calls.Add(1) < 3 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		})
	})
	begin := time.Now()
	id := a.Submit(queuetest.Job(1))
	assert.Equal(t, "completed", a.Done(id).Str("status"))
	assert.Greater(t, time.Since(begin), 2*time.Second, "Retry-After is obeyed")
	assert.Equal(t, queue.Info{ID: id, Line: -1, Tenant: "ann", Attempt: 3, Priority: queue.Normal}, last.Load())
}

// A job that fails for good is a dead letter, which an operator can send again.
func TestDeadLetter(t *testing.T) {
	t.Parallel()
	var healthy atomic.Bool
	var seen queuetest.Events
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Attempts, cfg.OnEvent = 2, seen.On
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !healthy.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
	})
	id := a.Submit(queuetest.Job(1))
	assert.Equal(t, "failed", a.Done(id).Str("status"))
	var letters []any
	a.Eventually("it is a dead letter", func() bool {
		letters, _ = a.Want(http.StatusOK, http.MethodGet, "/admin/queue/dead", "")["data"].([]any)
		return len(letters) == 1
	})
	l := queuetest.Object(letters[0].(map[string]any))
	assert.Equal(t, id, l.Str("of"))
	assert.Equal(t, "job", l.Str("kind"))
	assert.Equal(t, "ann", l.Str("tenant"))
	assert.Equal(t, "failed 2 times, at last: status 503", l.Str("reason"))
	a.Eventually("it is reported", func() bool { return len(seen.Of(queue.Dead)) == 1 })

	healthy.Store(true)
	path := "/admin/queue/dead/" + l.Str("id")
	assert.Equal(t, id, a.Want(http.StatusAccepted, http.MethodPost, path+"/replay", "").Str("replayed_as"))
	assert.Equal(t, "completed", a.Done(id).Str("status"), "under its own name")
	assert.Equal(t, http.StatusOK, a.Do(http.MethodGet, "/v1/jobs/"+id+"/result", "").Code)
	a.Want(http.StatusNotFound, http.MethodPost, path+"/replay", "")
	assert.Empty(t, a.Want(http.StatusOK, http.MethodGet, "/admin/queue/dead", "")["data"])
	a.Want(http.StatusNotFound, http.MethodDelete, path, "")
	a.Want(http.StatusNotFound, http.MethodDelete, "/admin/queue/dead/x", "")
}

// A RoundTripper does as well as a handler.
func TestTransport(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch body, _ := io.ReadAll(r.Body); {
		case strings.Contains(string(body), `"n":1`):
			w.Header().Set("X-Request-ID", "up-1")
			_, _ = w.Write(body)
		case strings.Contains(string(body), `"n":2`):
			_, _ = w.Write(make([]byte, 2000))
		default:
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		}
	}))
	defer upstream.Close()
	next := &http.Transport{}
	defer next.CloseIdleConnections()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler, cfg.Attempts, cfg.Limits.ResultBytes = nil, 2, 1000
		cfg.Transport = queuetest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.URL.Host = upstream.Listener.Addr().String()
			return next.RoundTrip(r)
		})
	})
	good := a.Done(a.Submit(queuetest.Job(1)))
	assert.Equal(t, "completed", good.Str("status"))
	assert.Equal(t, "up-1", good["response"].(map[string]any)["request_id"])
	assert.Equal(t, "response_too_large", a.Done(a.Submit(queuetest.Job(2))).Code())
	assert.Equal(t, "response_cut", a.Done(a.Submit(queuetest.Job(3))).Code())
}

// A panic of the application's code costs an attempt of one task, never the process.
func TestPanicsFailTheAttemptOnly(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(cfg *queuetest.Setup, once func()){
		"Transport": func(cfg *queuetest.Setup, once func()) {
			cfg.Handler = nil
			cfg.Transport = queuetest.RoundTripper(func(*http.Request) (*http.Response, error) {
				once()
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}, nil
			})
		},
		"Attach": func(cfg *queuetest.Setup, once func()) {
			cfg.Identity = func(*gin.Context) ([]byte, error) { return []byte("ann"), nil }
			cfg.Attach = func(ctx context.Context, _ []byte) context.Context { once(); return ctx }
		},
		"OnEvent": func(cfg *queuetest.Setup, once func()) {
			cfg.OnEvent = func(_ context.Context, e queue.Event) {
				if e.Kind == queue.Started {
					once()
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
				change(cfg, func() {
					if calls.Add(1) == 1 {
						panic("x")
					}
				})
			})
			assert.Equal(t, "completed", a.Done(a.Submit(queuetest.Job(1))).Str("status"))
			assert.EqualValues(t, 2, calls.Load())
		})
	}
}
