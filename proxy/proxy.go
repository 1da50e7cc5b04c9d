package proxy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/unixsock"
)

// Config configures a Proxy. Only Transport is required.
type Config struct {
	// Transport sends requests upstream: a routing.Transport, a balance.Pool, or the result of
	// [NewTransport]. Required.
	Transport http.RoundTripper

	// Target is the server that receives all requests, as https://host/base, or
	// unix:/run/vllm.sock:/base for one on a Unix socket, which needs the Transport of
	// [NewTransport]. Its path is prefixed to the request's. Default: nil, the Transport chooses the address, as
	// balance.Pool does, and receives the client's Host.
	Target *url.URL

	// Rewrite changes the outbound request, once per exchange, after hop-by-hop and forwarding
	// headers were set. Use it to add an upstream's key or a verified identity. Default: nil,
	// no change.
	Rewrite func(c *gin.Context, out *http.Request)

	// MaxBody is the largest request body, in bytes, that is read before the first attempt, so
	// that it can be sent again and the response to it can't be cut by its own upload. A longer
	// body is streamed and sent once, and its connection is closed if it breaks off. Default,
	// and maximum: the Limit of [Bodies]. Negative: every body that no earlier stage has read
	// is streamed, for bidirectional protocols. gRPC is always streamed.
	MaxBody int64

	// Retry configures retries. Default: see [Retry].
	Retry Retry

	// Hedge starts a second attempt beside a slow one. Default: nil, off.
	Hedge *Hedge

	// Class returns the name of a request's latency class, such as its model, for Hedge and for
	// deadlines: an attempt is not started if at least half of its class would respond too
	// late. At most 1000 classes are kept. Default: nil, one class.
	Class func(*gin.Context) string

	// Timeouts bounds each part of an exchange; [Proxy.SetTimeouts] changes it at run time.
	// Default: see [Timeouts].
	Timeouts Timeouts

	// TrustedProxies are the peers with Forwarded and X-Forwarded-* headers to keep and
	// extend. Those of all other peers are replaced. Default: none.
	TrustedProxies []netip.Prefix

	// TrustUnix trusts peers on a Unix socket as well. Default: false.
	TrustUnix bool

	// AllowUnderscores passes header names with underscores. Many servers read X_User_Id as
	// X-User-Id. Default: false, they are removed.
	AllowUnderscores bool

	// Via is the gateway's pseudonym in the Via header. It must be unique: a request that
	// already carries it is rejected as a loop (508). Default: "ginfer-" and eight random
	// hexadecimal digits.
	Via string

	// ErrorHandler responds to a request that could not be relayed. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)

	// OnEvent is called after each attempt and each exchange. It may be called concurrently.
	// Default: nil, no events.
	OnEvent func(context.Context, Event)
}

// Proxy relays requests to an upstream. It is safe for concurrent use.
type Proxy struct {
	cfg      Config
	via      [2]string // this hop in Via, for requests over HTTP/1.1 and HTTP/2
	retry    retryPolicy
	hedge    *Hedge
	budget   *budget      // of all extra attempts
	hedges   *hedgeBudget // nil: hedging is off
	paces    paces
	timeouts atomic.Pointer[limits]
	buffers  buffers
	tunnels  tunnels
}

// New returns a Proxy. It returns an error that joins all faults of cfg.
func New(cfg Config) (*Proxy, error) {
	retry, retryErr := cfg.Retry.resolve()
	timeouts, timeoutErr := cfg.Timeouts.limits()
	hedge, hedgeErr := cfg.Hedge.resolve()
	err := fault.Join(hedgeErr, checkTransport(cfg), checkTarget(cfg.Target), checkVia(cfg.Via), retryErr, timeoutErr)
	if err != nil {
		return nil, err
	}
	if cfg.Target != nil && cfg.Target.Scheme == unixsock.Scheme {
		cfg.Target, _ = socket(cfg.Target) // checked
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = math.MaxInt64
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	if cfg.Via == "" {
		cfg.Via = randomPseudonym()
	}
	now := time.Now()
	p := &Proxy{
		cfg: cfg, via: [2]string{"1.1 " + cfg.Via, "2.0 " + cfg.Via},
		retry: retry, budget: newBudget(retry.ratio, retry.reserve, now), hedge: hedge, paces: newPaces(),
	}
	if hedge != nil {
		p.hedges = &hedgeBudget{ratio: hedge.Ratio}
	}
	p.timeouts.Store(&timeouts)
	return p, nil
}

// Handler returns the handler that relays requests. It writes the whole response, so it must be
// the last handler. On an error it calls Config.ErrorHandler.
func (p *Proxy) Handler() gin.HandlerFunc { return p.handle }

// SetTimeouts replaces the timeouts. It applies to exchanges that begin afterwards.
func (p *Proxy) SetTimeouts(t Timeouts) error {
	resolved, err := t.limits()
	if err != nil {
		return err
	}
	p.timeouts.Store(&resolved)
	return nil
}

// Timeouts returns the current timeouts, including defaults.
func (p *Proxy) Timeouts() Timeouts { return p.timeouts.Load().Timeouts }

func (p *Proxy) handle(c *gin.Context) {
	x := &call{p: p, c: c, start: time.Now(), timeouts: p.timeouts.Load(), outcome: Failure, err: errUnfinished}
	defer x.end()
	if err := p.refuse(c.Request); err != nil {
		if errors.Is(err, ErrUpgrade) {
			// The server would wait for the body before it responds, and the client for the
			// other protocol before it sends the body.
			c.Header("Connection", "close")
		}
		x.fail(err)
		return
	}
	if err := x.prepare(); err != nil {
		x.fail(err)
		return
	}
	res, err := x.run() //nolint:bodyclose // a delivery closes it
	if err != nil {
		x.fail(err)
		return
	}
	d := delivery{call: x, res: res}
	if res.StatusCode == http.StatusSwitchingProtocols {
		d.tunnel()
		return
	}
	d.run()
}

// class returns the request's latency class. The name is cloned, so that it does not retain the
// string it was cut from.
func (p *Proxy) class(c *gin.Context) string {
	if p.cfg.Class == nil {
		return ""
	}
	name := p.cfg.Class(c)
	if len(name) > maxClass {
		return tooLong
	}
	return strings.Clone(name)
}

func checkTransport(cfg Config) error {
	if cfg.Transport == nil {
		return errors.New("proxy: Config.Transport is required")
	}
	return nil
}

// socket returns the HTTP URL for a Target on a Unix socket.
func socket(u *url.URL) (*url.URL, error) {
	return unixsock.Parse(unixsock.Scheme + ":" + u.Opaque + u.Path)
}

func checkTarget(u *url.URL) error {
	switch {
	case u == nil:
		return nil
	case u.Scheme == unixsock.Scheme:
		if _, err := socket(u); err != nil {
			return fmt.Errorf("proxy: Config.Target %q: %w", u.Redacted(), err)
		}
		return nil
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("proxy: Config.Target %q: the scheme must be http or https", u.Redacted())
	case u.Host == "":
		return fmt.Errorf("proxy: Config.Target %q: no host", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("proxy: Config.Target %q: only scheme, host and path are allowed", u.Redacted())
	}
	return nil
}
