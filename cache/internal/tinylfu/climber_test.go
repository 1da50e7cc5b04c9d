package tinylfu_test

import (
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache/internal/tinylfu"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// zipf returns numbers below n, of which k has the weight 1/(k+1)^s.
func zipf(rnd *rand.Rand, n int, s float64) func() int {
	sums, sum := make([]float64, n), 0.0
	for k := range sums {
		sum += math.Pow(float64(k+1), -s)
		sums[k] = sum
	}
	return func() int { return sort.SearchFloat64s(sums, rnd.Float64()*sum) }
}

const once = 1 << 30 // and above: keys that are requested once, or only for a while

// traces returns sequences of keys, for a cache of about so many entries.
func traces() map[string]func(entries int, rnd *rand.Rand) func(i int) int {
	return map[string]func(int, *rand.Rand) func(int) int{
		"Zipf": func(entries int, rnd *rand.Rand) func(int) int {
			flat := zipf(rnd, 100*entries, 0.8)
			return func(int) int { return flat() }
		},
		"steep Zipf": func(entries int, rnd *rand.Rand) func(int) int {
			steep := zipf(rnd, 20*entries, 0.9)
			return func(int) int { return steep() }
		},
		"half once": func(entries int, rnd *rand.Rand) func(int) int {
			flat := zipf(rnd, 100*entries, 0.8)
			return func(i int) int {
				if i%2 == 0 {
					return once + i
				}
				return flat()
			}
		},
		"scans": func(entries int, rnd *rand.Rand) func(int) int {
			flat := zipf(rnd, 100*entries, 0.8)
			return func(i int) int {
				if i%(10*entries) < 2*entries {
					return once + i
				}
				return flat()
			}
		},
		"bursts": func(entries int, rnd *rand.Rand) func(int) int {
			flat := zipf(rnd, 100*entries, 0.8)
			return func(i int) int {
				if i%2 == 0 {
					return once + i/64*8 + rnd.IntN(8)
				}
				return flat()
			}
		},
		// All popular keys are replaced at once, after each was requested a few times.
		"replaced fast": func(entries int, rnd *rand.Rand) func(int) int {
			return func(i int) int { return i/(2*entries)*entries + rnd.IntN(entries*6/10) }
		},
		"replaced slowly": func(entries int, rnd *rand.Rand) func(int) int {
			return func(i int) int { return i/(20*entries)*entries + rnd.IntN(entries*8/10) }
		},
		"replaced Zipf": func(entries int, rnd *rand.Rand) func(int) int {
			narrow := zipf(rnd, 2*entries, 0.7)
			return func(i int) int { return i/(5*entries)*7*entries + narrow() }
		},
		// Keys become less popular one by one.
		"sliding": func(entries int, rnd *rand.Rand) func(int) int {
			return func(i int) int { return i/4 + rnd.IntN(entries*8/10) }
		},
		"sliding slowly": func(entries int, rnd *rand.Rand) func(int) int {
			narrow := zipf(rnd, 2*entries, 0.7)
			return func(i int) int { return i/20 + narrow() }
		},
		// From one kind to another and back.
		"changing": func(entries int, rnd *rand.Rand) func(int) int {
			flat := zipf(rnd, 100*entries, 0.8)
			return func(i int) int {
				if i/(100*entries)%2 == 0 {
					return flat()
				}
				return once + i/4 + rnd.IntN(entries*8/10)
			}
		},
	}
}

// ratio returns the share of hits after a warm-up.
func ratio(n int, trace func(i int) int, lookup func(key string) bool) float64 {
	hits := 0
	for i := range n {
		if hit := lookup(strconv.Itoa(trace(i))); hit && i >= n/5 {
			hits++
		}
	}
	return float64(hits) / float64(n-n/5)
}

func ours(entries int) func(string) bool {
	c := tinylfu.New[int](entries, 1<<40)
	later := start.Add(time.Hour)
	return func(key string) bool {
		_, ok := c.Get(key, start)
		if !ok {
			c.Set(tinylfu.Item[int]{Key: key, Size: 1000, ExpiresAt: later}, start)
		}
		return ok
	}
}

func lru(t *testing.T, entries int) func(string) bool {
	t.Helper()
	c, err := simplelru.NewLRU[string, int](entries, nil)
	require.NoError(t, err)
	return func(key string) bool {
		_, ok := c.Get(key)
		if !ok {
			c.Add(key, 0)
		}
		return ok
	}
}

// Where popularity shifts, the window grows until the cache is about as good as LRU; where
// it does not, frequency keeps its lead.
func TestHitRatio(t *testing.T) {
	t.Parallel()
	lead := map[string]float64{ // over LRU, at least
		"Zipf": 0.06, "steep Zipf": 0.06, "half once": 0.045, "scans": 0.05, "bursts": 0.01,
	}
	const entries = 500
	for name, trace := range traces() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(lookup func(string) bool) float64 {
				rnd := rand.New(rand.NewPCG(1, 2))
				return ratio(400*entries, trace(entries, rnd), lookup)
			}
			theirs, our := run(lru(t, entries)), run(ours(entries))
			t.Logf("%-15s LRU %.3f ours %.3f (%+.3f)", name, theirs, our, our-theirs)
			least, ok := lead[name]
			if !ok {
				least = -0.03
			}
			assert.GreaterOrEqual(t, our-theirs, least)
		})
	}
}
