package ratelimit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/recorded"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

// app is a Gin application with a chain in front of a handler.
func app(chain ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.Any("/*path", append(chain, func(c *gin.Context) { c.String(http.StatusOK, "ok") })...)
	return r
}

// get sends a request with the user in the header X-User.
func get(h http.Handler, user string) *httptest.ResponseRecorder {
	return getIn(context.Background(), h, user)
}

func getIn(ctx context.Context, h http.Handler, user string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if user != "" {
		r.Header.Set("X-User", user)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// count sends n requests at once and counts the responses by status.
func count(h http.Handler, user string, n int) map[int]int {
	statuses := make([]int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { statuses[i] = get(h, user).Code })
	}
	wg.Wait()
	out := map[int]int{}
	for _, s := range statuses {
		out[s]++
	}
	return out
}

var byUser = ratelimit.ByHeader("X-User")

func limiter(tb testing.TB, cfg ratelimit.Config) *ratelimit.Limiter {
	tb.Helper()
	l, err := ratelimit.New(cfg)
	require.NoError(tb, err)
	return l
}

// shared is a Memory that stands for a remote store of several limiters. It can be down or
// slow, and counts its calls.
type shared struct {
	*ratelimit.Memory
	mu    sync.Mutex
	err   error
	slow  time.Duration
	takes int
	given []ratelimit.Charge
}

func newShared(tb testing.TB) *shared {
	tb.Helper()
	m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
	require.NoError(tb, err)
	return &shared{Memory: m}
}

func (s *shared) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *shared) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takes
}

func (s *shared) Take(ctx context.Context, charges []ratelimit.Charge) error {
	s.mu.Lock()
	err, slow := s.err, s.slow
	s.takes++
	s.mu.Unlock()
	if slow > 0 {
		time.Sleep(slow)
	}
	if err != nil {
		return err
	}
	if err = s.Memory.Take(ctx, charges); err == nil {
		s.mu.Lock()
		s.given = append(s.given, charges...)
		s.mu.Unlock()
	}
	return err
}

func (s *shared) Settle(ctx context.Context, settlements []ratelimit.Settlement) error {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Memory.Settle(ctx, settlements)
}

var errDown = errors.Join(ratelimit.ErrUnavailable, errors.New("connection refused"))

// events records events.
type events struct {
	recorded.Events[ratelimit.Event]
}

func (e *events) of(kind ratelimit.Kind) []ratelimit.Event {
	return e.Where(func(one ratelimit.Event) bool { return one.Kind == kind })
}

// over returns a Shared over a store.
func over(tb testing.TB, store ratelimit.Store, cfg ratelimit.SharedConfig) *ratelimit.Shared {
	tb.Helper()
	cfg.Store = store
	s, err := ratelimit.NewShared(cfg)
	require.NoError(tb, err)
	return s
}
