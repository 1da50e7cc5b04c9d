package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// failing is an upstream that fails its first calls as given. Each takes a second.
func failing(fail ...func(c *gin.Context)) *upstream {
	u := &upstream{}
	u.handle = func(c *gin.Context) {
		n := int(u.calls.Load())
		time.Sleep(time.Second)
		if n <= len(fail) {
			fail[n-1](c)
			return
		}
		c.Data(200, jsonType, []byte(strings.Replace(chatJSON, "%d", "1", 1)))
	}
	return u
}

// breakable is a client with a connection that can be cut.
type breakable struct {
	*httptest.ResponseRecorder
	cut atomic.Bool
}

func (b *breakable) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		b.cut.Store(true)
	}
	return nil
}

// code is the status that a client got: 0 if the connection broke.
func code(h http.Handler, body string) (code int) {
	w := &breakable{ResponseRecorder: httptest.NewRecorder()}
	defer func() {
		if recover() != nil || w.cut.Load() {
			code = 0
		}
	}()
	h.ServeHTTP(w, request(http.MethodPost, chatPath, body))
	return w.Code
}

func TestFailedLeaderIsReplacedOnce(t *testing.T) {
	t.Parallel()
	const n = 50
	status := func(code int) func(*gin.Context) {
		return func(c *gin.Context) { c.JSON(code, gin.H{"error": gin.H{"message": "x"}}) }
	}
	panics := func(v any) func(*gin.Context) { return func(*gin.Context) { panic(v) } }
	cut := func(c *gin.Context) { apierror.Cut(c, errors.New("x")) }
	for name, tt := range map[string]struct {
		fail  []func(*gin.Context)
		calls int64
		codes map[int]int // 0: the connection broke
	}{
		"an error status":        {[]func(*gin.Context){status(502)}, 2, map[int]int{502: 1, 200: n - 1}},
		"two error statuses":     {[]func(*gin.Context){status(502), status(503)}, 2, map[int]int{502: 1, 503: n - 1}},
		"a limit":                {[]func(*gin.Context){status(429)}, 2, map[int]int{429: 1, 200: n - 1}},
		"a panic":                {[]func(*gin.Context){panics("x")}, 2, map[int]int{500: 1, 200: n - 1}},
		"two panics":             {[]func(*gin.Context){panics("x"), panics("y")}, 2, map[int]int{500: 2, 503: n - 2}},
		"an aborted handler":     {[]func(*gin.Context){panics(http.ErrAbortHandler)}, 2, map[int]int{0: 1, 200: n - 1}},
		"a request that was bad": {[]func(*gin.Context){status(400)}, 1, map[int]int{400: n}},
		"a cut":                  {[]func(*gin.Context){cut}, 2, map[int]int{0: 1, 200: n - 1}},
		"a cut and an error":     {[]func(*gin.Context){cut, status(500)}, 2, map[int]int{0: 1, 500: n - 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				u := failing(tt.fail...)
				r := gin.New()
				r.POST(chatPath, apierror.Recovery(nil), newCache(t, cache.Config{}).Middleware(), u.serve)
				var mu sync.Mutex
				codes := map[int]int{}
				var wg sync.WaitGroup
				for range n {
					wg.Go(func() {
						got := code(r, chatPlain)
						mu.Lock()
						defer mu.Unlock()
						codes[got]++
					})
				}
				wg.Wait()
				assert.Equal(t, tt.codes, codes)
				assert.Equal(t, tt.calls, u.calls.Load())
			})
		})
	}
}

// A stream that breaks in the middle breaks for all clients, and is not stored.
func TestBrokenStream(t *testing.T) {
	t.Parallel()
	all := events("a", "b")
	for name, end := range map[string]func(*gin.Context){
		"cut":     func(c *gin.Context) { apierror.Abort(c, errors.New("x")) },
		"a panic": func(*gin.Context) { panic("x") },
		"abort":   func(*gin.Context) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resume := make(chan struct{})
			u := &upstream{handle: func(c *gin.Context) {
				c.Header("Content-Type", "text/event-stream")
				_, _ = c.Writer.WriteString(all[0])
				c.Writer.Flush()
				<-resume
				end(c)
			}}
			r := gin.New()
			r.POST(chatPath, apierror.Recovery(nil), newCache(t, cache.Config{}).Middleware(), u.serve)
			begin(t, serve(t, r), 3, all[0], resume, func(rest string, err error) {
				assert.Error(t, err, "%q", rest) //nolint:testifylint // a failure here must not end the goroutine
				assert.NotContains(t, rest, "[DONE]")
			})
			require.EqualValues(t, 1, u.calls.Load())
		})
	}
}

// slowClient opens a stream on a connection that it does not read.
func slowClient(t *testing.T, s *httptest.Server) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	var b bytes.Buffer
	req := request(http.MethodPost, s.URL+chatPath, chatStream)
	require.NoError(t, req.Write(&b))
	_, err = conn.Write(b.Bytes())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
}

// A client that does not read is dropped alone, the leader too. It must not delay the
// others.
func TestSlowReaderIsDroppedAlone(t *testing.T) {
	t.Parallel()
	t.Run("a follower", func(t *testing.T) { t.Parallel(); slowReader(t, false) })
	t.Run("the leader", func(t *testing.T) { t.Parallel(); slowReader(t, true) })
}

func slowReader(t *testing.T, leads bool) {
	t.Helper()
	const n = 300
	both, first, end := newArrivals(1), make(chan struct{}), make(chan struct{})
	long := "data: " + strings.Repeat("x", 32<<10) + "\n\n"
	u := &upstream{handle: func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		_, _ = c.Writer.WriteString(long)
		close(first)
		<-both.all
		for range n - 1 {
			_, _ = c.Writer.WriteString(long)
		}
		close(end)
	}}
	coalesced := func(_ context.Context, e cache.Event) {
		if e.Kind == cache.Coalesced {
			both.arrive()
		}
	}
	s := serve(t, app(newCache(t, cache.Config{OnEvent: coalesced, MaxLag: 256 << 10, WriteTimeout: 30 * time.Second}), u.serve))
	if leads {
		slowClient(t, s)
		<-first
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, got, err := whole(t, s, chatStream)
		assert.Equal(t, []any{n * len(long), nil}, []any{len(got), err})
	})
	if !leads {
		<-first
		slowClient(t, s)
	}
	wg.Wait()
	<-end
	require.EqualValues(t, 1, u.calls.Load())
}

// A single slow client is not dropped: the upstream waits for it.
func TestSingleSlowReaderIsNotDropped(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("data: x\n\n", 4000)
	var written atomic.Int64
	u := &upstream{handle: func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		for range 200 {
			n, _ := c.Writer.WriteString(long)
			written.Add(int64(n))
		}
	}}
	s := serve(t, app(newCache(t, cache.Config{MaxLag: 64 << 10}), u.serve))
	res, err := send(t.Context(), s, chatStream)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(io.Discard, iotestSlow{res.Body})
	require.NoError(t, err)
	require.EqualValues(t, 200*len(long), n)
}

// iotestSlow reads in small parts.
type iotestSlow struct{ r io.Reader }

func (s iotestSlow) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 1000)]) }
