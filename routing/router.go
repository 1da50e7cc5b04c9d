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
	"github.com/ginfer/ginfer/internal/urlpath"
	"github.com/ginfer/ginfer/routing/rollout"
)

var (
	// ErrNoRoute: no route takes the request. Answered with 404.
	ErrNoRoute = errors.New("routing: no route")
	// ErrNoDecision: a request reached the Transport without passing the
	// Middleware. Answered with 500.
	ErrNoDecision = errors.New("routing: no decision")
	// ErrModel: the request's model can't be told. Answered with 400.
	ErrModel = errors.New("routing: model unclear")

	errNoModel = fmt.Errorf("%w for what names no model", ErrNoRoute)
)

// Config describes a Router. Table and Upstreams are required.
type Config struct {
	// Table is the table to begin with; [Router.SetTable] changes it.
	Table Table
	// Rollouts divide the weights of the two routes that each of them is about. The
	// slice must not be changed afterwards.
	Rollouts []*rollout.Rollout
	// Upstreams carry requests, by name; usually each is a balance.Pool. The
	// map must not be changed afterwards.
	Upstreams map[string]http.RoundTripper
	// StickyHeader names the user. It is believed: put it behind an
	// authentication, or use it where users gain nothing by lying. Default none.
	StickyHeader string
	// Subject returns the verified identity from a request's context; it counts
	// when the header is not there. Optional.
	Subject func(context.Context) (string, bool)
	// Tags returns the identity's tags, for conditions. Default: no tags.
	Tags func(context.Context) []string
	// Cookie is set to keep an anonymous user at a version. Default "ginfer_id";
	// "-": none is set, and the peer's address stands in.
	Cookie string
	// Usable reports whether the caller may use a model, for the list of models; see
	// [Router.Middleware]. Default: all.
	Usable func(ctx context.Context, model string) bool
	// VersionHeader tells the client which version answered. Default
	// X-Model-Version; "-": none.
	VersionHeader string
	// ModelHeader tells the client which model answered, by the name that its
	// upstream knows; a name over 256 bytes is left out. Default X-Model; "-": none.
	ModelHeader string
	// FallbackHeader tells the client which version was decided on, if another one
	// answered: that one failed, or can't do what the request needs. Default
	// X-Fallback-From; "-": none.
	FallbackHeader string
	// Mirror bounds the copies of requests to mirrors.
	Mirror MirrorConfig
	// ErrorHandler answers a request that has no route. Default [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is told of decisions, fallbacks and versions that were passed over.
	// Optional.
	OnEvent func(context.Context, Event)
}

// Router decides and dispatches. It is safe for concurrent use.
type Router struct {
	cfg     Config
	mirrors *mirrors
	mu      sync.Mutex // held to change the table
	table   atomic.Pointer[compiled]
}

// Target is a version and where it runs.
type Target struct {
	// Version names it.
	Version string
	// Upstream is where it runs.
	Upstream string
	// UpstreamModel is the model's name there; "" means the request's.
	UpstreamModel string
	// Capabilities are what it can do; nil means anything. They must not be changed.
	Capabilities *Capabilities
	// Patience is how long it may take to begin an answer before the next
	// version is asked; 0: as long as it likes.
	Patience time.Duration
}

// Decision is where a request goes.
type Decision struct {
	// Target is the version that was decided on. Another one may answer: see
	// [Route.Fallback].
	Target
	// Model is the request's, "" when it names none.
	Model string

	chain  []Target        // Target, then what to fall back on
	needs  *lazyNeeds      // nil: no matter
	sample *rollout.Sample // nil: no rollout measures it
	mirror *mirror         // nil: it is not copied
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
	if err := errors.Join(cfg.checkNames(), cfg.Mirror.check()); err != nil {
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
	return errors.Join(faults...)
}

// SetTable puts another table into force, for requests that begin from now on;
// those under way keep their decision. A bad one is refused whole: the error
// names every fault, and the table before stays.
func (r *Router) SetTable(t Table) error {
	if err := r.install(t); err != nil {
		return err
	}
	r.notify(context.Background(), Event{Kind: Swapped})
	return nil
}

// Table returns the table in force, with the weights that it was given: those of a
// rollout are in its [Rollout.Status]. It must not be changed.
func (r *Router) Table() Table { return r.table.Load().table }

func (r *Router) install(t Table) error {
	if err := t.check(); err != nil {
		return err
	}
	if err := errors.Join(t.checkUpstreams(r.cfg.Upstreams), t.checkRollouts(r.cfg.Rollouts)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table.Store(compile(t, stepsOf(r.cfg.Rollouts)))
	return nil
}

// current is the table with the weights that rollouts are at.
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

// FromContext returns the decision that the middleware made.
func FromContext(ctx context.Context) (Decision, bool) {
	d, ok := ctx.Value(contextKey{}).(*Decision)
	if !ok {
		return Decision{}, false
	}
	return *d, true
}

type targetKey struct{}

// TargetFrom returns the target that a request to an upstream is for: the decided
// one, or one that is fallen back on. It is known below the Transport only.
func TargetFrom(ctx context.Context) (Target, bool) {
	t, ok := ctx.Value(targetKey{}).(*Target)
	if !ok {
		return Target{}, false
	}
	return *t, true
}

// Middleware returns the handler that decides. When every route is for a model, it answers
// what names none but asks which there are, by the table: GET …/models and
// GET …/models/NAME, in the form of OpenAI and of Anthropic at once. It lists the names
// that are [Config.Usable] and whose routes have conditions, but for path and method, that
// the caller meets.
func (r *Router) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		d, err := r.decide(c)
		if errors.Is(err, errNoModel) && r.answerModels(c) {
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

// model finds the model that a request names: in its JSON, form, path or query. A body of
// another kind has none. One that two programs could read differently is refused: the
// upstream might see another model than the one that was decided by. Of a body that is
// longer than what is held (proxy.Bodies) the beginning is read.
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

// badModel marks what is wrong with a body as [ErrModel].
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
