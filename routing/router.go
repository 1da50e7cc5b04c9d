package routing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/urlpath"
	"github.com/ginfer/ginfer/routing/rollout"
)

var (
	// ErrNoRoute is returned when no route matches the request. Its status is 404.
	ErrNoRoute = errors.New("routing: no route")
	// ErrNoDecision is returned when a request reaches the Transport without passing the
	// Middleware. Its status is 500.
	ErrNoDecision = errors.New("routing: no decision")
	// ErrModel is returned when the request's model is ambiguous. Its status is 400.
	ErrModel = errors.New("routing: model unclear")

	errNoModel = fmt.Errorf("%w: the request names no model", ErrNoRoute)
)

// Config configures a Router. Table and Upstreams are required.
type Config struct {
	// Table is the initial table; [Router.SetTable] replaces it.
	Table Table
	// Rollouts divide the weights of two routes each. The slice must not be modified
	// afterwards. Default: none.
	Rollouts []*rollout.Rollout
	// Upstreams are the transports by name, usually a balance.Pool each. The map must not
	// be modified afterwards.
	Upstreams map[string]http.RoundTripper
	// StickyHeader is the request header that identifies the user. It is trusted: use it
	// behind authentication, or where a forged value gains nothing. Default: none.
	StickyHeader string
	// Subject returns the verified identity from a request's context, for requests
	// without StickyHeader. Default: none.
	Subject func(context.Context) (string, bool)
	// Tags returns the identity's tags, for conditions. Default: no tags.
	Tags func(context.Context) []string
	// Cookie is the cookie for the sticky assignment of anonymous users. Default:
	// "ginfer_id"; "-": no cookie, and the peer's address identifies the user.
	Cookie string
	// Usable reports whether the caller may use a model, for the list of models; see
	// [Router.Middleware]. Default: all models.
	Usable func(ctx context.Context, model string) bool
	// VersionHeader is the response header with the version that served the request.
	// Default: X-Model-Version; "-": none.
	VersionHeader string
	// ModelHeader is the response header with the model that served the request, by its
	// upstream's name; a name over 256 bytes is left out. Default: X-Model; "-": none.
	ModelHeader string
	// FallbackHeader is the response header with the selected version when a fallback
	// served the request, because that version failed or lacks a capability. Default:
	// X-Fallback-From; "-": none.
	FallbackHeader string
	// Mirror bounds the mirrored requests in flight.
	Mirror MirrorConfig
	// ErrorHandler responds to requests without a route. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is called with decisions, fallbacks, skipped versions, mirrored requests and
	// new tables. Optional.
	OnEvent func(context.Context, Event)
}

// Router selects versions and sends requests to their upstreams. It is safe for concurrent
// use.
type Router struct {
	cfg     Config
	mirrors *mirrors
	mu      sync.Mutex // guards replacing the table
	table   atomic.Pointer[compiled]
}

// Target is a version with its upstream.
type Target struct {
	// Version is its name.
	Version string
	// Upstream is a name in [Config.Upstreams].
	Upstream string
	// UpstreamModel is the model's name there; "": the request's.
	UpstreamModel string
	// Capabilities are its abilities; nil: all. They must not be modified.
	Capabilities *Capabilities
	// Patience is the limit on the time until its response begins, after which the next
	// version is called; 0: no limit.
	Patience time.Duration
}

// Decision is the result of routing a request.
type Decision struct {
	// Target is the selected version. A fallback may serve the request instead: see
	// [Route.Fallback].
	Target
	// Model is the model that the request names, or "".
	Model string

	chain  []Target        // Target, then the fallbacks
	needs  *lazyNeeds      // nil: not relevant
	sample *rollout.Sample // nil: no rollout measures it
	mirror *mirror         // nil: not mirrored
}

// New checks cfg and returns a Router. The error joins every fault found.
func New(cfg Config) (*Router, error) {
	if len(cfg.Upstreams) == 0 {
		return nil, errors.New("routing: Config.Upstreams is required")
	}
	for name, u := range cfg.Upstreams {
		if u == nil {
			return nil, fmt.Errorf("routing: Config.Upstreams[%q] is nil", name)
		}
	}
	if err := fault.Join(cfg.checkNames(), cfg.Mirror.check()); err != nil {
		return nil, err
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	if cfg.Tags == nil {
		cfg.Tags = func(context.Context) []string { return nil }
	}
	cfg.Cookie = cmp.Or(cfg.Cookie, "ginfer_id")
	cfg.VersionHeader = cmp.Or(cfg.VersionHeader, "X-Model-Version")
	cfg.ModelHeader = cmp.Or(cfg.ModelHeader, "X-Model")
	cfg.FallbackHeader = cmp.Or(cfg.FallbackHeader, "X-Fallback-From")
	r := &Router{cfg: cfg, mirrors: newMirrors(cfg.Mirror)}
	if err := r.install(cfg.Table); err != nil {
		return nil, err
	}
	return r, nil
}

func (cfg *Config) checkNames() error {
	var faults []error
	for _, f := range [...]struct{ field, name string }{
		{"StickyHeader", cfg.StickyHeader},
		{"Cookie", cfg.Cookie},
		{"VersionHeader", cfg.VersionHeader},
		{"ModelHeader", cfg.ModelHeader},
		{"FallbackHeader", cfg.FallbackHeader},
	} {
		if f.name != "" && !isToken(f.name) {
			faults = append(faults, fmt.Errorf("routing: Config.%s: %q is not a name", f.field, f.name))
		}
	}
	return fault.Join(faults...)
}

// SetTable replaces the table for new requests; those in flight keep their decision. A table
// with faults is refused as a whole: the error joins every fault, and the previous table
// stays in force.
func (r *Router) SetTable(t Table) error {
	if err := r.install(t); err != nil {
		return err
	}
	r.notify(context.Background(), Event{Kind: Swapped})
	return nil
}

// Table returns the table in force with its original weights; those of a rollout are in
// [rollout.Rollout.Status]. It must not be modified.
func (r *Router) Table() Table { return r.table.Load().table }

func (r *Router) install(t Table) error {
	if err := t.check(); err != nil {
		return err
	}
	if err := fault.Join(t.checkUpstreams(r.cfg.Upstreams), t.checkRollouts(r.cfg.Rollouts)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table.Store(compile(t, stepsOf(r.cfg.Rollouts)))
	return nil
}

// current returns the table with the present weights of the rollouts.
func (r *Router) current() *compiled {
	c := r.table.Load()
	if c.isCurrent(r.cfg.Rollouts) {
		return c
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c = r.table.Load(); !c.isCurrent(r.cfg.Rollouts) {
		c = compile(c.table, stepsOf(r.cfg.Rollouts))
		r.table.Store(c)
	}
	return c
}

type contextKey struct{}

// FromContext returns the decision of the middleware.
func FromContext(ctx context.Context) (Decision, bool) {
	d, ok := ginctx.Value(ctx, contextKey{}).(*Decision)
	if !ok {
		return Decision{}, false
	}
	return *d, true
}

// placed is a target under [exchange.TargetKey].
type placed struct{ *Target }

// Place implements exchange.Target.
func (p placed) Place() (version, upstream string) { return p.Version, p.Upstream }

// TargetFrom returns the target of a request to an upstream: the selected version or a
// fallback. The context has it below the Transport only.
func TargetFrom(ctx context.Context) (Target, bool) {
	t, ok := ginctx.Value(ctx, exchange.TargetKey{}).(placed)
	if !ok {
		return Target{}, false
	}
	return *t.Target, true
}

// Middleware returns the handler that makes the decision. When every route is for a model,
// it also serves the list of models, GET …/models and GET …/models/NAME, in the formats of
// OpenAI and Anthropic at once. The list has the models that are [Config.Usable] and have
// routes with conditions, apart from path and method, that the caller meets.
func (r *Router) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		d, err := r.decide(c)
		if errors.Is(err, errNoModel) && r.serveModels(c) {
			return
		}
		if err != nil {
			r.cfg.ErrorHandler(c, err)
			return
		}
		ctx := context.WithValue(c.Request.Context(), contextKey{}, d)
		if d.sample != nil {
			ctx = d.sample.NewContext(ctx)
		}
		c.Request = c.Request.WithContext(ctx)
		if r.cfg.VersionHeader != "-" {
			c.Header(r.cfg.VersionHeader, d.Version)
		}
		r.notify(c.Request.Context(), Event{Kind: Decided, Model: d.Model, Version: d.Version})
	}
}

func (r *Router) decide(c *gin.Context) (*Decision, error) {
	if err := urlpath.Check(c.Request.URL); err != nil {
		return nil, err
	}
	table := r.current()
	s := &subject{r: c.Request, tags: func() []string { return r.cfg.Tags(c.Request.Context()) }}
	if table.models {
		model, err := r.model(c)
		if err != nil {
			return nil, err
		}
		s.model = model
	}
	e, drawn := table.find(s, func() string { return r.stickyKey(c) })
	if e == nil {
		return nil, noRoute(s.model)
	}
	d := &Decision{Target: e.chain[0], Model: s.model, chain: e.chain, sample: e.arm.sample(drawn), mirror: e.mirror}
	if e.picky {
		d.needs = new(lazyNeeds)
	}
	return d, nil
}

func noRoute(model string) error {
	if model == "" {
		return &apierror.Error{Status: http.StatusNotFound, Code: "no_route", Message: "No route takes this request.", Err: errNoModel}
	}
	return &apierror.Error{Status: http.StatusNotFound, Code: "model_not_found", Message: fmt.Sprintf("The model %.100q does not exist or is not served here.", model), Err: ErrNoRoute}
}

// model returns the model that a request names in its JSON, form, path or query. A body of
// another kind has none. A body that two parsers may read differently is refused: the
// upstream might see another model than the router. Of a body beyond the bound of
// proxy.Bodies only the beginning is read.
func (r *Router) model(c *gin.Context) (string, error) {
	held, err := body.Hold(c)
	if err != nil {
		return "", err
	}
	model, err := held.Model()
	if err != nil {
		body.Drain(c)
		return "", badModel(err)
	}
	return model, nil
}

// badModel wraps the error of an invalid body in [ErrModel].
func badModel(err error) error {
	e := *apierror.From(err)
	switch {
	case e.Status != http.StatusBadRequest:
	case e.Err == nil:
		e.Err = ErrModel
	default:
		e.Err = fmt.Errorf("%w: %w", ErrModel, e.Err)
	}
	return &e
}

func (r *Router) notify(ctx context.Context, e Event) {
	if r.cfg.OnEvent != nil {
		r.cfg.OnEvent(ctx, e)
	}
}
