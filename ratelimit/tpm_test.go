package ratelimit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
)

// ledger is when how many tokens were used.
type ledger struct {
	mu   sync.Mutex
	all  []used
	from time.Time
}

type used struct {
	at     time.Duration
	tokens float64
}

func (l *ledger) add(tokens int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, used{time.Since(l.from), float64(tokens)})
}

// total is what was used from begin to end.
func (l *ledger) total(begin, end time.Duration) (sum float64) {
	for _, u := range l.all {
		if u.at >= begin && u.at < end {
			sum += u.tokens
		}
	}
	return sum
}

// worst is the most that was used in any window.
func (l *ledger) worst(window time.Duration) (most float64) {
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

// chatter is a load of streams whose lengths nobody knows before: input and
// output are log-normal, with the given means.
type chatter struct {
	random        *rand.Rand
	input, output float64
	speed         time.Duration // of ten tokens
	books         *ledger
}

// size draws a log-normal number with sigma 1.
func (c *chatter) size(mean float64) int {
	return max(int(mean*math.Exp(c.random.NormFloat64()-0.5)), 1)
}

// stream serves a request whose headers say how long the answer is: ten tokens
// at a time.
func (c *chatter) stream(g *gin.Context) {
	var in, out int
	_, _ = fmt.Sscan(g.GetHeader("X-Sizes"), &in, &out)
	c.books.add(in)
	g.Header("Content-Type", "text/event-stream")
	for rest := out; rest > 0; rest -= 10 {
		time.Sleep(c.speed)
		n := min(rest, 10)
		c.books.add(n)
		_, _ = g.Writer.WriteString(delta(strings.Repeat("word", n)))
		g.Writer.Flush()
	}
	_, _ = fmt.Fprintf(g.Writer, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d}}\n\ndata: [DONE]\n\n", in, out)
}

func (c *chatter) request(h http.Handler, in, out int) int {
	body := `{"model":"m","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("abcd", in) + `"}]}`
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-Sizes", fmt.Sprint(in, out))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// Under one and a half times the load that it allows, a limit of tokens is used up
// and not exceeded, though nobody knows how long answers will be.
func TestTokensPerMinute(t *testing.T) {
	t.Parallel()
	const perMinute, burst = 100_000, 100_000 / 6
	for _, overload := range []float64{1, 1.5, 3} {
		synctest.Test(t, func(t *testing.T) {
			c := &chatter{random: rand.New(rand.NewPCG(1, 2)), input: 400, output: 300, speed: 200 * time.Millisecond, books: &ledger{from: time.Now()}}
			h := serve2(tokens(t, ratelimit.TokensConfig{Key: ratelimit.Everybody, Rate: ratelimit.PerMinute(perMinute), Burst: burst}).Middleware(), c.stream)
			every := 60 / (overload * perMinute / (c.input + c.output)) // seconds
			var wg sync.WaitGroup
			for time.Since(c.books.from) < 12*time.Minute {
				time.Sleep(time.Duration(c.random.ExpFloat64() * every * float64(time.Second)))
				in, out := c.size(c.input), c.size(c.output)
				wg.Go(func() { c.request(h, in, out) })
			}
			wg.Wait()
			utilisation := c.books.total(2*time.Minute, 12*time.Minute) / (10 * perMinute)
			worst := c.books.worst(time.Minute) / perMinute
			t.Logf("offered %v: utilisation %.3f, worst minute %.3f of the limit (limit and burst: %.3f)", overload, utilisation, worst, 1+burst/float64(perMinute))
			if overload == 1.5 {
				assert.GreaterOrEqual(t, utilisation, 0.94)
			}
			assert.LessOrEqual(t, worst, 1+burst/float64(perMinute))
		})
	}
}
