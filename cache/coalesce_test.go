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

// arrivals lets an upstream wait until so many requests have been told of.
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

// front tells of each request before the cache has it.
func (a *arrivals) front(c *gin.Context) {
	a.arrive()
	c.Next()
}

// serve is a server for a test.
func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quiet()
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// ask sends a request of a model to a server.
func ask(ctx context.Context, s *httptest.Server, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+chatPath, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("Authorization", "Bearer alice")
	return s.Client().Do(req)
}

func TestAThousandStreamsAreOneCall(t *testing.T) {
	const n = 1000
	for name, body := range map[string]string{"streams": chatAsked, "plain": chatPlain} {
		t.Run(name, func(t *testing.T) {
			all, here := events("a", "b", "c", "d"), newArrivals(n)
			plain := strings.Replace(chatJSON, "%d", "1", 1)
			u := &upstream{handle: func(c *gin.Context) {
				<-here.all
				if body == chatPlain {
					c.Data(200, jsonType, []byte(plain))
					return
				}
				c.Header("Content-Type", "text/event-stream")
				for _, e := range all {
					_, _ = c.Writer.WriteString(e)
					c.Writer.Flush()
				}
			}}
			l := &log{}
			c := newCache(t, cache.Config{OnEvent: l.on})
			r := gin.New()
			r.POST(chatPath, here.front, c.Middleware(), u.serve)
			s := serve(t, r)
			want := plain
			if body == chatAsked {
				want = strings.Join(all, "")
			}
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					res, err := ask(t.Context(), s, body)
					if !assert.NoError(t, err) {
						return
					}
					defer func() { _ = res.Body.Close() }()
					got, err := io.ReadAll(res.Body)
					assert.NoError(t, err)
					assert.Equal(t, want, string(got))
					assert.Equal(t, 200, res.StatusCode)
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, u.calls.Load())
			require.Equal(t, n-1, len(l.of(cache.Coalesced))+len(l.of(cache.Hit)))
		})
	}
}

// steps is an upstream that writes one event each time it is told to, and knows whether
// its context ended.
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

// reads reads n bytes of an answer.
func reads(t *testing.T, res *http.Response, want string) {
	t.Helper()
	b := make([]byte, len(want))
	_, err := io.ReadFull(res.Body, b)
	require.NoError(t, err)
	require.Equal(t, want, string(b))
}

func TestALateFollowerGetsTheBeginningAndThenLive(t *testing.T) {
	t.Parallel()
	u, all := newSteps(), events("a", "b")
	s := serve(t, app(newCache(t, cache.Config{}), u.serve))
	leader := make(chan *http.Response)
	go func() {
		res, err := ask(t.Context(), s, chatAsked)
		assert.NoError(t, err)
		leader <- res
	}()
	u.write(all[0], all[1])
	first := <-leader
	defer func() { _ = first.Body.Close() }()
	reads(t, first, all[0]+all[1])
	late, err := ask(t.Context(), s, chatAsked)
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

// The leader's leaving does not hurt those that follow; when nobody is left the call ends.
func TestClientsThatLeave(t *testing.T) {
	t.Parallel()
	u, all := newSteps(), events("a", "b")
	c := newCache(t, cache.Config{})
	s := serve(t, app(c, u.serve))
	leading, leave := context.WithCancel(t.Context())
	got := make(chan *http.Response)
	go func() {
		res, err := ask(leading, s, chatAsked)
		assert.NoError(t, err)
		got <- res
	}()
	u.write(all[0])
	first := <-got
	following, leaveToo := context.WithCancel(t.Context())
	second, err := ask(following, s, chatAsked)
	require.NoError(t, err)
	reads(t, second, all[0])
	leave()
	_ = first.Body.Close()
	u.write(all[1], all[2])
	reads(t, second, all[1]+all[2])
	require.Empty(t, u.ended)
	leaveToo()
	_ = second.Body.Close()
	require.ErrorContains(t, <-u.ended, "every client has left")
	// And the next one begins anew.
	go u.write(all...)
	go func() { <-u.ended }()
	res, err := ask(t.Context(), s, chatAsked)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	reads(t, res, strings.Join(all, ""))
	close(u.next)
	require.EqualValues(t, 2, u.calls.Load())
}

// failing is an upstream whose first calls fail, each in its way. All take a second.
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

// breakable is a client whose connection can be cut.
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

// code is what a client got: 0 when the connection broke.
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

func TestALeaderThatFailsIsReplacedOnce(t *testing.T) {
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

// What breaks in the middle breaks for everybody, and is not kept.
func TestAStreamThatBreaks(t *testing.T) {
	t.Parallel()
	all := events("a", "b")
	for name, end := range map[string]func(*gin.Context){
		"cut":     func(c *gin.Context) { apierror.Abort(c, errors.New("x")) },
		"a panic": func(*gin.Context) { panic("x") },
		"abort":   func(*gin.Context) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, told := newArrivals(3), make(chan struct{})
			u := &upstream{handle: func(c *gin.Context) {
				c.Header("Content-Type", "text/event-stream")
				_, _ = c.Writer.WriteString(all[0])
				c.Writer.Flush()
				<-here.all
				<-told
				end(c)
			}}
			r := gin.New()
			r.POST(chatPath, here.front, apierror.Recovery(nil), newCache(t, cache.Config{}).Middleware(), u.serve)
			s := serve(t, r)
			var begun, wg sync.WaitGroup
			begun.Add(3)
			for range 3 {
				wg.Go(func() {
					res, err := ask(t.Context(), s, chatAsked)
					if !assert.NoError(t, err) {
						return
					}
					defer func() { _ = res.Body.Close() }()
					b := make([]byte, len(all[0]))
					_, err = io.ReadFull(res.Body, b)
					assert.NoError(t, err)
					begun.Done()
					rest, err := io.ReadAll(res.Body)
					assert.Error(t, err, "%q", rest)
					assert.NotContains(t, string(rest), "[DONE]")
				})
			}
			begun.Wait()
			close(told)
			wg.Wait()
			require.EqualValues(t, 1, u.calls.Load())
		})
	}
}

// slowClient opens a stream on a connection that it does not read.
func slowClient(t *testing.T, s *httptest.Server) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	var b bytes.Buffer
	req := request(http.MethodPost, s.URL+chatPath, chatAsked)
	require.NoError(t, req.Write(&b))
	_, err = conn.Write(b.Bytes())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// A client that does not read is dropped alone, be it the leader or not. It must not hold
// up the others.
func TestASlowReaderIsDroppedAlone(t *testing.T) {
	t.Parallel()
	for name, slowLeads := range map[string]bool{"a follower": false, "the leader": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both, slow := newArrivals(1), make(chan struct{})
			long := "data: " + strings.Repeat("x", 32<<10) + "\n\n"
			first := make(chan struct{})
			u := &upstream{handle: func(c *gin.Context) {
				c.Header("Content-Type", "text/event-stream")
				_, _ = c.Writer.WriteString(long)
				close(first)
				<-both.all
				for range 299 {
					_, _ = c.Writer.WriteString(long)
				}
				close(slow)
			}}
			coalesced := func(_ context.Context, e cache.Event) {
				if e.Kind == cache.Coalesced {
					both.arrive()
				}
			}
			s := serve(t, app(newCache(t, cache.Config{OnEvent: coalesced, MaxLag: 256 << 10, WriteTimeout: 30 * time.Second}), u.serve))
			if slowLeads {
				slowClient(t, s)
				<-first
			}
			done := make(chan int64)
			go func() {
				res, err := ask(t.Context(), s, chatAsked)
				if !assert.NoError(t, err) {
					close(done)
					return
				}
				defer func() { _ = res.Body.Close() }()
				n, err := io.Copy(io.Discard, res.Body)
				assert.NoError(t, err)
				done <- n
			}()
			if !slowLeads {
				<-first
				slowClient(t, s)
			}
			require.EqualValues(t, 300*len(long), <-done)
			<-slow
			require.EqualValues(t, 1, u.calls.Load())
		})
	}
}

// A single client is never dropped for its pace: the upstream waits for it.
func TestASingleSlowReaderIsWaitedFor(t *testing.T) {
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
	res, err := ask(t.Context(), s, chatAsked)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(io.Discard, iotestSlow{res.Body})
	require.NoError(t, err)
	require.EqualValues(t, 200*len(long), n)
}

// iotestSlow reads in small parts.
type iotestSlow struct{ r io.Reader }

func (s iotestSlow) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 1000)]) }

// Followers who want the other form get it at the end.
func TestMixedForms(t *testing.T) {
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
		wg.Go(func() { assert.Equal(t, stream, post(r, chatAsked).Body.String()) })
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				w := post(r, chatPlain)
				assert.JSONEq(t, strings.NewReplacer("%d", "1", `,"usage":{"total_tokens":9}`, "").Replace(chatJSON), w.Body.String())
				assert.Contains(t, status(w), "collapsed")
			})
			wg.Go(func() { assert.Equal(t, stream, post(r, chatAsked).Body.String()) })
			wg.Go(func() { assert.Equal(t, stream, post(r, usageAsk).Body.String()) })
		}
		wg.Wait()
		require.EqualValues(t, 1, u.calls.Load())
	})
}

// A follower that did not ask for the usage does not get what the leader asked for.
func TestUsageIsTheAskersOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := events("Hello")
		told := strings.Join(all[:3], "") + usageEvent + all[3]
		u := &upstream{handle: func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			for i := range len(told) {
				if i%100 == 0 {
					time.Sleep(time.Millisecond)
				}
				_, _ = c.Writer.WriteString(told[i : i+1])
			}
		}}
		r := app(newCache(t, cache.Config{}), u.serve)
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, told, post(r, usageAsk).Body.String()) })
		synctest.Wait()
		wg.Go(func() { assert.Equal(t, strings.Join(all, ""), post(r, chatAsked).Body.String()) })
		wg.Wait()
		require.EqualValues(t, 1, u.calls.Load())
	})
}

// What a handler does with its writer after it has returned reaches nobody.
func TestAHandlerThatWritesTooLate(t *testing.T) {
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

// The writer that handlers see behaves as Gin's does.
func TestTheWriterOfALeader(t *testing.T) {
	t.Parallel()
	u := &upstream{handle: func(c *gin.Context) {
		w := c.Writer
		assert.False(t, w.Written())
		assert.Equal(t, -1, w.Size())
		w.WriteHeader(201)
		assert.Equal(t, 201, w.Status())
		assert.False(t, w.Written())
		w.WriteHeaderNow()
		w.WriteHeader(500)
		assert.Equal(t, 201, w.Status())
		n, err := io.WriteString(w, "ab")
		assert.NoError(t, err)
		assert.Equal(t, 2, n)
		assert.Equal(t, 2, w.Size())
		_, _, err = w.Hijack()
		assert.ErrorIs(t, err, http.ErrNotSupported)
		assert.Nil(t, w.Pusher())
		rc := http.NewResponseController(w)
		assert.NoError(t, rc.SetWriteDeadline(time.Now().Add(time.Hour)))
		assert.NoError(t, rc.SetWriteDeadline(time.Time{}))
		assert.NoError(t, rc.Flush())
		assert.Error(t, rc.EnableFullDuplex())
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

// An answer without a body, and one that no handler wrote, are answers too.
func TestEmptyAnswers(t *testing.T) {
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
	res, err := ask(t.Context(), s, chatAsked)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	_, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, "7", res.Trailer.Get("X-Sum"))
}
