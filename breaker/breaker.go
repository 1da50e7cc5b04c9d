package breaker

import (
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
)

// Why a request was not let through. Each is answered with 503 and Retry-After.
var (
	// ErrOpen: the circuit is open, or on its way back.
	ErrOpen = errors.New("breaker: circuit open")
	// ErrFull: as many exchanges are under way as may be.
	ErrFull = errors.New("breaker: too many exchanges under way")
	// ErrCoolingDown: the endpoint asked this credential to wait, by 429 and Retry-After.
	ErrCoolingDown = errors.New("breaker: cooling down")
)

// Config describes a Group. Every field has a default.
type Config struct {
	// Settings are those to begin with; [Group.Update] changes them.
	Settings Settings
	// Key says to which circuit a request belongs. It must not follow what a client
	// writes without bound. Default: the host it goes to; a balance.Pool above then
	// leaves an endpoint alone while its circuit is open. With a Key of its own, such as
	// host and model, other requests may still go there.
	Key func(*http.Request) string
	// MaxCircuits bounds their number; the keys beyond share one circuit. Default 1000.
	MaxCircuits int
	// OnEvent receives every change of state, with the context of the request that caused
	// it where there is one. Optional.
	OnEvent func(context.Context, Event)
}

// Group is a set of circuits, one for each key, made as they are needed. It is safe
// for concurrent use.
type Group struct {
	cfg     Config
	perHost bool // the circuits are those of endpoints

	mu       sync.Mutex
	settings *Settings
	circuits map[string]*circuit

	cooling cooldown.Table // by circuit
}

// overflow is the key of the circuit that the keys beyond MaxCircuits share. No
// host is so.
const overflow = "*"

// New checks cfg and returns a Group. The error joins every fault.
func New(cfg Config) (*Group, error) {
	err := cfg.Settings.complete()
	if cfg.MaxCircuits < 0 {
		err = errors.Join(err, fmt.Errorf("breaker: Config.MaxCircuits: %d is negative", cfg.MaxCircuits))
	}
	if err != nil {
		return nil, err
	}
	cfg.MaxCircuits = orDefault(cfg.MaxCircuits, 1000)
	perHost := cfg.Key == nil
	if perHost {
		cfg.Key = func(req *http.Request) string { return req.URL.Host }
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(context.Context, Event) {}
	}
	return &Group{cfg: cfg, perHost: perHost, settings: &cfg.Settings, circuits: map[string]*circuit{}}, nil
}

// Update puts other settings into force. Circuits keep their state.
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

// circuit finds or makes the circuit of a key.
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

// Status is what is known of a circuit.
type Status struct {
	// Circuit is its key.
	Circuit string `json:"circuit"`
	// State is where it stands, Forced whether by hand.
	State  State `json:"state"`
	Forced bool  `json:"forced,omitempty"`
	// Inflight is how many exchanges are under way.
	Inflight int `json:"inflight"`
	// Until is when an open circuit is tried again; zero when it is not open.
	Until time.Time `json:"until,omitzero"`
	// CoolingUntil is until when its endpoint asked some credential to wait, where no pool sees to
	// that; zero when it did not.
	CoolingUntil time.Time `json:"cooling_until,omitzero"`
	// Routes are the paths, without their ids, that are not closed while the circuit is.
	Routes []string `json:"routes,omitempty"`
}

// Status returns every circuit's, by key.
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

// Force keeps the circuit of a key open or closed, whatever happens, until Unforce.
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

// Unforce lets the circuit of a key go by what happens again. One that was kept open
// is tried at once.
func (g *Group) Unforce(key string) error {
	c := g.circuit(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forced, c.until = false, time.Time{}
	return nil
}

// Close gives back what the group's circuits hold. It must not be used any more.
func (g *Group) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, c := range g.circuits {
		c.mu.Lock()
		c.generation++ // what is still under way counts no more: its rates are another's
		c.unrate()
		c.mu.Unlock()
		delete(g.circuits, key)
	}
}

// refusal is the answer to a request that may not pass. A balancer leaves the endpoint
// alone for rest.
func refusal(err error, wait, rest time.Duration) error {
	e := &apierror.Error{
		Status: http.StatusServiceUnavailable, Code: "circuit_open", Message: "The service is not available now.",
		RetryAfter: max(wait, time.Millisecond), Err: errors.Join(err, &exchange.NotSentError{Cooldown: rest}),
	}
	if errors.Is(err, ErrFull) {
		e.Code, e.Message = "overloaded", "The service is busy."
	}
	return e
}
