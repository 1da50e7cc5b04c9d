package e2e_test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/chatter"
	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// storeAt returns one replica's store at a Redis.
func storeAt(tb testing.TB, addr string) *redisstore.Store {
	tb.Helper()
	options := redisstore.Options(addr)
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = time.Second, time.Second, time.Second, time.Second
	client := redis.NewUniversalClient(options)
	tb.Cleanup(func() { _ = client.Close() })
	store, err := redisstore.New(redisstore.Config{Client: client, Timeout: time.Second}) // generous, for busy machines
	require.NoError(tb, err)
	return store
}

var scriptCalls = regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`)

// scripts returns the number of scripts that a server has run.
func scripts(server *redistest.Server) int {
	m := scriptCalls.FindStringSubmatch(server.MustDo("INFO", "commandstats"))
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// shareResult describes how eight replicas shared a limit of requests.
type shareResult struct{ admitted, perRequest, worst float64 }

// share sends three times the limit through eight replicas with unequal load.
func share(tb testing.TB, d time.Duration) shareResult {
	tb.Helper()
	const rate, burst, replicas = 800, 80, 8
	server := redistest.Start(tb)
	var handlers []http.Handler
	for range replicas {
		limits, err := ratelimit.New(ratelimit.Config{Key: ratelimit.Global, Rate: rate, Burst: burst, Store: storeAt(tb, server.Addr)})
		require.NoError(tb, err)
		r := gin.New()
		r.GET("/", limits.Middleware(), func(c *gin.Context) { c.Status(http.StatusOK) })
		handlers = append(handlers, r)
	}
	before := scripts(server)
	var sent atomic.Int64
	var mu sync.Mutex
	var admitted []time.Duration
	var wg sync.WaitGroup
	begin := time.Now()
	for i, h := range handlers {
		share := 2 * float64(i+1) / (replicas * (replicas + 1)) // of the load
		random := rand.New(rand.NewPCG(uint64(i), 1))
		wg.Go(func() {
			next := begin
			for time.Since(begin) < d {
				next = next.Add(time.Duration(random.ExpFloat64() / (3 * rate * share) * float64(time.Second)))
				time.Sleep(time.Until(next))
				sent.Add(1)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
				if w.Code == http.StatusOK {
					mu.Lock()
					admitted = append(admitted, time.Since(begin))
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begin).Seconds()
	worst, first := 0, 0
	for i, at := range admitted {
		for admitted[first] <= at-time.Second {
			first++
		}
		worst = max(worst, i-first+1)
	}
	require.Greater(tb, float64(sent.Load()), 2*rate*d.Seconds(), "the load was sent")
	return shareResult{
		admitted:   float64(len(admitted)) / (rate*took + burst),
		perRequest: float64(scripts(server)-before) / float64(sent.Load()),
		worst:      float64(worst) / (rate + burst),
	}
}

// Eight replicas together admit what one would, with few calls of Redis.
func TestEightReplicasShareALimit(t *testing.T) {
	got := share(t, 5*time.Second)
	t.Logf("admitted/limit %.3f, worst second %.3f of limit and burst, Redis calls a request %.3f", got.admitted, got.worst, got.perRequest)
	assert.InDelta(t, 1, got.admitted, 0.05)
	assert.LessOrEqual(t, got.perRequest, 0.3)
}

// measureSchedulerDelay measures until the returned function is called by how much a periodic
// goroutine is late at worst: a busy machine records tokens later than they were charged.
func measureSchedulerDelay() func() time.Duration {
	stop, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		const every = 5 * time.Millisecond
		for next := time.Now().Add(every); ; next = time.Now().Add(every) {
			select {
			case <-stop:
				worst <- most
				return
			case <-time.After(time.Until(next)):
				most = max(most, time.Since(next))
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-worst
	}
}

// tokensAt measures how four replicas share a token limit with a minute of three seconds.
func tokensAt(tb testing.TB, overload float64) (utilisation, worst, allowed float64) {
	tb.Helper()
	const minute, perMinute, burst, replicas = 3 * time.Second, 30_000, 5_000, 4
	const late = 20 * time.Millisecond // from the charge of tokens to their record
	server := redistest.Start(tb)      // it may skip, so nothing may run before it
	held := measureSchedulerDelay()    // the machine's own delays
	load := &chatter.Load{Random: rand.New(rand.NewPCG(1, 2)), Input: 100, Output: 75, Speed: 10 * time.Millisecond}
	var handlers []http.Handler
	for range replicas {
		tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{Key: ratelimit.Global, Rate: ratelimit.Per(perMinute, minute), Burst: burst, Store: storeAt(tb, server.Addr)})
		require.NoError(tb, err)
		r := gin.New()
		r.POST("/", tokens.Middleware(), load.Serve)
		handlers = append(handlers, r)
	}
	load.Run(handlers, overload*perMinute/minute.Seconds(), 5*minute)
	return load.Used(minute, 5*minute) / (4 * perMinute), load.Worst(minute-late-held()) / perMinute, 1 + burst/float64(perMinute)
}

// A token limit that replicas share is used up and not exceeded.
func TestReplicasShareALimitOfTokens(t *testing.T) {
	utilisation, worst, allowed := tokensAt(t, 1.5)
	t.Logf("offered 1.5: utilisation %.3f, worst minute %.3f (limit and burst %.3f)", utilisation, worst, allowed)
	assert.GreaterOrEqual(t, utilisation, 0.94)
	assert.LessOrEqual(t, worst, allowed)
}

// BenchmarkReplicas prints both, for one run each.
func BenchmarkReplicas(b *testing.B) {
	b.Run("requests, 8 replicas at 3x", func(b *testing.B) {
		for b.Loop() {
			got := share(b, 3*time.Second)
			b.ReportMetric(got.admitted, "admitted/limit")
			b.ReportMetric(got.worst, "worst-second/limit+burst")
			b.ReportMetric(got.perRequest, "redis-calls/request")
		}
	})
	b.Run("tokens, 4 replicas at 1.5x", func(b *testing.B) {
		for b.Loop() {
			utilisation, worst, allowed := tokensAt(b, 1.5)
			b.ReportMetric(utilisation, "utilisation")
			b.ReportMetric(worst/allowed, "worst-minute/limit+burst")
		}
	})
}
