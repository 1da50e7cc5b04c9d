package benchmarks_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
	"github.com/stretchr/testify/require"
)

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

// traces are what caches are tried with: what is usual, and what breaks some of them.
func traces() map[string]func(i int, z *zipf) int {
	once := 10 * traceKeys // above it are keys that come once
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
	}
}

// rival is a cache that is asked for a key, and keeps it if it had it not.
type rival func(key string) (hit bool)

func rivals(tb testing.TB, size int) map[string]rival {
	tb.Helper()
	ours, err := cache.NewMemory(cache.MemoryConfig{Entries: size})
	require.NoError(tb, err)
	plain, err := lru.New[string, *cache.Entry](size)
	require.NoError(tb, err)
	fast := otter.Must(&otter.Options[string, *cache.Entry]{MaximumSize: size, Executor: func(fn func()) { fn() }})
	e := &cache.Entry{Status: 200, Keep: time.Now().Add(time.Hour)}
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

// ratio is the part of a trace that hits, after a fifth of it to warm up.
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

// BenchmarkCacheHitRatio is how much of a trace each cache has, with room for 1 % and
// for 10 % of 100 000 keys. Its times say nothing.
func BenchmarkCacheHitRatio(b *testing.B) {
	for name, trace := range traces() {
		for _, percent := range []int{1, 10} {
			for _, who := range []string{"golang-lru", "ginfer", "otter"} {
				b.Run(name+"/"+strconv.Itoa(percent)+"%/"+who, func(b *testing.B) {
					var got float64
					for b.Loop() {
						got = ratio(trace, rivals(b, traceKeys*percent/100)[who])
					}
					b.ReportMetric(100*got, "hit-%")
				})
			}
		}
	}
}
