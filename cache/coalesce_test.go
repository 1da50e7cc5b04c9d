package cache_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// arrivals lets an upstream wait for a number of requests.
type arrivals struct {
	mu   sync.Mutex
	n    int
	want int
	all  chan struct{}
}

func newArrivals(want int) *arrivals { return &arrivals{want: want, all: make(chan struct{})} }

func (a *arrivals) arrive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n++; a.n == a.want {
		close(a.all)
	}
}

// front counts each request before the cache.
func (a *arrivals) front(c *gin.Context) {
	a.arrive()
	c.Next()
}

// serve starts a server for a test.
func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quiet()
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// send sends a request for a model to a server.
func send(ctx context.Context, s *httptest.Server, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+chatPath, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("Authorization", "Bearer alice")
	return s.Client().Do(req)
}

// whole sends a request and returns the body, and the error at its end.
func whole(t *testing.T, s *httptest.Server, body string) (code int, got string, err error) {
	t.Helper()
	res, err := send(t.Context(), s, body)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// together calls do n times concurrently.
func together(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

func TestThousandStreamsAreOneCall(t *testing.T) {
	all, plain := events("a", "b", "c", "d"), strings.Replace(chatJSON, "%d", "1", 1)
	t.Run("streams", func(t *testing.T) {
		thousand(t, chatStream, strings.Join(all, ""), func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			for _, e := range all {
				_, _ = c.Writer.WriteString(e)
				c.Writer.Flush()
			}
		})
	})
	t.Run("plain", func(t *testing.T) {
		thousand(t, chatPlain, plain, func(c *gin.Context) { c.Data(200, jsonType, []byte(plain)) })
	})
}

// thousand sends a thousand concurrent requests, which must be one call.
func thousand(t *testing.T, body, want string, handle gin.HandlerFunc) {
	t.Helper()
	const n = 1000
	here, l := newArrivals(n), &log{}
	u := &upstream{handle: func(c *gin.Context) {
		<-here.all
		handle(c)
	}}
	r := gin.New()
	r.POST(chatPath, here.front, newCache(t, cache.Config{OnEvent: l.On}).Middleware(), u.serve)
	s := serve(t, r)
	together(n, func(int) {
		code, got, err := whole(t, s, body)
		assert.Equal(t, []any{200, want, nil}, []any{code, got, err})
	})
	require.EqualValues(t, 1, u.calls.Load())
	require.Equal(t, n-1, len(l.of(cache.Coalesced))+len(l.of(cache.Hit)))
}

// steps is an upstream that writes one event per step, and reports the end of its context.
type steps struct {
	upstream
	next  chan string
	ended chan error
}

func newSteps() *steps {
	s := &steps{next: make(chan string), ended: make(chan error, 10)}
	s.handle = func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		ctx := c.Request.Context()
		for {
			select {
			case e, ok := <-s.next:
				if !ok {
					s.ended <- nil
					return
				}
				_, _ = c.Writer.WriteString(e)
				c.Writer.Flush()
			case <-ctx.Done():
				s.ended <- context.Cause(ctx)
				return
			}
		}
	}
	return s
}

func (s *steps) write(all ...string) {
	for _, e := range all {
		s.next <- e
	}
}

// reads requires the next bytes of a response.
func reads(t *testing.T, res *http.Response, want string) {
	t.Helper()
	b := make([]byte, len(want))
	_, err := io.ReadFull(res.Body, b)
	require.NoError(t, err)
	require.Equal(t, want, string(b))
}

func TestLateFollowerGetsTheBeginning(t *testing.T) {
	t.Parallel()
	u, all := newSteps(), events("a", "b")
	s := serve(t, app(newCache(t, cache.Config{}), u.serve))
	leader := make(chan *http.Response)
	go func() {
		res, err := send(t.Context(), s, chatStream) //nolint:bodyclose // it is closed where it is read
		assert.NoError(t, err)
		leader <- res
	}()
	u.write(all[0], all[1])
	first := <-leader
	defer func() { _ = first.Body.Close() }()
	reads(t, first, all[0]+all[1])
	late, err := send(t.Context(), s, chatStream)
	require.NoError(t, err)
	defer func() { _ = late.Body.Close() }()
	require.Equal(t, "ginfer; fwd=miss; collapsed", late.Header.Get("Cache-Status"))
	reads(t, late, all[0]+all[1])
	u.write(all[2])
	reads(t, first, all[2])
	reads(t, late, all[2])
	u.write(all[3:]...)
	close(u.next)
	for _, res := range []*http.Response{first, late} {
		rest, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, strings.Join(all[3:], ""), string(rest))
	}
	require.EqualValues(t, 1, u.calls.Load())
}

// The leader may disconnect without harm to its followers; the call ends with the last one.
func TestCallEndsWithTheLastClient(t *testing.T) {
	t.Parallel()
	u, all := newSteps(), events("a", "b")
	c := newCache(t, cache.Config{})
	s := serve(t, app(c, u.serve))
	leading, leave := context.WithCancel(t.Context())
	got := make(chan *http.Response)
	go func() {
		res, err := send(leading, s, chatStream) //nolint:bodyclose // it is closed where it is read
		assert.NoError(t, err)
		got <- res
	}()
	u.write(all[0])
	first := <-got
	following, leaveToo := context.WithCancel(t.Context())
	second, err := send(following, s, chatStream)
	require.NoError(t, err)
	reads(t, second, all[0])
	leave()
	_ = first.Body.Close()
	u.write(all[1], all[2])
	reads(t, second, all[1]+all[2])
	require.Empty(t, u.ended)
	leaveToo()
	_ = second.Body.Close()
	require.ErrorContains(t, <-u.ended, "all clients have disconnected")
	// The next request is a new call.
	go u.write(all...)
	res, err := send(t.Context(), s, chatStream)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	reads(t, res, strings.Join(all, ""))
	close(u.next)
	require.EqualValues(t, 2, u.calls.Load())
}

// Followers that want the other form get it at the end.
func TestFollowersOfTheOtherForm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stream := strings.Join(events("Hello"), "")
		u := &upstream{handle: func(c *gin.Context) {
			time.Sleep(time.Second)
			c.Header("Content-Type", "text/event-stream")
			_, _ = c.Writer.WriteString(stream[:100])
			time.Sleep(time.Second)
			_, _ = c.Writer.WriteString(stream[100:])
		}}
		r := app(newCache(t, cache.Config{}), u.serve)
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, stream, post(r, chatStream).Body.String()) })
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				w := post(r, chatPlain)
				assert.JSONEq(t, strings.NewReplacer("%d", "1", `,"usage":{"total_tokens":9}`, "").Replace(chatJSON), w.Body.String())
				assert.Contains(t, status(w), "collapsed")
			})
			wg.Go(func() { assert.Equal(t, stream, post(r, chatStream).Body.String()) })
			wg.Go(func() { assert.Equal(t, stream, post(r, usageStream).Body.String()) })
		}
		wg.Wait()
		require.EqualValues(t, 1, u.calls.Load())
	})
}

// A follower that did not request the usage does not get that of the leader.
func TestFollowerWithoutUsage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := events("Hello")
		sent := strings.Join(all[:3], "") + usageEvent + all[3]
		u := &upstream{handle: func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			for i := range len(sent) {
				if i%100 == 0 {
					time.Sleep(time.Millisecond)
				}
				_, _ = c.Writer.WriteString(sent[i : i+1])
			}
		}}
		r := app(newCache(t, cache.Config{}), u.serve)
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, sent, post(r, usageStream).Body.String()) })
		synctest.Wait()
		wg.Go(func() { assert.Equal(t, strings.Join(all, ""), post(r, chatStream).Body.String()) })
		wg.Wait()
		require.EqualValues(t, 1, u.calls.Load())
	})
}

// What a handler writes after it has returned reaches no client.
func TestWriteAfterReturn(t *testing.T) {
	t.Parallel()
	late := make(chan gin.ResponseWriter, 1)
	u := &upstream{handle: func(c *gin.Context) {
		c.Data(200, jsonType, []byte(strings.Replace(chatJSON, "%d", "1", 1)))
		late <- c.Writer
	}}
	w := post(app(newCache(t, cache.Config{}), u.serve), chatPlain)
	_, err := (<-late).Write([]byte("late"))
	require.Error(t, err)
	require.NotContains(t, w.Body.String(), "late")
}

// The writer of the handlers behaves like that of Gin.
func TestWriterOfALeader(t *testing.T) {
	t.Parallel()
	u := &upstream{handle: func(c *gin.Context) {
		w := c.Writer
		assert.False(t, w.Written())
		assert.Equal(t, -1, w.Size())
		w.WriteHeader(http.StatusCreated)
		assert.Equal(t, 201, w.Status())
		assert.False(t, w.Written())
		w.WriteHeaderNow()
		w.WriteHeader(http.StatusInternalServerError)
		assert.Equal(t, 201, w.Status())
		n, err := io.WriteString(w, "ab")
		require.NoError(t, err)
		assert.Equal(t, 2, n)
		assert.Equal(t, 2, w.Size())
		_, _, err = w.Hijack()
		require.ErrorIs(t, err, http.ErrNotSupported)
		assert.Nil(t, w.Pusher())
		rc := http.NewResponseController(w)
		require.NoError(t, rc.SetWriteDeadline(time.Now().Add(time.Hour)))
		require.NoError(t, rc.SetWriteDeadline(time.Time{}))
		require.NoError(t, rc.Flush())
		require.Error(t, rc.EnableFullDuplex())
		assert.NotNil(t, w.(http.CloseNotifier).CloseNotify()) //nolint:staticcheck // Gin's interface has it
	}}
	r := gin.New()
	r.POST(chatPath, func(c *gin.Context) {
		c.Header("X-Before", "1")
		c.Next()
		assert.Equal(t, 201, c.Writer.Status())
		assert.Equal(t, 2, c.Writer.Size())
		s, ok := cache.FromContext(c.Request.Context())
		assert.True(t, ok)
		assert.Equal(t, "llm", s.Policy)
		assert.False(t, s.Free())
	}, newCache(t, cache.Config{}).Middleware(), u.serve)
	w := post(r, chatPlain)
	require.Equal(t, 201, w.Code)
	require.Equal(t, "ab", w.Body.String())
	require.Equal(t, "1", w.Header().Get("X-Before"))
}

// A response may have no body, or no handler that wrote it.
func TestEmptyResponses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handle gin.HandlerFunc
		code   int
	}{
		"nothing":      {func(*gin.Context) {}, 200},
		"a status":     {func(c *gin.Context) { c.Status(202) }, 202},
		"no content":   {func(c *gin.Context) { c.Status(204) }, 204},
		"an abort":     {func(c *gin.Context) { c.AbortWithStatus(403) }, 403},
		"its own head": {func(c *gin.Context) { c.Writer.WriteHeaderNow() }, 200},
	} {
		w := post(app(newCache(t, cache.Config{}), tt.handle), chatPlain)
		assert.Equal(t, tt.code, w.Code, name)
		assert.Empty(t, w.Body.String(), name)
		assert.NotEmpty(t, status(w), name)
	}
}

// Trailers pass.
func TestTrailers(t *testing.T) {
	t.Parallel()
	u := &upstream{handle: func(c *gin.Context) {
		c.Header("Trailer", "X-Sum")
		c.Header("Content-Type", "text/event-stream")
		_, _ = c.Writer.WriteString(strings.Join(events("a"), ""))
		c.Writer.Flush()
		c.Header("X-Sum", "7")
	}}
	s := serve(t, app(newCache(t, cache.Config{}), u.serve))
	res, err := send(t.Context(), s, chatStream)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	_, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, "7", res.Trailer.Get("X-Sum"))
}
