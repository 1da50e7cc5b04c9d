package live

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/stream"
)

// Stages builds the stages of one group. Each method is one stage, nil when it is off; package
// chain gives their order. After an error all further stages are nil.
type Stages struct {
	// Group is the group's configuration.
	Group *config.Group
	// Keeper keeps what a reload does not change.
	Keeper *Keeper
	// Hooks log and count events.
	Hooks events.Hooks

	b      *builder
	out    *Group
	queued bool // the stages are for requests of the queue, with a known caller
	err    error
}

// Fail refuses the configuration. The first error counts.
func (s *Stages) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// off reports whether a stage is not to be built.
func (s *Stages) off(stage string) bool { return s.err != nil || !s.Group.Has(stage) }

// AccessLog logs each request when it has ended.
func (s *Stages) AccessLog() gin.HandlersChain {
	return gin.HandlersChain{s.b.g.telemetry.access.Middleware()}
}

// Tracing records a span for each request.
func (s *Stages) Tracing() gin.HandlersChain {
	return gin.HandlersChain{s.b.g.telemetry.Tracing.Middleware()}
}

// Metrics counts requests, tokens and durations.
func (s *Stages) Metrics() gin.HandlersChain {
	return gin.HandlersChain{s.b.g.telemetry.Metrics.Middleware()}
}

// Recent remembers the latest requests for /debug/requests.
func (s *Stages) Recent() gin.HandlersChain {
	return gin.HandlersChain{s.b.g.telemetry.Recent.Middleware()}
}

// Live counts for the charts of the page.
func (s *Stages) Live() gin.HandlersChain {
	return gin.HandlersChain{s.b.g.telemetry.Live.Middleware()}
}

// Route names the group for all of these.
func (s *Stages) Route() gin.HandlersChain { return gin.HandlersChain{observe.Route(s.Group.Path)} }

// Recovery responds with 500 when a handler panics.
func (s *Stages) Recovery() gin.HandlersChain {
	return gin.HandlersChain{apierror.Recovery(s.b.g.LogPanic)}
}

// LogPanic logs a panic of a handler.
func (g *Gateway) LogPanic(c *gin.Context, value any, stack []byte) {
	g.log.Error("panic", "method", c.Request.Method, "path", c.Request.URL.Path, "value", value, "stack", string(stack))
}

// Bodies bounds request bodies, and buffers them for the other stages.
func (s *Stages) Bodies() gin.HandlersChain {
	if s.err != nil {
		return nil
	}
	return gin.HandlersChain{s.b.bodies.Within(s.Group.Proxy.MaxBody).Middleware()}
}

// Methods responds with 405 to methods that the group does not allow.
func (s *Stages) Methods() gin.HandlersChain {
	return gin.HandlersChain{func(c *gin.Context) {
		if s.Group.Allowed(c.Request.Method) {
			return
		}
		c.Header("Allow", strings.Join(s.Group.Methods, ", "))
		apierror.Abort(c, &apierror.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "The method is not allowed here."})
	}}
}

// Addresses is the stage ip: it refuses client addresses.
func (s *Stages) Addresses() gin.HandlersChain {
	ip := s.Group.IP
	if s.off(config.StageIP) || ip == nil {
		return nil
	}
	filter, err := auth.NewIPFilter(auth.IPFilterConfig{Allow: ip.Allow, Deny: ip.Deny, TrustedProxies: s.b.Config.TrustedProxies, OnEvent: s.Hooks.Address})
	if err != nil {
		s.Fail(err)
		return nil
	}
	return gin.HandlersChain{filter.Middleware()}
}

// Authentication is the stage auth: it identifies the caller. Requests of the queue carry the
// identity of their submitter, and need not come from the same group.
func (s *Stages) Authentication() gin.HandlersChain {
	if s.off(config.StageAuth) || s.queued {
		return nil
	}
	a, err := auth.New(auth.Config{Verifiers: s.b.authn.verifiers, OnEvent: s.Hooks.Auth})
	if err != nil {
		s.Fail(err)
		return nil
	}
	return gin.HandlersChain{a.Middleware()}
}

// Scopes is part of the stage auth: it refuses callers without the group's scopes.
func (s *Stages) Scopes() gin.HandlersChain {
	if s.off(config.StageAuth) || len(s.Group.Scopes) == 0 {
		return nil
	}
	return gin.HandlersChain{auth.Require(s.Group.Scopes...)}
}

// Models is part of the stage auth: it refuses models that the caller may not use.
func (s *Stages) Models() gin.HandlersChain {
	if s.off(config.StageAuth) {
		return nil
	}
	return gin.HandlersChain{auth.RequireModel(auth.RequireModelConfig{})}
}

// Routing is the stage routing: it decides on the version, and with it on the upstream.
func (s *Stages) Routing() gin.HandlersChain {
	if s.off(config.StageRouting) {
		return nil
	}
	s.out.Rollouts = s.b.rollouts[s.Group.Path]
	router, err := s.router(s.Group.Routing)
	if err != nil {
		s.Fail(err)
		return nil
	}
	s.out.router = router
	return gin.HandlersChain{router.Middleware()}
}

// Feedback serves verdicts of users at GROUP/feedback, for rollouts.
func (s *Stages) Feedback() gin.HandlersChain {
	if s.err != nil || len(s.out.Rollouts) == 0 {
		return nil
	}
	return gin.HandlersChain{feedback(s.Group)}
}

// Streams is the stage stream: heartbeats and limits of streams. When it is off, clients that
// do not read are dropped all the same.
func (s *Stages) Streams() gin.HandlersChain {
	if s.err != nil {
		return nil
	}
	cfg, c := stream.Config{Heartbeat: -1, Idle: -1}, s.Group.Stream
	if s.Group.Has(config.StageStream) {
		cfg = stream.Config{
			Heartbeat: time.Duration(c.Heartbeat), WriteTimeout: time.Duration(c.WriteTimeout), Idle: time.Duration(c.Idle), Total: time.Duration(c.Total),
		}
	}
	cfg.OnEvent = s.Hooks.Stream
	streams, err := stream.New(cfg)
	if err != nil {
		s.Fail(err)
		return nil
	}
	s.out.Streams = streams
	return gin.HandlersChain{streams.Middleware()}
}

// Destination is the upstream of the version that was decided on, with fallbacks and mirrors;
// without the stage routing the group's only upstream.
func (s *Stages) Destination() Layer {
	if s.out.router == nil {
		return func(http.RoundTripper) http.RoundTripper { return s.b.Upstreams[s.Group.Upstream] }
	}
	return func(http.RoundTripper) http.RoundTripper { return s.out.router.Transport() }
}

func (s *Stages) router(cfg *config.Routing) (*routing.Router, error) {
	table, err := routing.ParseTable(cfg.Table)
	if err != nil {
		return nil, err
	}
	upstreams := make(map[string]http.RoundTripper, len(s.b.Upstreams))
	for name, u := range s.b.Upstreams {
		upstreams[name] = u
	}
	rollouts := make([]*rollout.Rollout, len(s.out.Rollouts))
	for i, r := range s.out.Rollouts {
		rollouts[i] = r.Rollout
	}
	var mirror routing.MirrorConfig
	if m := cfg.Mirror; m != nil {
		mirror = routing.MirrorConfig{Concurrent: m.Concurrent, Timeout: time.Duration(m.Timeout)}
	}
	var usable func(context.Context, string) bool
	if s.Group.Has(config.StageAuth) {
		usable = auth.MayUse
	}
	return routing.New(routing.Config{
		Table: table, Rollouts: rollouts, Mirror: mirror, Upstreams: upstreams, StickyHeader: cfg.StickyHeader,
		Subject: subject, Tags: auth.TagsOf, Usable: usable, OnEvent: s.Hooks.Routing,
	})
}

// subject is the caller, except for the one token that all may share.
func subject(ctx context.Context) (string, bool) {
	if id, ok := auth.FromContext(ctx); ok && id.Issuer == tokenIssuer {
		return "", false
	}
	return auth.SubjectOf(ctx)
}
