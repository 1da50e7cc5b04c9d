package live

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
)

// Proxy forwards requests through a transport, with retries and timeouts, and responds.
func (s *Stages) Proxy(transport http.RoundTripper) gin.HandlersChain {
	if s.err != nil {
		return nil
	}
	c := &s.Group.Proxy
	repeat := proxy.Idempotent
	if c.RetryPosts {
		repeat = proxy.Always
	}
	p, err := proxy.New(proxy.Config{
		Transport:      transport,
		MaxBody:        min(c.MaxBody, 0),
		TrustedProxies: prefixes(s.b.Config.TrustedProxies),
		TrustUnix:      slices.Contains(s.b.Config.TrustedProxies, config.PeersOnSockets),
		Retry:          proxy.Retry{Attempts: c.Attempts, Repeat: repeat},
		Timeouts: proxy.Timeouts{
			Connect: time.Duration(c.Connect), FirstByte: time.Duration(c.FirstByte),
			FirstContent: time.Duration(c.FirstContent), Hold: time.Duration(c.Prefetch),
			Idle: time.Duration(c.Idle), Stall: time.Duration(c.Stall),
			Total: time.Duration(c.Total), Tunnel: time.Duration(c.Tunnel),
		},
		Hedge:   hedge(c.Hedge),
		Class:   version,
		Rewrite: s.rewrite(),
		OnEvent: s.Hooks.Proxy,
	})
	if err != nil {
		s.Fail(err)
		return nil
	}
	s.out.Proxy = p
	return gin.HandlersChain{p.Handler()}
}

// rewrite changes requests on their way out.
func (s *Stages) rewrite() func(*gin.Context, *http.Request) {
	cfg, forward := s.Group, s.b.authn.forward
	return func(c *gin.Context, out *http.Request) {
		observe.ForwardRequestID(c, out)
		if cfg.Has(config.StageAuth) {
			hideCredential(out)
		}
		if forward != nil { // also without the stage: clients must not send these headers
			forward.Rewrite(c, out)
		}
		if cfg.Proxy.StripPrefix {
			cutPrefix(out.URL, strings.TrimSuffix(cfg.Path, "/"))
		}
	}
}

func hedge(cfg *config.Hedge) *proxy.Hedge {
	if cfg == nil {
		return nil
	}
	return &proxy.Hedge{Ratio: cfg.Ratio, Quantile: cfg.Quantile}
}

// version is the one that was decided on: its responses take equally long to begin.
func version(c *gin.Context) string {
	d, _ := routing.FromContext(c.Request.Context())
	return d.Version
}

// hideCredential removes the caller's credential from a request to an upstream.
func hideCredential(out *http.Request) {
	for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		out.Header.Del(name)
	}
}

func prefixes(cidrs []string) []netip.Prefix {
	var out []netip.Prefix
	for _, cidr := range cidrs {
		if cidr != config.PeersOnSockets {
			out = append(out, netip.MustParsePrefix(cidr)) // checked when the configuration was read
		}
	}
	return out
}
