package balance

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/evidence"
)

const (
	// significant is the logarithm of the likelihood ratio from which a difference between two
	// success rates is not chance: it exceeds 3.3 standard deviations (p < 0.001).
	significant = 5.5
	// compareEvery is the minimum time between two comparisons of a set.
	compareEvery = time.Millisecond
)

// success is the recent success rate of a node, and its significance.
type success struct {
	ewma
	// rest is the success rate of the others, as a float64, if the node's is significantly
	// lower; otherwise 0, and the rate does not count.
	rest atomic.Uint64

	mu     sync.Mutex
	window evidence.Window
}

// record counts one exchange.
func (s *success) record(now time.Time, ok bool) {
	s.add(now.UnixNano(), ok)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window.Add(now, !ok)
}

func (s *success) tally(now time.Time) evidence.Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window.Tally(now)
}

// isNormal reports whether the node does not fail more than the others, as far as is known.
func (s *success) isNormal() bool { return s.rest.Load() == 0 }

// relative returns the success rate in proportion to that of the others, at most 1.
func (s *success) relative(now int64) float64 {
	rest := s.rest.Load()
	if rest == 0 {
		return 1
	}
	return min(s.value(now)/math.Float64frombits(rest), 1)
}

// compareSuccess finds the nodes that fail significantly more often than the rest. It is called
// after failures: when all fail alike, differences are chance, and to follow them would pile up
// requests where chance was kind.
func (s *set) compareSuccess(now time.Time) {
	last := s.judged.Load()
	if since := now.UnixNano() - last; since >= 0 && since < int64(compareEvery) || !s.judged.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	type counted struct {
		*node
		evidence.Tally
	}
	list := make([]counted, len(s.nodes))
	for i, n := range s.nodes {
		list[i] = counted{n, n.success.tally(now)}
	}
	slices.SortFunc(list, func(a, b counted) int {
		return cmp.Or(cmp.Compare(uint64(a.Bad)*uint64(b.All), uint64(b.Bad)*uint64(a.All)), cmp.Compare(b.All, a.All))
	})
	// From the best to the worst: whoever does not differ from the better ones joins them.
	var rest evidence.Tally
	for _, c := range list {
		if isWorse(c.Tally, rest) {
			c.success.rest.Store(math.Float64bits(steady(rest)))
			continue
		}
		c.success.rest.Store(0)
		rest.All += c.All
		rest.Bad += c.Bad
	}
}

// isWorse reports whether a fails significantly more often than b does.
func isWorse(a, b evidence.Tally) bool {
	if a.All == 0 || b.All == 0 || uint64(a.Bad)*uint64(b.All) <= uint64(b.Bad)*uint64(a.All) {
		return false
	}
	both := evidence.Tally{All: a.All + b.All, Bad: a.Bad + b.Bad}
	return likelihood(a)+likelihood(b)-likelihood(both) > significant
}

// likelihood returns the logarithm of the likelihood of the counts at their own rate.
func likelihood(t evidence.Tally) float64 {
	part := func(n uint32) float64 {
		if n == 0 {
			return 0
		}
		return float64(n) * math.Log(float64(n)/float64(t.All))
	}
	return part(t.Bad) + part(t.Good())
}

// steady returns the value that an ewma has at this rate of failures.
func steady(t evidence.Tally) float64 {
	p := float64(t.Bad) / float64(t.All)
	return max((1-p)/(1-p+failureWeight*p), lowestSuccess)
}
