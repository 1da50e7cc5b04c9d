package balance

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/connect"
	"github.com/ginfer/ginfer/internal/cooldown"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
)

// ErrNoEndpoint is returned when the pool has no usable endpoint. It is wrapped in an
// *apierror.Error with status 503 and code "no_endpoint".
var ErrNoEndpoint = errors.New("balance: no endpoint available")

// Config configures a Pool. Every field has a default.
type Config struct {
	// Endpoints are the initial endpoints. Default: none.
	Endpoints []Endpoint
	// Policy picks an endpoint for each request. Default: [LeastRequest].
	Policy Policy
	// Transport sends the requests. Default: a clone of http.DefaultTransport with 256 idle
	// connections per server, each used for at most 5 min or 10,000 requests and closed after 4 s
	// idle, and without compression of its own. Unlike it, the proxy package's transport follows
	// host names.
	Transport http.RoundTripper
	// PreserveHost sends the request's own Host. Default: false, the endpoint's.
	PreserveHost bool
	// Health configures the active checks of [Pool.Run]. Default: see [Health].
	Health Health
	// Outlier configures the ejection of endpoints when live requests fail. Default: see
	// [Outlier].
	Outlier Outlier
	// SlowStart reduces the share of new and recovered endpoints at first. Default: off.
	SlowStart SlowStart
	// PanicThreshold is the share of available endpoints, from 0 to 1, below which health is
	// ignored and all are used: wrong checks are then more likely than failures, and the rest
	// could not carry the load. Default: 0.5; negative: off.
	PanicThreshold float64
	// OnEvent is called after each change. It must not block. Default: nil, no events.
	OnEvent func(context.Context, Event)
}

// Pool balances requests over endpoints. It is an http.RoundTripper. It is safe for concurrent
// use, also while endpoints are added and removed.
type Pool struct {
	cfg    Config
	notify func(Event)
	paced  bool       // the policy compares the pace of streams
	mu     sync.Mutex // held while the set changes
	set    atomic.Pointer[set]
	panic  atomic.Bool

	cooling cooldown.Table
}

// set is an immutable list of endpoints with derived data.
type set struct {
	nodes  []*node
	picker Picker
	view   atomic.Pointer[view]
	paces  paces
	judged atomic.Int64 // when the success rates were last compared, unix ns
}

// New returns a Pool. It returns an error that joins all faults of cfg.
func New(cfg Config) (*Pool, error) {
	err := fault.Join(cfg.Health.resolve(), cfg.Outlier.resolve(), cfg.SlowStart.check(), checkPolicy(cfg.Policy))
	if cfg.PanicThreshold == 0 {
		cfg.PanicThreshold = 0.5
	}
	if cfg.PanicThreshold > 1 {
		err = fault.Join(err, errors.New("balance: Config.PanicThreshold is more than 1"))
	}
	if cfg.Policy == nil {
		cfg.Policy = LeastRequest()
	}
	if cfg.Transport == nil {
		cfg.Transport = defaultTransport()
	}
	list, nodeErr := nodes(cfg.Endpoints, cfg.Transport)
	if err = fault.Join(err, nodeErr); err != nil {
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
	if !ok { // replaced on purpose
		return http.DefaultTransport
	}
	t = t.Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.DisableCompression = 0, 256, true
	t.IdleConnTimeout = connect.IdleTimeout
	if t.DialContext != nil {
		t.DialContext = connect.Lifetime{MaxAge: connect.MaxAge, MaxRequests: connect.MaxRequests}.Dial(t.DialContext)
	}
	return connect.NewTransport(t)
}

// install makes list the pool's set. The caller holds p.mu, or owns p alone.
func (p *Pool) install(list []*node) {
	infos := make([]EndpointInfo, len(list))
	for i, n := range list {
		infos[i] = EndpointInfo{Name: n.name, Weight: int(n.weight.Load())}
	}
	p.set.Store(&set{nodes: list, picker: p.cfg.Policy.Picker(infos)})
}

// pick chooses an endpoint that is not to be avoided, and records it in the attempt. Nil: there
// is none.
func (p *Pool) pick(req *http.Request, a *exchange.Attempt, avoid *avoidance) *node {
	if avoid.isZero() {
		avoid = nil
	}
	n, others := p.choose(req, avoid)
	a.SetOthers(max(others, 0)) // before Use: a hedge reads them as soon as there is an endpoint
	if n != nil {
		a.Use(n.name)
	}
	return n
}

// choose returns an endpoint, and the number of other possible ones.
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

// unused returns the number of usable endpoints that are not to be avoided.
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

// viewOf returns the set's view, updated if it is out of date.
func (p *Pool) viewOf(s *set, now int64) *view {
	old := s.view.Load()
	if old != nil && now < old.expires {
		return old
	}
	v, panicking := s.look(now, p.cfg.PanicThreshold, p.cfg.SlowStart)
	// A change meanwhile may be missing in v. It has stored another view then, and the next
	// pick looks again.
	if s.view.CompareAndSwap(old, v) && p.set.Load() == s && p.panic.Swap(panicking) != panicking {
		p.notify(Event{Kind: panicKind(panicking)})
	}
	return v
}

// changed makes the next pick look again. Each call stores a view of its own, so that viewOf
// notices it.
func (p *Pool) changed() { p.set.Load().view.Store(&view{}) }

// Status returns the status of every endpoint.
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

// CloseIdleConnections closes the idle connections of the endpoints' transports. It is called by
// http.Client.CloseIdleConnections.
func (p *Pool) CloseIdleConnections() {
	for _, n := range p.set.Load().nodes {
		if t, ok := n.transport.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
}
