package balance_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// question is a turn of a conversation. Its prompt is the system prompt, the earlier turns, and
// the new part.
type question struct {
	system, first, conversation string
	shared                      int          // tokens of the system prompt and of a common first message
	prompt, output              int          // tokens
	cached                      atomic.Int64 // tokens of the prompt that the last engine had
	start                       time.Time
	ttft                        time.Duration
	failed                      bool
}

// logNormal draws with a mean and a sigma of the logarithm of 1.
func logNormal(r *rand.Rand, mean float64) int {
	return max(1, int(math.Exp(r.NormFloat64())*mean/math.Exp(0.5)))
}

// pareto draws with a mean of about 100 and a long tail (α = 1.5), up to 2,000.
func pareto(r *rand.Rand) int {
	return min(int(38/math.Pow(1-r.Float64(), 1/1.5)), 2000)
}

// arrivals returns the time until the next request. With bursts the rate is half for most of
// the time, and two and a half times the mean for 2 s out of 8.
func arrivals(r *rand.Rand, rate float64, bursts bool, since time.Duration) time.Duration {
	if bursts {
		if since%(8*time.Second) < 2*time.Second {
			rate *= 2.5
		} else {
			rate *= .5
		}
	}
	return time.Duration(r.ExpFloat64() / rate * float64(time.Second))
}

// short are questions without a prompt that takes time to read.
func short(r *rand.Rand) *question { return &question{output: logNormal(r, 100)} }

// harsh are questions with prompts of 400 tokens, 0.1 s, that are nowhere cached, and responses
// of very different lengths.
func harsh(r *rand.Rand) *question { return &question{prompt: logNormal(r, 400), output: pareto(r)} }

// chats are conversations in progress: 300 system prompts, some far more common, and turns that
// each repeat all earlier ones.
type chats struct {
	alike  float64 // the part of conversations with the same system prompt and first message
	shifts bool    // other system prompts become common, every 500 conversations
}

type chat struct {
	name, system, first string
	shared, said        int
	turns               int
}

func (c chats) ask() func(*rand.Rand) *question {
	var open []*chat
	n := 0
	return func(r *rand.Rand) *question {
		for len(open) < 400 {
			n++
			open = append(open, c.begin(r, n))
		}
		i := r.IntN(len(open))
		c := open[i]
		c.said += logNormal(r, 150)
		q := &question{system: c.system, first: c.first, conversation: c.name, shared: c.shared, prompt: c.shared + c.said, output: logNormal(r, 100)}
		c.said += q.output
		if c.turns--; c.turns == 0 {
			open = append(open[:i], open[i+1:]...)
		}
		return q
	}
}

func (c chats) begin(r *rand.Rand, n int) *chat {
	s := int(rand.NewZipf(r, 1.1, 1, 299).Uint64())
	if c.shifts {
		s = (s + 37*(n/500)) % 300
	}
	made := &chat{name: fmt.Sprint("chat ", n), first: fmt.Sprint("question ", n), system: fmt.Sprint("system ", s), shared: 500 + s*37%2000, turns: 1 + r.IntN(10)}
	if r.Float64() < c.alike {
		made.system, made.first, made.shared = "system", "hello", 1500
	}
	return made
}
