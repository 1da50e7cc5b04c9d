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
// slowest first tokens come sooner, although eight gateways don't coordinate and endpoints
// halt. Hedges help where an endpoint halts before the first token.
func TestTokenRateInSimulation(t *testing.T) {
	skipRaced(t)
	policies := []contender{
		{name: "two choices", policy: twoChoices},
		{name: "least request", policy: balance.LeastRequest},
		{name: "token rate", policy: balance.TokenRate},
		{name: "token rate, hedges", policy: balance.TokenRate, hedge: true},
	}
	if full {
		policies = append([]contender{{name: "round robin", policy: balance.RoundRobin}}, policies...)
	}
	const load = .8 * capacity
	r := compare(t, "short prompts, 8 gateways", scene{gateways: 8, rate: load * 16, stalls: true, ask: short}, policies)
	require.Less(t, 2*r["token rate"].at(.99), r["least request"].at(.99)+.1)
	r = compare(t, "harsh, 8 gateways", scene{gateways: 8, rate: load * 16, stalls: true, ask: harsh}, policies)
	require.Less(t, r["token rate, hedges"].at(.99), .7*r["two choices"].at(.99))
	require.Less(t, r["token rate, hedges"].extra, .06)
	if !full {
		return
	}
	compare(t, "harsh, 1 gateway", scene{gateways: 1, rate: load * 16, stalls: true, ask: harsh}, policies)
	compare(t, "harsh, bursts, 8 gateways", scene{gateways: 8, rate: load * 16, stalls: true, bursts: true, ask: harsh}, policies)
	compare(t, "harsh, 8 gateways, 256 engines", scene{engines: 256, gateways: 8, rate: load * 256, requests: 20_000, stalls: true, ask: harsh}, policies[1:])
}

// Turns of a conversation at the endpoint of the earlier ones leave it less to read. A prefix
// that a third of them share is not too much for its endpoint.
func TestPrefixAffinityInSimulation(t *testing.T) {
	skipRaced(t)
	policies := []contender{{name: "round robin", policy: balance.RoundRobin}, {name: "least request", policy: balance.LeastRequest}, {name: "prefix affinity", policy: balance.PrefixAffinity}}
	gateways, requests := []int{4}, 5000
	scenes := map[string]chats{"chats": {}, "chats, a third alike": {alike: .33}}
	if full {
		gateways, requests = []int{1, 4, 8}, 8000
		scenes["chats, shifting"] = chats{shifts: true}
	}
	for _, m := range gateways {
		for name, c := range scenes {
			r := compare(t, fmt.Sprintf("%s, %d gateways", name, m), scene{gateways: m, rate: 24, requests: requests, cache: 200_000, ask: c.ask()}, policies)
			kept, other := r["prefix affinity"], r["least request"]
			more := 1.5
			if c.alike > 0 { // any policy finds the common part
				more = 1.4
			}
			require.Greater(t, kept.hit, more*other.hit)
			require.Less(t, kept.at(.5), other.at(.5))
			require.Less(t, kept.at(.99), .8*r["round robin"].at(.99))
		}
	}
}

// When all endpoints fail alike, the responses that succeed come as soon as without failures.
func TestFailuresInSimulation(t *testing.T) {
	skipRaced(t)
	policies := []contender{{name: "least request", policy: balance.LeastRequest}, {name: "token rate", policy: balance.TokenRate}}
	none := compare(t, "no failures", scene{gateways: 1, rate: .6 * capacity * 16, ask: harsh}, policies)
	for _, failing := range []float64{.3, .9} {
		r := compare(t, fmt.Sprintf("%.0f %% fail", 100*failing), scene{gateways: 1, rate: .6 * capacity * 16 / (1 - failing), ask: harsh, failing: failing}, policies)
		for name, r := range r {
			require.Less(t, r.at(.99), 1.5*none[name].at(.99)+.2)
			require.LessOrEqual(t, r.most, 2*none[name].most)
		}
	}
}

// skipRaced skips a simulation under the race detector, where it takes minutes. CI also runs the
// tests without.
func skipRaced(t *testing.T) {
	t.Helper()
	if raced {
		t.Skip("takes minutes with the race detector")
	}
}
