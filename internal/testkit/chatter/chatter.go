// Package chatter is a load of streams of unpredictable length, for tests of token
// limits. It records how many tokens it used and when.
package chatter

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// step is how many tokens an event has.
const step = 10

// Load generates the load. Input and output lengths are log-normal with sigma 1.
type Load struct {
	// Random is the source of randomness; only Run uses it.
	Random *rand.Rand
	// Input and Output are the means, in tokens.
	Input, Output float64
	// Speed is the duration of ten tokens.
	Speed time.Duration

	mu   sync.Mutex
	from time.Time
	all  []used
}

type used struct {
	at     time.Duration
	tokens float64
}

// Run sends requests to the handlers in turn, with perSecond tokens a second on
// average, for d, and waits until all have ended.
func (l *Load) Run(handlers []http.Handler, perSecond float64, d time.Duration) {
	l.from = time.Now()
	every := (l.Input + l.Output) / perSecond
	var wg sync.WaitGroup
	next := l.from
	for i := 0; time.Since(l.from) < d; i++ {
		next = next.Add(time.Duration(l.Random.ExpFloat64() * every * float64(time.Second)))
		time.Sleep(time.Until(next))
		in, out := l.size(l.Input), l.size(l.Output)
		wg.Go(func() { ask(handlers[i%len(handlers)], in, out) })
	}
	wg.Wait()
	slices.SortFunc(l.all, func(a, b used) int { return cmp.Compare(a.at, b.at) })
}

func (l *Load) size(mean float64) int {
	return max(int(mean*math.Exp(l.Random.NormFloat64()-0.5)), 1)
}

func ask(h http.Handler, in, out int) {
	body := `{"model":"m","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("abcd", in) + `"}]}`
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-Sizes", fmt.Sprint(in, out))
	h.ServeHTTP(httptest.NewRecorder(), r)
}

// Serve is the model server: it responds to a request of Run with a stream and
// records the tokens.
func (l *Load) Serve(c *gin.Context) {
	var in, out int
	_, _ = fmt.Sscan(c.GetHeader("X-Sizes"), &in, &out)
	l.book(in)
	c.Header("Content-Type", "text/event-stream")
	for rest := out; rest > 0; rest -= step {
		time.Sleep(l.Speed)
		n := min(rest, step)
		l.book(n)
		_, _ = fmt.Fprintf(c.Writer, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", strings.Repeat("word", n))
		c.Writer.Flush()
	}
	_, _ = fmt.Fprintf(c.Writer, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d}}\n\ndata: [DONE]\n\n", in, out)
}

func (l *Load) book(tokens int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, used{time.Since(l.from), float64(tokens)})
}

// Used returns the number of tokens used between two times since the start of Run.
func (l *Load) Used(begin, end time.Duration) (sum float64) {
	for _, u := range l.all {
		if u.at >= begin && u.at < end {
			sum += u.tokens
		}
	}
	return sum
}

// Worst returns the most tokens used in any window of that length.
func (l *Load) Worst(window time.Duration) (most float64) {
	sum, first := 0.0, 0
	for _, u := range l.all {
		sum += u.tokens
		for l.all[first].at <= u.at-window {
			sum -= l.all[first].tokens
			first++
		}
		most = max(most, sum)
	}
	return most
}
