package cache_test

import (
	"context"
	"net/http"
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

// waiting is a cache of a replica that waits for the responses of others.
func waiting(d time.Duration) cache.Config {
	return cache.Config{Beta: -1, LLM: cache.LLM{ReplicaWait: d, TTL: time.Hour}}
}

// completes makes the upstream of both replicas respond to chats with this finish reason, as a
// stream if the request wants one.
func (w *twin) completes(finish string) {
	w.respond = func(c *gin.Context, _ int64) {
		if c.GetHeader("X-Stream") == "" {
			c.Data(http.StatusOK, jsonType, []byte(strings.Replace(chatJSON, `"stop"`, `"`+finish+`"`, 1)))
			return
		}
		c.Header("Content-Type", "text/event-stream")
		for _, e := range events("Hello") {
			_, _ = c.Writer.WriteString(e)
		}
	}
}

// ask sends a question, and returns the response and how long it took.
func ask(ctx context.Context, replica http.Handler, body string, header ...string) result {
	begin := time.Now()
	if body == chatStream {
		header = append(header, "X-Stream", "1")
	}
	w := do(replica, request(http.MethodPost, chatPath, body, header...).WithContext(ctx)) //nolint:contextcheck // it has it
	return result{code: w.Code, body: w.Body.String(), after: status(w), took: time.Since(begin)}
}

// Identical questions at two replicas are one call, if the replicas wait for each other.
func TestOneQuestionAtTwoReplicas(t *testing.T) {
	t.Parallel()
	const hit = "; hit"
	for _, tt := range []struct {
		name        string
		wait        time.Duration
		change      func(*twin)
		here, there string // questions; default chatPlain
		header      []string
		calls       int64
		mark        string        // there
		least, most time.Duration // there
	}{
		{name: "the other waits", wait: time.Minute, calls: 1, mark: hit, least: 2 * time.Second, most: 2300 * time.Millisecond},
		{name: "streams", wait: time.Minute, here: chatStream, there: chatStream, calls: 1, mark: hit, most: 2300 * time.Millisecond},
		{name: "a stream here, JSON there", wait: time.Minute, here: chatStream, calls: 1, mark: hit, most: 2300 * time.Millisecond},
		{name: "JSON here, a stream there", wait: time.Minute, there: chatStream, calls: 1, mark: hit, most: 2300 * time.Millisecond},
		{name: "off", calls: 2, least: 3 * time.Second, most: 3 * time.Second},
		{name: "for so long only", wait: 10 * time.Second, change: func(w *twin) { w.takes = time.Minute }, calls: 2, least: 70 * time.Second, most: 70 * time.Second},
		{name: "no-cache does not wait", wait: time.Minute, header: []string{"Cache-Control", "no-cache"}, calls: 2, most: 3 * time.Second},
		{name: "another question does not wait", wait: time.Minute, there: strings.Replace(chatPlain, "Hi", "Ho", 1), calls: 2, most: 3 * time.Second},
		{name: "a call that failed is repeated", wait: time.Minute, calls: 2, most: 5500 * time.Millisecond, change: func(w *twin) {
			respond := w.respond
			w.respond = func(c *gin.Context, n int64) {
				if n == 1 {
					c.Status(http.StatusServiceUnavailable)
					return
				}
				respond(c, n)
			}
		}},
		{name: "so is one that is not stored", wait: time.Minute, change: func(w *twin) { w.completes("content_filter") }, calls: 2, most: 5500 * time.Millisecond},
		{name: "a panic", wait: time.Minute, calls: 2, most: 5500 * time.Millisecond, change: func(w *twin) {
			respond := w.respond
			w.respond = func(c *gin.Context, n int64) {
				if n == 1 {
					panic("handler")
				}
				respond(c, n)
			}
		}},
		{name: "without the store none waits", wait: time.Minute, change: func(w *twin) { w.store.down.Store(true) }, calls: 2, most: 3 * time.Second},
		{name: "nor any longer", wait: time.Minute, change: func(w *twin) { time.AfterFunc(2*time.Second, func() { w.store.down.Store(true) }) }, calls: 2, most: 4500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newTwin(t, waiting(tt.wait))
				w.completes("stop")
				if tt.change != nil {
					tt.change(w)
				}
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { _ = recover() }()
					ask(t.Context(), w.here, orText(tt.here))
				})
				time.Sleep(time.Second)
				there := ask(t.Context(), w.there, orText(tt.there), tt.header...)
				wg.Wait()
				assert.Equal(t, http.StatusOK, there.code)
				assert.Contains(t, there.body, "Hello")
				assert.Equal(t, tt.there == chatStream, strings.HasPrefix(there.body, "data:"))
				assert.Contains(t, there.after, tt.mark)
				assert.Equal(t, tt.calls, w.u.calls.Load())
				assert.GreaterOrEqual(t, there.took, tt.least)
				assert.LessOrEqual(t, there.took, tt.most)
				time.Sleep(2 * time.Minute) // writes and probes are done
			})
		})
	}
}

func orText(body string) string {
	if body == "" {
		return chatPlain
	}
	return body
}

// A hundred at each of two replicas are one call.
func TestManyQuestionsAtTwoReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTwin(t, waiting(time.Minute))
		w.completes("stop")
		var wg sync.WaitGroup
		for i := range 200 {
			replica := []http.Handler{w.here, w.there}[i%2]
			wg.Go(func() {
				got := ask(t.Context(), replica, chatPlain)
				assert.Equal(t, http.StatusOK, got.code)
				assert.Contains(t, got.body, "Hello")
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, w.u.calls.Load())
		time.Sleep(time.Minute)
	})
}

// When the client of the first question disconnects, its call ends, and the other replica
// begins its own.
func TestQuestionOfADisconnectedClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTwin(t, waiting(time.Hour))
		w.completes("stop")
		w.takes = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { ask(ctx, w.here, chatPlain) })
		time.Sleep(time.Second)
		there := ask(t.Context(), w.there, chatPlain)
		wg.Wait()
		assert.Equal(t, http.StatusOK, there.code)
		assert.InDelta(t, 64, there.took.Seconds(), 0.5)
		assert.EqualValues(t, 2, w.u.calls.Load())
		time.Sleep(time.Minute)
	})
}

// A waiting client that disconnects causes no call.
func TestWaitingClientDisconnects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTwin(t, waiting(time.Hour))
		w.completes("stop")
		w.takes = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { ask(t.Context(), w.here, chatPlain) })
		time.Sleep(time.Second)
		assert.LessOrEqual(t, ask(ctx, w.there, chatPlain).took, 5500*time.Millisecond)
		wg.Wait()
		assert.EqualValues(t, 1, w.u.calls.Load())
		time.Sleep(time.Minute)
	})
}

// The claim of a replica that crashed ends with its time, or the wait does.
func TestQuestionAfterACrash(t *testing.T) {
	t.Parallel()
	for wait, took := range map[time.Duration]float64{time.Minute: 33, 5 * time.Second: 8} {
		synctest.Test(t, func(t *testing.T) {
			w := newTwin(t, waiting(wait))
			w.respond = func(c *gin.Context, _ int64) { c.Status(http.StatusInternalServerError) }
			ask(t.Context(), w.here, chatPlain) // so that there is a key
			w.completes("stop")
			w.store.crashed(30 * time.Second)
			there := ask(t.Context(), w.there, chatPlain)
			assert.Equal(t, http.StatusOK, there.code)
			assert.InDelta(t, took, there.took.Seconds(), 0.5)
			time.Sleep(time.Minute)
		})
	}
}

// A request with a response that was not storable does not make other replicas wait again.
func TestUnstorableResponsesAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTwin(t, waiting(time.Minute))
		w.completes("content_filter")
		ask(t.Context(), w.here, chatPlain)
		ask(t.Context(), w.there, chatPlain)
		var wg sync.WaitGroup
		wg.Go(func() { ask(t.Context(), w.here, chatPlain) })
		time.Sleep(time.Second)
		assert.Equal(t, 3*time.Second, ask(t.Context(), w.there, chatPlain).took)
		wg.Wait()
		time.Sleep(time.Minute)
	})
}

func TestReplicaWaitNeedsClaims(t *testing.T) {
	t.Parallel()
	_, err := cache.New(waiting(time.Second))
	require.ErrorContains(t, err, "ReplicaWait requires a Store that implements Claims")
	_, err = cache.New(waiting(-1))
	require.ErrorContains(t, err, "LLM.ReplicaWait -1ns")
}

// Replicas have several names: the host is no part of a model's request, nor of what an
// Idempotency-Key was used for. To GET it is.
func TestHostOfModelRequests(t *testing.T) {
	t.Parallel()
	send := func(r http.Handler, method, host string, header ...string) (string, int) {
		req := request(method, chatPath, map[string]string{http.MethodPost: chatPlain}[method], header...)
		req.Host = host
		w := do(r, req)
		return status(w), w.Code
	}
	for name, tt := range map[string]struct {
		cfg    cache.Config
		method string
		header []string
		hit    bool
	}{
		"a model":                      {method: http.MethodPost, hit: true},
		"a model, all callers":         {cfg: cache.Config{Shared: true}, method: http.MethodPost, hit: true},
		"an Idempotency-Key":           {cfg: idempotent(nil), method: http.MethodPost, header: []string{"Idempotency-Key", "k"}, hit: true},
		"behind a proxy":               {method: http.MethodPost, header: []string{"X-Forwarded-Host", "HOST"}, hit: true},
		"an Idempotency-Key behind it": {cfg: idempotent(nil), method: http.MethodPost, header: []string{"Idempotency-Key", "k", "X-Forwarded-Host", "HOST"}, hit: true},
		"GET":                          {method: http.MethodGet},
	} {
		u := responds(http.StatusOK, chatJSON, "Content-Type", jsonType, "Cache-Control", "max-age=60, public")
		r := app(newCache(t, tt.cfg), u.serve)
		for i, host := range []string{"one.example", "two.example:8080"} {
			header := strings.Split(strings.ReplaceAll(strings.Join(tt.header, "\n"), "HOST", host), "\n")
			mark, code := send(r, tt.method, host, header...)
			assert.Equal(t, http.StatusOK, code, name)
			assert.Equal(t, i == 1 && tt.hit, strings.Contains(mark, "; hit"), "%s: %s", name, mark)
		}
	}
}
