package ratelimit_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
)

// chat is a model server with slots and different requests, which records its performance
// per second.
type chat struct {
	slots chan struct{}
	mean  time.Duration // to the first token; the rest takes as long

	mu     sync.Mutex
	begin  time.Time
	slower float64
	waits  map[int][]time.Duration
}

func newChat(slots int) *chat {
	return &chat{slots: make(chan struct{}, slots), mean: 100 * time.Millisecond, begin: time.Now(), slower: 1, waits: map[int][]time.Duration{}}
}

func (s *chat) slow(factor float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slower = factor
}

func (s *chat) handle(c *gin.Context) {
	came := time.Now()
	s.slots <- struct{}{}
	defer func() { <-s.slots }()
	s.mu.Lock()
	half := time.Duration(s.slower * float64(s.mean/2+rand.N(s.mean)))
	s.mu.Unlock()
	time.Sleep(half)
	c.Header("Content-Type", "text/event-stream")
	_, _ = c.Writer.WriteString("data: a\n\n")
	s.mu.Lock()
	second := int(came.Sub(s.begin).Seconds())
	s.waits[second] = append(s.waits[second], time.Since(came))
	s.mu.Unlock()
	time.Sleep(half)
}

// load sends twice the capacity of the server for a time.
func (s *chat) load(h http.Handler, d time.Duration) {
	random := rand.New(rand.NewPCG(1, 2))
	rate := 2 * s.capacity()
	var wg sync.WaitGroup
	for begin := time.Now(); time.Since(begin) < d; {
		time.Sleep(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
		wg.Go(func() { get(h, "") })
	}
	wg.Wait()
}

func (s *chat) capacity() float64 { return float64(cap(s.slots)) / (2 * s.mean).Seconds() }

// did returns the used part of the capacity between two seconds, and the 99th percentile of
// the times to first token.
func (s *chat) did(from, to int) (goodput float64, p99 time.Duration) {
	var all []time.Duration
	for second := from; second < to; second++ {
		all = append(all, s.waits[second]...)
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return float64(len(all)) / float64(to-from) / s.capacity(), all[len(all)*99/100]
}

// The limit finds a server with many slots within seconds.
func TestAdaptiveFindsALargeServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newChat(128)
		a := adaptive(t, ratelimit.AdaptiveConfig{})
		s.load(serve(a.Middleware(), s.handle), 20*time.Second)
		goodput, p99 := s.did(12, 20)
		assert.Greater(t, goodput, 0.8)
		assert.Less(t, p99, 3*150*time.Millisecond)
	})
}

// The slow times of an overload do not become usual, however long it lasts, also if it began
// with the first request.
func TestAdaptiveInALongOverload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newChat(8)
		a := adaptive(t, ratelimit.AdaptiveConfig{})
		s.load(serve(a.Middleware(), s.handle), 5*time.Minute)
		for _, from := range []int{30, 240} {
			goodput, p99 := s.did(from, from+60)
			assert.Greater(t, goodput, 0.95, from)
			assert.Less(t, p99, 3*150*time.Millisecond, from)
		}
		assert.Less(t, a.Limit(), 20)
	})
}

// A server that becomes permanently slow is still used fully.
func TestAdaptiveServerSlowForGood(t *testing.T) {
	t.Parallel()
	for _, factor := range []float64{2, 3} {
		synctest.Test(t, func(t *testing.T) {
			s := newChat(20)
			a := adaptive(t, ratelimit.AdaptiveConfig{})
			h := serve(a.Middleware(), s.handle)
			s.load(h, 30*time.Second)
			s.slow(factor)
			s.load(h, 60*time.Second)
			goodput, p99 := s.did(60, 90)
			assert.Greater(t, goodput, 0.8/factor, "%v times slower", factor)
			assert.Less(t, p99.Seconds(), factor*3*0.15, "%v times slower", factor)
			s.slow(1)
			s.load(h, 60*time.Second)
			goodput, p99 = s.did(120, 150)
			assert.Greater(t, goodput, 0.95, "fast again")
			assert.Less(t, p99, 4*150*time.Millisecond, "fast again")
		})
	}
}

// A probe ends also when the load is gone, and does not delay later requests.
func TestAdaptiveProbeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 20})
		respond := func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			time.Sleep(500 * time.Millisecond)
			_, _ = c.Writer.WriteString("data: a\n\n")
		}
		h := serve(a.Middleware(), respond)
		for range 3 { // the first window at the limit starts a probe
			count(h, "", 20)
		}
		assert.Less(t, count(h, "", 20)[200], 20, "a probe is running")
		time.Sleep(time.Minute)
		assert.Equal(t, 20, count(h, "", 20)[200])
	})
}
