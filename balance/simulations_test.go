package balance_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

// contender is a policy with a name.
type contender struct {
	name   string
	policy func() balance.Policy
	hedge  bool
}

// twoChoices is what most proxies do: the less busy of two endpoints at random.
func twoChoices() balance.Policy {
	return policyFunc(func([]balance.EndpointInfo) balance.Picker {
		return pickerFunc(func(_ *http.Request, c balance.Candidates) int {
			a, b := rand.IntN(c.Len()), rand.IntN(c.Len())
			if c.Inflight(b) < c.Inflight(a) {
				return b
			}
			return a
		})
	})
}

// compare plays a scene with each contender and prints a table: a line each.
func compare(t *testing.T, title string, s scene, contenders []contender) map[string]result {
	t.Helper()
	out := map[string]result{}
	for _, c := range contenders {
		s.policy, s.hedge = c.policy, c.hedge
		out[c.name] = s.play(t)
		t.Logf("%-40s %-24s %v", title, c.name, out[c.name])
	}
	return out
}

// The next token comes sooner from faster streams: with the policy that detects these, the
// slowest first tokens come many times sooner, although eight gateways don't coordinate,
// prompts take time, requests come in bursts, and endpoints halt.
func TestTokenRateInSimulation(t *testing.T) {
	policies := []contender{{name: "two choices", policy: twoChoices}, {name: "least request", policy: balance.LeastRequest}, {name: "token rate", policy: balance.TokenRate}, {name: "token rate, hedge", policy: balance.TokenRate, hedge: true}}
	gateways := []int{8}
	if full {
		policies = append(policies, contender{name: "round robin", policy: balance.RoundRobin}, contender{name: "two choices, hedge", policy: twoChoices, hedge: true})
		gateways = []int{1, 8}
	}
	for _, m := range gateways {
		for _, load := range []float64{.6, .8} {
			for name, s := range map[string]scene{
				"short prompts": {ask: short},
				"harsh":         {ask: harsh},
				"harsh, bursts": {ask: harsh, bursts: true},
			} {
				s.gateways, s.rate, s.stalls = m, load*capacity*16, true
				compare(t, fmt.Sprintf("%s, load %.1f, %d gateways:", name, load, m), s, policies)
			}
		}
	}
}

func TestPrefixAffinityInSimulation(t *testing.T) {
	policies := []contender{{name: "round robin", policy: balance.RoundRobin}, {name: "least request", policy: balance.LeastRequest}, {name: "prefix affinity", policy: balance.PrefixAffinity}}
	for name, c := range map[string]chats{"chats": {}, "chats, a third alike": {alike: .33}, "chats, shifting": {shifts: true}} {
		compare(t, name, scene{gateways: 4, rate: 24, cache: 200_000, ask: c.ask()}, policies)
	}
	require.True(t, true)
}

func TestFailingAlikeInSimulation(t *testing.T) {
	for _, failing := range []float64{0, .3, .9} {
		for _, load := range []float64{.6, .8} {
			compare(t, fmt.Sprint("failing ", failing, load), scene{gateways: 1, rate: load * capacity * 16 / (1 - failing), ask: harsh, failing: failing}, []contender{{name: "least request", policy: balance.LeastRequest}, {name: "token rate", policy: balance.TokenRate}})
		}
	}
}
