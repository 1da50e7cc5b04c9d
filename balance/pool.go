package balance

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/cooldown"
	"github.com/ginfer/ginfer/internal/exchange"
)

// ErrNoEndpoint: the pool has no endpoint that may be used. A request gets it
// inside an *apierror.Error with status 503 and code "no_endpoint".
var ErrNoEndpoint = errors.New("balance: no endpoint available")

// Config describes a pool.
type Config struct {
	// Endpoints are the servers to begin with. They may be none.
	Endpoints []Endpoint
	// Policy chooses among them. Default [LeastRequest].
	Policy Policy
	// Transport carries the requests. Default: a clone of
	// http.DefaultTransport that keeps 256 idle connections per server and
	// leaves compression alone.
	Transport http.RoundTripper
	// PreserveHost sends the request's own Host. Default false: the endpoint's.
	PreserveHost bool
	// Health is the active check that [Pool.Run] makes.
	Health Health
	// Outlier ejects endpoints by how live requests end.
	Outlier Outlier
	// SlowStart lets new and recovered endpoints begin with less.
	SlowStart SlowStart
	// PanicThreshold is the share of endpoints below which health no longer
	// counts and all are used: it is then more likely that the checks are
	// wrong, and certain that the rest would drown. Default 0.5; negative: off.
	PanicThreshold float64
	// OnEvent is told of changes. It must not block. Optional.
	OnEvent func(context.Context, Event)
}

// Pool spreads requests over endpoints. It is an http.RoundTripper, safe for
// concurrent use, also while endpoints come and go.
type Pool struct {
	cfg    Config
	notify func(Event)
	paced  bool       // the policy compares how fast streams are
	mu     sync.Mutex // held while the set changes
	set    atomic.Pointer[set]
	panic  atomic.Bool

	cooling cooldown.Table
}

// set is an immutable list of endpoints with what was made for it.
type set struct {
	nodes  []*node
	picker Picker
	view   atomic.Pointer[view]
	paces  paces
}

// New checks cfg and returns a pool. The error joins every fault found.
func New(cfg Config) (*Pool, error) {
	err := errors.Join(cfg.Health.resolve(), cfg.Outlier.resolve(), cfg.SlowStart.check(), checkPolicy(cfg.Policy))
	if cfg.PanicThreshold == 0 {
		cfg.PanicThreshold = 0.5
	}
	if cfg.PanicThreshold > 1 {
		err = errors.Join(err, errors.New("balance: Config.PanicThreshold is more than 1"))
	}
	if cfg.Policy == nil {
		cfg.Policy = LeastRequest()
	}
	if cfg.Transport == nil {
		cfg.Transport = defaultTransport()
	}
	list, nodeErr := nodes(cfg.Endpoints, cfg.Transport)
	if err = errors.Join(err, nodeErr); err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, notify: notifier(cfg.OnEvent)}
	_, p.paced = cfg.Policy.(tokenRate)
	p.install(list)
	return p, nil
}

func checkPolicy(p Policy) error {
	if c, ok := p.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

func defaultTransport() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // somebody replaced it on purpose
		return http.DefaultTransport
	}
	t = t.Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.DisableCompression = 0, 256, true
	return t
}

// install makes list the pool's set. The caller holds p.mu, or owns p alone.
func (p *Pool) install(list []*node) {
	static := make([]EndpointInfo, len(list))
	for i, n := range list {
		static[i] = EndpointInfo{Name: n.name, Weight: int(n.weight.Load())}
	}
	p.set.Store(&set{nodes: list, picker: p.cfg.Policy.Picker(static)})
}

// pick chooses an endpoint that is not to be avoided, and notes it in the attempt. Nil:
// there is none.
func (p *Pool) pick(req *http.Request, a *exchange.Attempt, avoid *avoidance) *node {
	if avoid.isZero() {
		avoid = nil
	}
	n, others := p.choose(req, avoid)
	if n != nil {
		a.Use(n.name)
	}
	a.SetOthers(max(others, 0))
	return n
}

// choose returns an endpoint, and how many others might do.
func (p *Pool) choose(req *http.Request, avoid *avoidance) (n *node, others int) {
	s := p.set.Load()
	c := Candidates{set: s, view: s.view.Load(), avoid: avoid}
	if c.view == nil || c.view.expires != never {
		c.now = time.Now().UnixNano() // half the cost of a pick, so only where needed
		c.view = p.viewOf(s, c.now)
	}
	others = c.unused() - 1
	i := s.picker.Pick(req, c)
	if i < 0 || i >= len(s.nodes) {
		return nil, 0
	}
	return s.nodes[i], others
}

// unused counts the usable endpoints that are not to be avoided.
func (c Candidates) unused() int {
	n := len(c.view.in)
	if c.avoid == nil {
		return n
	}
	for i := range c.view.in {
		if c.avoided(c.view.in[i].node) {
			n--
		}
	}
	return n
}

// viewOf returns the set's view, made anew when it is out of date.
func (p *Pool) viewOf(s *set, now int64) *view {
	old := s.view.Load()
	if old != nil && now < old.expires {
		return old
	}
	v, panicking := s.look(now, p.cfg.PanicThreshold, p.cfg.SlowStart)
	// What changed while we looked may be missing in v: then somebody put
	// another view there, and the next pick looks again.
	if s.view.CompareAndSwap(old, v) && p.set.Load() == s && p.panic.Swap(panicking) != panicking {
		p.notify(Event{Kind: panicKind(panicking)})
	}
	return v
}

// changed makes the next pick look again. Each call stores a view of its own,
// so that viewOf notices it.
func (p *Pool) changed() { p.set.Load().view.Store(&view{}) }

// Status returns the state of every endpoint.
func (p *Pool) Status() []Status {
	now := time.Now().UnixNano()
	list := p.set.Load().nodes
	out := make([]Status, len(list))
	for i, n := range list {
		out[i] = n.status(now)
		if until := p.cooling.Until(n.name); until.After(out[i].CoolingUntil) {
			out[i].CoolingUntil = until
		}
	}
	return out
}

// CloseIdleConnections closes those of the endpoints' transports, as
// http.Client.CloseIdleConnections asks.
func (p *Pool) CloseIdleConnections() {
	for _, n := range p.set.Load().nodes {
		if t, ok := n.transport.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
}
