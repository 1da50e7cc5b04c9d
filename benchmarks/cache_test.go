package benchmarks_test

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	gincache "github.com/chenyahui/gin-cache"
	"github.com/chenyahui/gin-cache/persist"
	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
	"github.com/stretchr/testify/require"
)

const (
	chatRequest  = `{"model":"gpt-4o","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"What is the capital of France?"}],"temperature":0,"max_tokens":100}`
	chatResponse = `{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Paris."},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":2,"total_tokens":22}}`
)

// body is a request body made of a bytes.Reader.
type body struct{ bytes.Reader }

func (*body) Close() error { return nil }

// connected is a discard that supports a connection's deadlines.
type connected struct{ discard }

func (*connected) SetReadDeadline(time.Time) error  { return nil }
func (*connected) SetWriteDeadline(time.Time) error { return nil }

func posts(chain ...gin.HandlerFunc) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.POST("/v1/chat/completions", chain...)
	r.GET("/v1/chat/completions", chain...)
	return r
}

// model is a handler that returns a chat completion at once.
func model(c *gin.Context) {
	c.Header("Cache-Control", "max-age=3600")
	c.Data(http.StatusOK, "application/json", []byte(chatResponse))
}

// BenchmarkCacheHit measures a hit: of a POST to a model, of a long one, of a GET, and of a
// GET with gin-cache, keyed by the URL alone. "nothing" is Gin with an empty handler.
func BenchmarkCacheHit(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	ours := posts(cache.Middleware(cache.Config{Beta: -1, LLM: cache.LLM{TTL: time.Hour}}), model)
	theirs := posts(gincache.CacheByRequestURI(persist.NewMemoryStore(time.Hour), time.Hour), model)
	long := strings.Replace(chatRequest, "What", strings.Repeat("And a long prompt. ", 3000), 1)
	for _, one := range []struct {
		name, method, body string
		h                  http.Handler
	}{
		{"nothing", http.MethodPost, chatRequest, posts(func(*gin.Context) {})},
		{"ginfer POST 0.2 KB", http.MethodPost, chatRequest, ours},
		{"ginfer POST 57 KB", http.MethodPost, long, ours},
		{"ginfer GET", http.MethodGet, "", ours},
		{"gin-cache GET", http.MethodGet, "", theirs},
	} {
		b.Run(one.name, func(b *testing.B) {
			w := &connected{discard{header: http.Header{}}}
			send := newRequester(b, one.h, w, one.method, one.body)
			send()
			send()
			if strings.HasPrefix(one.name, "ginfer") {
				require.Contains(b, w.header.Get("Cache-Status"), "; hit")
			}
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
}

// newRequester returns a function that repeats one request.
func newRequester(b *testing.B, h http.Handler, w *connected, method, text string) func() {
	b.Helper()
	header := http.Header{"User-Agent": {"bench"}}
	if method == http.MethodPost {
		header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer sk-0123456789abcdef"}, "User-Agent": {"bench"}}
	}
	raw := []byte(text)
	return func() {
		clear(w.header)
		r, err := http.NewRequestWithContext(b.Context(), method, "/v1/chat/completions", nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Header = header
		if len(raw) > 0 {
			r.Body, r.ContentLength = &body{*bytes.NewReader(raw)}, int64(len(raw))
		}
		h.ServeHTTP(w, r)
	}
}

const (
	traceKeys = 100_000
	traceLen  = 1_000_000
)

// zipf draws keys by their rank, also with an exponent below 1.
type zipf struct {
	cdf []float64
	rnd *rand.Rand
}

func newZipf(s float64) *zipf {
	z := &zipf{cdf: make([]float64, traceKeys), rnd: rand.New(rand.NewPCG(1, 2))}
	sum := 0.
	for i := range z.cdf {
		sum += math.Pow(float64(i+1), -s)
		z.cdf[i] = sum
	}
	return z
}

func (z *zipf) next() int { return sort.SearchFloat64s(z.cdf, z.rnd.Float64()*z.cdf[traceKeys-1]) }

// traces are access patterns: common ones, and ones that defeat some eviction policies.
func traces() map[string]func(i int, z *zipf) int {
	once := 10 * traceKeys // keys above it occur once
	return map[string]func(i int, z *zipf) int{
		"zipf 0.8": func(_ int, z *zipf) int { return z.next() },
		"with one-hit wonders": func(i int, z *zipf) int {
			if i%2 == 0 {
				return once + i
			}
			return z.next()
		},
		"with scans": func(i int, z *zipf) int {
			if i/5_000%4 == 3 { // a quarter of the time keys in a row
				return once + i
			}
			return z.next()
		},
		"drifting": func(i int, z *zipf) int { return (z.next() + i/20) % traceKeys },
		"bursts": func(i int, z *zipf) int { // each key a few times shortly after another
			if i%2 == 0 {
				return once + i/64*8 + z.rnd.IntN(8)
			}
			return z.next()
		},
		"loop": func(i int, _ *zipf) int { return i % 3_000 },
		// Popular keys become others: all of them at once, or one by one.
		"replaced": func(i int, z *zipf) int { return i/2_000*1_000 + z.rnd.IntN(600) },
		"sliding":  func(i int, z *zipf) int { return i/4 + z.rnd.IntN(800) },
	}
}

// rival looks up a key in a cache, and stores it after a miss.
type rival func(key string) (hit bool)

func rivals(tb testing.TB, size int) map[string]rival {
	tb.Helper()
	ours, err := cache.NewMemory(cache.MemoryConfig{Entries: size})
	require.NoError(tb, err)
	plain, err := lru.New[string, *cache.Entry](size)
	require.NoError(tb, err)
	fast := otter.Must(&otter.Options[string, *cache.Entry]{MaximumSize: size, Executor: func(fn func()) { fn() }})
	e := &cache.Entry{Status: 200, ExpiresAt: time.Now().Add(time.Hour)}
	return map[string]rival{
		"ginfer": func(key string) bool {
			if _, err := ours.Get(context.Background(), key); err == nil {
				return true
			}
			_ = ours.Set(context.Background(), key, e)
			return false
		},
		"golang-lru": func(key string) bool {
			if _, ok := plain.Get(key); ok {
				return true
			}
			plain.Add(key, e)
			return false
		},
		"otter": func(key string) bool {
			if _, ok := fast.GetIfPresent(key); ok {
				return true
			}
			fast.Set(key, e)
			return false
		},
	}
}

// ratio returns the hit ratio of a trace after a warm-up of a fifth of it.
func ratio(trace func(int, *zipf) int, r rival) float64 {
	z, hits := newZipf(0.8), 0
	for i := range traceLen {
		hit := r(strconv.Itoa(trace(i, z)))
		if hit && i >= traceLen/5 {
			hits++
		}
	}
	return float64(hits) / (traceLen - traceLen/5)
}

// BenchmarkCacheHitRatio reports the hit ratio of each cache with a capacity of 1 % and of
// 10 % of 100,000 keys. Its times are meaningless.
func BenchmarkCacheHitRatio(b *testing.B) {
	for name, trace := range traces() {
		for _, percent := range []int{1, 10} {
			for _, cacheName := range []string{"golang-lru", "ginfer", "otter"} {
				b.Run(name+"/"+strconv.Itoa(percent)+"%/"+cacheName, func(b *testing.B) {
					var got float64
					for b.Loop() {
						got = ratio(trace, rivals(b, traceKeys*percent/100)[cacheName])
					}
					b.ReportMetric(100*got, "hit-%")
				})
			}
		}
	}
}
