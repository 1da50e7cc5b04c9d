package balance_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/stretchr/testify/require"
)

// full plays all scenes, and with more requests: GINFER_SIMULATION=full.
var full = os.Getenv("GINFER_SIMULATION") == "full"

// contender is a policy with a name.
type contender struct {
	name   string
	policy func() balance.Policy
}

// capacity is the number of responses of 100 tokens that the engines can write per second.
const capacity = 51.2

// scene is a set of engines behind gateways, and their clients.
type scene struct {
	gateways int
	policy   func() balance.Policy
	rate     float64 // requests per second
	cache    int     // tokens that an engine caches
	stalls   bool    // each engine is slow for 3 s per minute, on average
	ask      func(r *rand.Rand) *question
}

// result is the outcome of a scene: seconds until the first token, and the share of prompts
// that engines had cached.
type result struct {
	first []float64
	hit   float64
}

func (r result) at(share float64) float64 { return r.first[int(share*float64(len(r.first)-1))] }

func (r result) String() string {
	return fmt.Sprintf("p50 %5.2f  p90 %5.2f  p99 %6.2f  p99.9 %6.2f  hit %.2f", r.at(.5), r.at(.9), r.at(.99), r.at(.999), r.hit)
}

// play runs a scene in virtual time.
func (s scene) play(t *testing.T) (out result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		engines := map[string]*engine{}
		list := endpoints(16)
		for i, e := range list {
			engines[e.Name+".test"] = newEngine([]float64{1, .8, .6}[i%3], s.cache)
		}
		serve := transport(func(req *http.Request) (*http.Response, error) {
			q, _ := req.Context().Value(questionKey{}).(*question)
			return engines[req.URL.Hostname()].serve(q)
		})
		pools := make([]*balance.Pool, s.gateways)
		for i := range pools {
			pools[i] = newPool(t, balance.Config{Endpoints: list, Policy: s.policy(), Transport: serve})
		}
		done := make(chan struct{})
		var stalls sync.WaitGroup
		if s.stalls {
			for _, e := range engines {
				seed := r.Uint64()
				stalls.Go(func() { e.stalling(rand.New(rand.NewPCG(seed, 3)), done) })
			}
		}
		requests := 3000
		if full {
			requests = 8000
		}
		questions := make([]*question, requests)
		var users sync.WaitGroup
		for i := range questions {
			<-time.After(time.Duration(r.ExpFloat64() / s.rate * float64(time.Second)))
			q, p := s.ask(r), pools[r.IntN(len(pools))]
			questions[i] = q
			users.Go(func() { q.put(t, p) })
		}
		users.Wait()
		close(done)
		stalls.Wait()
		for _, q := range questions[len(questions)/5:] { // caches are warm, queues at their length
			out.first = append(out.first, q.first.Seconds())
			out.hit += q.hit / float64(len(questions)-len(questions)/5)
		}
		slices.Sort(out.first)
	})
	return out
}

func (e *engine) stalling(r *rand.Rand, done chan struct{}) {
	for {
		select {
		case <-time.After(time.Duration(r.ExpFloat64() * float64(time.Minute))):
			e.stall(time.Duration(r.ExpFloat64() * float64(3*time.Second)))
		case <-done:
			return
		}
	}
}

type questionKey struct{}

// put sends the question and reads the response.
func (q *question) put(t *testing.T, p *balance.Pool) {
	t.Helper()
	begin := time.Now()
	res, err := p.RoundTrip(q.request(t))
	if err != nil {
		t.Error(err)
		return
	}
	buf := make([]byte, 512)
	for {
		n, err := res.Body.Read(buf)
		if n > 0 && q.first == 0 {
			q.first = time.Since(begin)
		}
		if err == io.EOF {
			break
		}
	}
	require.NoError(t, res.Body.Close())
}

func (q *question) request(t *testing.T) *http.Request {
	t.Helper()
	body := fmt.Sprintf(`{"model":"m","stream":true,"messages":[{"role":"system","content":%q},{"role":"user","content":%q}]}`, q.system, q.conversation)
	req, err := http.NewRequestWithContext(context.WithValue(t.Context(), questionKey{}, q), http.MethodPost, "http://any/v1/chat/completions", http.NoBody)
	require.NoError(t, err)
	bodies.Set(req, []byte(body))
	return req
}

// The next token comes sooner from faster streams: with the policy that detects these, the
// slowest first tokens come many times sooner, although eight gateways don't coordinate and
// endpoints stall.
func TestTokenRateInSimulation(t *testing.T) {
	policies := []contender{{"least request", balance.LeastRequest}, {"cadence", balance.TokenRate}}
	loads, gateways := []float64{.8}, []int{8}
	if full {
		policies = append(policies, contender{"round robin", balance.RoundRobin})
		loads, gateways = []float64{.6, .8}, []int{1, 8}
	}
	ask := func(r *rand.Rand) *question { return &question{output: logNormal(r, 100)} }
	for _, load := range loads {
		for _, m := range gateways {
			p99 := map[string]float64{}
			for _, p := range policies {
				r := scene{gateways: m, policy: p.policy, rate: load * capacity, stalls: true, ask: ask}.play(t)
				t.Logf("load %.1f, %d gateways, %-13s %v", load, m, p.name, r)
				p99[p.name] = r.at(.99)
			}
			require.Less(t, 2*p99["cadence"], p99["least request"]+.1)
		}
	}
}

// Turns of a conversation at the endpoint of the earlier ones leave it less to read.
func TestPrefixAffinityInSimulation(t *testing.T) {
	policies := []contender{{"least request", balance.LeastRequest}, {"conversations", balance.PrefixAffinity}}
	gateways := []int{4}
	if full {
		policies = append(policies, contender{"round robin", balance.RoundRobin}, contender{"cadence", balance.TokenRate})
		for _, bound := range []float64{1.25, 1.5, 3, -1} {
			policies = append(policies, contender{fmt.Sprint("bound ", bound), func() balance.Policy {
				return balance.Hash(balance.HashConfig{Key: balance.ByPrefix(), LoadBound: bound})
			}})
		}
		gateways = []int{1, 4}
	}
	for _, m := range gateways {
		results := map[string]result{}
		for _, p := range policies {
			r := scene{gateways: m, policy: p.policy, rate: 24, cache: 200_000, ask: chats()}.play(t)
			t.Logf("%d gateways, %-13s %v", m, p.name, r)
			results[p.name] = r
		}
		least, kept := results["least request"], results["conversations"]
		require.Greater(t, kept.hit, 1.5*least.hit)
		require.Less(t, kept.at(.5), least.at(.5))
	}
}

// chats are conversations in progress: 300 system prompts, some far more common, and turns that
// each repeat all earlier ones.
func chats() func(*rand.Rand) *question {
	type chat struct {
		name, system string
		shared, said int
		turns        int
	}
	var open []*chat
	n := 0
	return func(r *rand.Rand) *question {
		for len(open) < 400 {
			n++
			s := int(rand.NewZipf(r, 1.1, 1, 299).Uint64())
			open = append(open, &chat{name: fmt.Sprint("chat ", n), system: fmt.Sprint("system ", s), shared: 500 + s*37%2000, turns: 1 + r.IntN(10)})
		}
		i := r.IntN(len(open))
		c := open[i]
		c.said += logNormal(r, 150)
		q := &question{system: c.system, conversation: c.name, shared: c.shared, prompt: c.shared + c.said, output: logNormal(r, 100)}
		c.said += q.output
		if c.turns--; c.turns == 0 {
			open = append(open[:i], open[i+1:]...)
		}
		return q
	}
}
