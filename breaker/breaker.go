package breaker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/cooldown"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
)

// Errors of a rejected request. The response is 503 with Retry-After.
var (
	// ErrOpen is returned when the circuit is open or recovering.
	ErrOpen = errors.New("breaker: circuit open")
	// ErrFull is returned when the circuit has Settings.MaxConcurrent exchanges in progress.
	ErrFull = errors.New("breaker: too many exchanges in progress")
	// ErrCoolingDown is returned while a credential must wait, after a 429 with Retry-After.
	ErrCoolingDown = errors.New("breaker: cooling down")
)

// Config configures a Group. Every field has a default.
type Config struct {
	// Settings are the initial settings; [Group.Update] replaces them. Default: see [Settings].
	Settings Settings
	// Key returns the key of a request's circuit. It must not depend on unbounded client input.
	// Default: nil, the host of the request's URL; a balance.Pool above then avoids an endpoint
	// while its circuit is open. With another Key, such as host and model, other requests still
	// go there.
	Key func(*http.Request) string
	// MaxCircuits is the maximum number of circuits; further keys share one circuit. Default:
	// 1000.
	MaxCircuits int
	// OnEvent is called after each change of a circuit's state, with the context of the request
	// that caused it, if any. Default: nil, no events.
	OnEvent func(context.Context, Event)
}

// Group is a set of circuits, one per key, created on demand. Use [Group.Transport] around
// endpoints and [Group.Middleware] around handlers. It is safe for concurrent use.
type Group struct {
	cfg     Config
	perHost bool // a circuit is an endpoint's

	mu       sync.Mutex
	settings *Settings
	circuits map[string]*circuit

	cooling cooldown.Table // by circuit
}

// overflow is the key of the circuit that the keys beyond MaxCircuits share. It is not a valid
// host.
const overflow = "*"

// New returns a Group. It returns an error that joins all faults of cfg.
func New(cfg Config) (*Group, error) {
	err := cfg.Settings.complete()
	if cfg.MaxCircuits < 0 {
		err = fault.Join(err, fmt.Errorf("breaker: Config.MaxCircuits: %d is negative", cfg.MaxCircuits))
	}
	if err != nil {
		return nil, err
	}
	cfg.MaxCircuits = cmp.Or(cfg.MaxCircuits, 1000)
	perHost := cfg.Key == nil
	if perHost {
		cfg.Key = func(req *http.Request) string { return req.URL.Host }
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(context.Context, Event) {}
	}
	return &Group{cfg: cfg, perHost: perHost, settings: &cfg.Settings, circuits: map[string]*circuit{}}, nil
}

// Update replaces the settings. Circuits keep their state.
func (g *Group) Update(s Settings) error {
	if err := s.complete(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settings = &s
	for _, c := range g.circuits {
		c.mu.Lock()
		c.settings = &s
		if c.rates != nil {
			c.rates.configure(&s)
		}
		c.mu.Unlock()
	}
	return nil
}

// circuit returns the circuit of a key, and creates it if needed.
func (g *Group) circuit(key string) *circuit {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c, ok := g.circuits[key]; ok {
		return c
	}
	if len(g.circuits) >= g.cfg.MaxCircuits {
		key = overflow
		if c, ok := g.circuits[key]; ok {
			return c
		}
	}
	c := &circuit{key: key, notify: g.cfg.OnEvent, settings: g.settings}
	g.circuits[key] = c
	return c
}

// Status describes a circuit.
type Status struct {
	// Circuit is the circuit's key.
	Circuit string `json:"circuit"`
	// State is the circuit's state, and Forced reports that [Group.Force] set it.
	State  State `json:"state"`
	Forced bool  `json:"forced,omitempty"`
	// Inflight is the number of exchanges in progress.
	Inflight int `json:"inflight"`
	// Until is when an open circuit becomes half-open; zero if it is not open.
	Until time.Time `json:"until,omitzero"`
	// CoolingUntil is the end of the last cooldown at the circuit's endpoint; zero if there is
	// none or a pool handles cooldowns.
	CoolingUntil time.Time `json:"cooling_until,omitzero"`
	// Routes are the open and half-open routes of a closed circuit, as paths without ids.
	Routes []string `json:"routes,omitempty"`
}

// Status returns the status of every circuit, sorted by key.
func (g *Group) Status() []Status {
	g.mu.Lock()
	circuits := slices.Collect(maps.Values(g.circuits))
	g.mu.Unlock()
	out := make([]Status, len(circuits))
	for i, c := range circuits {
		out[i] = c.status()
		out[i].CoolingUntil = g.cooling.Until(c.key)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Circuit, b.Circuit) })
	return out
}

func (c *circuit) status() Status {
	c.mu.Lock()
	defer c.unlock(context.Background())
	c.settle(time.Now())
	s := Status{Circuit: c.key, State: c.state, Forced: c.forced, Inflight: c.inflight, Routes: c.routes.open()}
	if c.state == Open {
		s.Until = c.until
	}
	return s
}

// Force keeps the circuit of a key open or closed until Unforce is called.
func (g *Group) Force(key string, s State) error {
	if s != Open && s != Closed {
		return fmt.Errorf("breaker: Force: a circuit can't be kept %v", s)
	}
	c := g.circuit(key)
	c.mu.Lock()
	defer c.unlock(context.Background())
	c.forced = true
	if c.state != s {
		c.change(&c.lane, s, "by hand")
	}
	return nil
}

// Unforce returns the circuit of a key to normal operation. One that was forced open becomes
// half-open with the next request.
func (g *Group) Unforce(key string) error {
	c := g.circuit(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forced, c.until = false, time.Time{}
	return nil
}

// Close releases the resources of the group's circuits. The group must not be used afterwards.
func (g *Group) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, c := range g.circuits {
		c.mu.Lock()
		c.generation++ // exchanges still in progress no longer count: the rates may be reused
		c.unrate()
		c.mu.Unlock()
		delete(g.circuits, key)
	}
}

// refusal returns the error for a rejected request. A balancer avoids the endpoint for avoid.
func refusal(err error, wait, avoid time.Duration) error {
	e := &apierror.Error{
		Status: http.StatusServiceUnavailable, Code: "circuit_open", Message: "The service is not available now.",
		RetryAfter: max(wait, time.Millisecond), Err: fault.Join(err, &exchange.NotSentError{Cooldown: avoid}),
	}
	if errors.Is(err, ErrFull) {
		e.Code, e.Message = "overloaded", "The service is busy."
	}
	return e
}
