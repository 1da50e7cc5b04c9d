package reach_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/reach"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a server's writer.
type server struct {
	http.ResponseWriter
	deadline time.Time
}

func (s *server) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }

type (
	embedding struct{ http.ResponseWriter }
	// The writer may be deeper, or have any name.
	deep   struct{ middle }
	middle struct {
		n int
		embedding
	}
	named struct{ W http.ResponseWriter }
	// hidden and hiddenInside can't be passed.
	hidden       struct{ w http.ResponseWriter }
	hiddenInside struct{ hidden }
	loop         struct{ http.ResponseWriter }
)

func (n named) Header() http.Header         { return n.W.Header() }
func (n named) Write(p []byte) (int, error) { return n.W.Write(p) }
func (n named) WriteHeader(code int)        { n.W.WriteHeader(code) }

func (h hidden) Header() http.Header         { return h.w.Header() }
func (h hidden) Write(p []byte) (int, error) { return h.w.Write(p) }
func (h hidden) WriteHeader(code int)        { h.w.WriteHeader(code) }

func (l *loop) Unwrap() http.ResponseWriter { return l }

func TestReachPassesWriters(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		wrap        func(w http.ResponseWriter) http.ResponseWriter
		alone, kept bool // whether the server is reached
	}{
		"none":                    {func(w http.ResponseWriter) http.ResponseWriter { return w }, true, true},
		"embedded":                {func(w http.ResponseWriter) http.ResponseWriter { return embedding{w} }, true, true},
		"embedded, by pointer":    {func(w http.ResponseWriter) http.ResponseWriter { return &embedding{&embedding{w}} }, true, true},
		"deep":                    {func(w http.ResponseWriter) http.ResponseWriter { return &deep{middle{1, embedding{w}}} }, true, true},
		"named":                   {func(w http.ResponseWriter) http.ResponseWriter { return named{&named{w}} }, true, true},
		"hidden":                  {func(w http.ResponseWriter) http.ResponseWriter { return &hidden{w} }, false, true},
		"hidden in others":        {func(w http.ResponseWriter) http.ResponseWriter { return embedding{&hiddenInside{hidden{named{w}}}} }, false, true},
		"a recorder":              {func(http.ResponseWriter) http.ResponseWriter { return httptest.NewRecorder() }, false, false},
		"hidden, before another":  {func(http.ResponseWriter) http.ResponseWriter { return &hidden{httptest.NewRecorder()} }, false, false},
		"one that unwraps itself": {func(w http.ResponseWriter) http.ResponseWriter { return &loop{w} }, false, false},
		"nothing":                 {func(http.ResponseWriter) http.ResponseWriter { return embedding{} }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &server{ResponseWriter: httptest.NewRecorder()}
			w := tt.wrap(s)
			now := time.Now()
			assert.Equal(t, tt.alone, reach.Of(t.Context(), w).SetWriteDeadline(now) == nil)
			assert.Equal(t, tt.alone, s.deadline.Equal(now))
			ctx := reach.Keep(reach.Keep(t.Context(), s), embedding{s}) // that of a middleware further in
			assert.Equal(t, tt.kept, reach.Of(ctx, w).SetWriteDeadline(now) == nil)
			assert.Equal(t, tt.kept, s.deadline.Equal(now))
		})
	}
}

var runs atomic.Int32

// What can't be had is logged once for each kind of writer, below a server only.
func TestMissingDeadlineIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	type first struct{ hidden }
	type second struct{ hidden }
	served := context.WithValue(t.Context(), http.ServerContextKey, new(http.Server))
	for range 3 {
		for _, w := range []http.ResponseWriter{&first{}, &second{}} {
			require.ErrorIs(t, reach.Of(t.Context(), w).SetWriteDeadline(time.Now()), http.ErrNotSupported)
		}
		assert.Equal(t, 0, strings.Count(log.String(), "\n"))
	}
	for range 3 {
		for _, w := range []http.ResponseWriter{&first{}, &second{}} {
			require.ErrorIs(t, reach.Of(served, w).SetWriteDeadline(time.Now()), http.ErrNotSupported)
		}
	}
	if runs.Add(1) > 1 { // by -count
		assert.Empty(t, log.String())
		return
	}
	assert.Equal(t, 2, strings.Count(log.String(), "\n"), log.String())
	assert.Contains(t, log.String(), "writer=*reach_test.first")
}

// A goroutine of a test, or of a middleware that buffers, is not ended.
func TestCutReturnsWithoutServer(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	w := httptest.NewRecorder()
	reach.Of(r.Context(), w).Cut(r)
	assert.Empty(t, w.Header())
	reach.Of(r.Context(), &hidden{w}).Cut(r)
	served := r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, new(http.Server)))
	reach.Of(served.Context(), w).Cut(served)
	assert.NotEmpty(t, w.Header().Get("Content-Length"), "what is sent later is too short")
}
