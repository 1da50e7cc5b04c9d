package balance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"

	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/hash"
	"github.com/ginfer/ginfer/internal/llm"
)

// Key returns the affinity key of a request. It reports false for a request without a key,
// which goes to the least loaded endpoint.
type Key func(*http.Request) (string, bool)

// ByHeader returns a Key that is the value of a request header.
func ByHeader(name string) Key {
	name = http.CanonicalHeaderKey(name)
	return func(r *http.Request) (string, bool) {
		if v := r.Header[name]; len(v) > 0 && v[0] != "" {
			return v[0], true
		}
		return "", false
	}
}

// ByContext returns a Key from the request's context, such as an identity.
func ByContext(f func(context.Context) (string, bool)) Key {
	return func(r *http.Request) (string, bool) { return f(r.Context()) }
}

// ByBody returns a Key that is a top-level string of a JSON body. A body beyond the limit of
// proxy.Bodies has no key.
func ByBody(field string) Key {
	return func(r *http.Request) (string, bool) {
		b, ok := bodies.Whole(r)
		if !ok {
			return "", false
		}
		v, err := llm.String(b, field)
		return v, err == nil && v != ""
	}
}

// Algorithm is a consistent hashing algorithm.
type Algorithm int

// The algorithms. All keep most keys in place when endpoints are added or removed.
const (
	// Ring is a ring of virtual nodes (Karger et al. 1997): exactly the keys of a removed
	// endpoint move. The default.
	Ring Algorithm = iota
	// Rendezvous is weighted highest random weight hashing (Thaler and Ravishankar 1998): as
	// Ring, perfectly even, and linear in the number of endpoints. Use it for up to some
	// dozens.
	Rendezvous
	// Maglev is a table of 65,537 places (Eisenbud et al. 2016): the fastest and very even, but
	// a change also moves a few per cent of the other keys.
	Maglev
)

// HashConfig configures the policy [Hash].
type HashConfig struct {
	// Key returns a request's affinity key. Required.
	Key Key
	// Algorithm assigns keys to endpoints. Default: [Ring].
	Algorithm Algorithm
	// VirtualNodes is the number of points on the ring per endpoint of mean weight, 24 bytes
	// each. Default: 2048, which keeps the fullest of five endpoints within 8 % of the mean for
	// 5,000 keys.
	VirtualNodes int
	// LoadBound is the multiple of the mean load, plus three requests, beyond which an
	// endpoint's keys overflow to the next one in the key's own order (Mirrokni, Thorup,
	// Zadimoghaddam 2018). Use 1.25 or more where any endpoint can serve any key. Default: 0,
	// or negative: no bound; a key leaves its endpoint only while that is not usable.
	LoadBound float64
	// Seed varies the assignment; all replicas of a gateway need the same seed. Default: 0.
	Seed uint64
}

// defaultNodes is the default of HashConfig.VirtualNodes.
const defaultNodes = 2048

// loadFloor is the number of requests that are allowed above the bound: at a mean load of a few
// requests a multiple of it is less than chance brings together.
const loadFloor = 3

// Hash returns a policy that sends requests with the same key to the same endpoint, as long as
// it is usable and within HashConfig.LoadBound. During a slow start an endpoint gets a growing
// part of its keys.
func Hash(cfg HashConfig) Policy {
	cfg.VirtualNodes = cmp.Or(cfg.VirtualNodes, defaultNodes)
	return hashPolicy{HashConfig: cfg}
}

// PrefixAffinity returns a policy that keeps the turns of a conversation together, by
// [ByPrefix], up to 1.25 times the mean load and three requests. Use it for servers with a
// prefix cache, which is worth more than an even load. A prefix that many conversations share
// uses as many endpoints as its part of the load needs: each caches it after one request.
func PrefixAffinity() Policy {
	return hashPolicy{HashConfig: HashConfig{Key: ByPrefix(), LoadBound: 1.25, VirtualNodes: defaultNodes}, spreads: true}
}

type hashPolicy struct {
	HashConfig
	spreads bool // a hot key uses several endpoints
}

func (h hashPolicy) check() error {
	var faults []error
	if h.Key == nil {
		faults = append(faults, errors.New("balance: HashConfig.Key is required"))
	}
	if h.Algorithm < Ring || h.Algorithm > Maglev {
		faults = append(faults, fmt.Errorf("balance: HashConfig.Algorithm %d is unknown", h.Algorithm))
	}
	if h.VirtualNodes < 1 || h.VirtualNodes > 1<<14 {
		faults = append(faults, fmt.Errorf("balance: HashConfig.VirtualNodes %d is not within 1 and %d", h.VirtualNodes, 1<<14))
	}
	if h.LoadBound > 0 && h.LoadBound < 1.01 || math.IsNaN(h.LoadBound) {
		faults = append(faults, fmt.Errorf("balance: HashConfig.LoadBound %v must be at least 1.01", h.LoadBound))
	}
	return fault.Join(faults...)
}

// Picker implements Policy.
func (h hashPolicy) Picker(endpoints []EndpointInfo) Picker {
	p := &hashPicker{HashConfig: h.HashConfig}
	if h.spreads {
		p.heat = new(heat)
	}
	switch h.Algorithm {
	case Rendezvous:
		p.order = newRendezvous(endpoints)
	case Maglev:
		p.order = newMaglev(endpoints)
	case Ring:
		p.order = newRing(endpoints, h.VirtualNodes)
	}
	return p
}

// order yields endpoints in a key's order of preference.
type order interface {
	// find returns the first endpoint, in the key's order, that fits accepts.
	find(key uint64, c Candidates, f fit) int
}

type hashPicker struct {
	HashConfig
	order order
	heat  *heat // nil: a hot key is as any other
}

// Pick implements Picker.
func (p *hashPicker) Pick(req *http.Request, c Candidates) int {
	key, ok := p.Key(req)
	if !ok {
		return leastRequest{}.Pick(req, c)
	}
	h := hash.String(p.Seed, key)
	if i := p.order.find(h, c, p.fit(h, c)); i >= 0 {
		return i
	}
	return leastRequest{}.Pick(req, c)
}

// fit is what a key asks of an endpoint: a load within ⌈c · (in-flight + 1) · w / Σw⌉ +
// floor, and during its slow start a share that includes the key.
type fit struct {
	perWeight float64
	floor     int64
	part      float64 // of the key, in [0, 1)
}

// part places a key within the shares of slow starts.
func part(key uint64) float64 { return float64(hash.Mix(key)>>11) / (1 << 53) }

// fit returns what a key asks of an endpoint. A hot key must not make its first endpoints
// busier than the others.
func (p *hashPicker) fit(key uint64, c Candidates) fit {
	f := fit{perWeight: math.Inf(1), part: part(key)}
	if p.LoadBound <= 0 {
		return f
	}
	load, weight := int64(1), c.view.total
	for i := range c.view.in {
		e := &c.view.in[i]
		if c.avoided(e.node) {
			weight -= e.weight
			continue
		}
		load += e.node.inflight.Load()
	}
	f.perWeight, f.floor = p.LoadBound*float64(load)/weight, loadFloor
	if n := len(c.view.in); p.heat != nil && p.heat.isHot(key, n) && 2*load > int64(n) {
		f.perWeight, f.floor = hotBound*float64(load)/weight, 0
	}
	return f
}

func (f fit) accepts(c Candidates, i int) bool {
	return c.view.usable[i] && f.takes(c, c.set.nodes[i], c.view.weight[i])
}

// takes omits the ⌈⌉: a whole number is below ⌈x⌉ exactly if it is below x.
func (f fit) takes(c Candidates, n *node, weight float64) bool {
	if c.view.ramping && f.part >= weight/float64(n.weight.Load()) {
		return false
	}
	return float64(n.inflight.Load()-f.floor) < f.perWeight*weight && !c.avoided(n)
}
