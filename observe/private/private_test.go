package private_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/observe/private"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return w
}

func say(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
}

func TestHandler(t *testing.T) {
	t.Parallel()
	full := private.Handler(private.Config{Metrics: say("metrics"), Requests: say("requests"), Ready: func(context.Context) error { return nil }})
	for path, want := range map[string]string{
		"/metrics": "metrics", "/debug/requests": "requests", "/livez": "ok\n", "/readyz": "ok\n",
		"/debug/pprof/": "goroutine", "/debug/pprof/heap?debug=1": "heap profile", "/debug/pprof/cmdline": "test", "/debug/pprof/symbol": "num_symbols",
	} {
		w := get(full, path)
		assert.Equal(t, http.StatusOK, w.Code, path)
		assert.Contains(t, w.Body.String(), want, path)
	}
	bare := private.Handler(private.Config{})
	for path, want := range map[string]int{"/metrics": 404, "/debug/requests": 404, "/livez": 200, "/readyz": 200, "/": 404} {
		assert.Equal(t, want, get(bare, path).Code, path)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	h := private.Handler(private.Config{Ready: func(context.Context) error { return errors.New("draining") }})
	w := get(h, "/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Equal(t, "draining\n", w.Body.String())
	assert.Equal(t, http.StatusOK, get(h, "/livez").Code)
}

// A check that hangs is canceled.
func TestReadyHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := private.Handler(private.Config{Ready: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		assert.Equal(t, http.StatusServiceUnavailable, get(h, "/readyz").Code)
	})
	bounded := false
	get(private.Handler(private.Config{ReadyTimeout: -1, Ready: func(ctx context.Context) error { _, bounded = ctx.Deadline(); return nil }}), "/readyz")
	assert.False(t, bounded)
}

// The timeout of a check is configurable; the text of its error is the response.
func TestReadyTimeout(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		timeout, took, limit time.Duration
		code                 int
	}{
		"default":       {0, time.Second, 2 * time.Second, http.StatusOK},
		"default, over": {0, 3 * time.Second, 2 * time.Second, http.StatusServiceUnavailable},
		"longer":        {5 * time.Second, 3 * time.Second, 5 * time.Second, http.StatusOK},
		"shorter":       {time.Second, 3 * time.Second, time.Second, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				w := get(private.Handler(private.Config{ReadyTimeout: tt.timeout, Ready: func(ctx context.Context) error {
					select {
					case <-time.After(tt.took):
						return nil
					case <-ctx.Done():
						return errors.New("store unreachable")
					}
				}}), "/readyz")
				assert.Equal(t, tt.code, w.Code)
				assert.Equal(t, min(tt.took, tt.limit), time.Since(start))
				if tt.code != http.StatusOK {
					assert.Equal(t, "store unreachable\n", w.Body.String())
				}
			})
		})
	}
}

// Only profiles accept other methods than GET and HEAD.
func TestMethods(t *testing.T) {
	t.Parallel()
	h := private.Handler(private.Config{Metrics: say("metrics"), Requests: say("requests")})
	for path, want := range map[string]int{"/metrics": 405, "/debug/requests": 405, "/livez": 405, "/readyz": 405, "/debug/pprof/symbol": 200} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, http.NoBody))
		assert.Equal(t, want, w.Code, path)
	}
}

func ExampleHandler() {
	h := private.Handler(private.Config{Ready: func(context.Context) error { return errors.New("starting") }})
	fmt.Println(get(h, "/livez").Code, get(h, "/readyz").Code)
	// Output: 200 503
}
