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
)

// Config says where requests go and how. Only Transport is required.
type Config struct {
	// Transport carries requests upstream: a routing.Transport, a
	// balance.Pool, or what [NewTransport] returns. Required.
	Transport http.RoundTripper

	// Target is the server all requests go to, as https://host/base; its path
	// goes in front of the request's. Default nil: Transport chooses the
	// address, as balance.Pool does, and gets the client's Host.
	Target *url.URL

	// Rewrite changes the outbound request last, after hop-by-hop and
	// forwarding headers have been dealt with: the place to add an upstream
	// key or a verified identity. It runs once per exchange. Optional.
	Rewrite func(c *gin.Context, out *http.Request)

	// MaxBody is the largest request body, in bytes, that is read whole before
	// the first try, so that it can be sent again and a stream's answer can't
	// be cut by its own upload. A longer one is streamed, sent once, and costs
	// its connection if it breaks. Default, and at most: the Limit of [Bodies];
	// negative: every body that no stage before has read is streamed, as protocols
	// need that talk both ways at once. gRPC always is.
	MaxBody int64

	// Retry says when a try is repeated.
	Retry Retry

	// Hedge has a second try begun beside a slow one. Default nil: none is.
	Hedge *Hedge

	// Class names the kind of a request whose answers take alike to begin, as its
	// model, for Hedge and for deadlines: a try is not begun that most of its kind
	// would not begin to answer in time. At most 1000 are told apart. Default: all
	// are one class.
	Class func(*gin.Context) string

	// Timeouts bound each part of an exchange; [Proxy.SetTimeouts] changes
	// them at run time.
	Timeouts Timeouts

	// TrustedProxies are the peers whose Forwarded and X-Forwarded-* headers
	// are kept and extended. From all others they are replaced. Default none.
	TrustedProxies []netip.Prefix

	// AllowUnderscores passes header names with underscores on. By default
	// they are dropped: many servers read X_User_Id as X-User-Id.
	AllowUnderscores bool

	// Via is this gateway's pseudonym in the Via header; a request that
	// already carries it is refused as a loop (508). It must be unique.
	// Default "ginfer-" and eight random hexadecimal digits.
	Via string

	// ErrorHandler answers a request that could not be relayed. Default
	// [apierror.Abort].
	ErrorHandler func(*gin.Context, error)

	// OnEvent is told of every finished try and every finished exchange. It
	// may be called by many goroutines at once. Optional.
	OnEvent func(context.Context, Event)
}

// Proxy relays requests. It is safe for concurrent use.
type Proxy struct {
	cfg      Config
	via      [2]string // what a request over HTTP/1.1 and HTTP/2 adds to Via
	retry    retryPolicy
	hedge    *Hedge
	budget   *budget // of all extra tries
	hedges   *budget // of hedges; nil: there are none
	paces    paces
	timeouts atomic.Pointer[limits]
	buffers  buffers
	tunnels  tunnels
}

// New checks cfg and returns a Proxy. The error joins every fault found.
func New(cfg Config) (*Proxy, error) {
	retry, retryErr := cfg.Retry.resolve()
	timeouts, timeoutErr := cfg.Timeouts.limits()
	hedge, hedgeErr := cfg.Hedge.resolve()
	err := errors.Join(hedgeErr, checkTransport(cfg), checkTarget(cfg.Target), checkVia(cfg.Via), retryErr, timeoutErr)
	if err != nil {
		return nil, err
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
		p.hedges = newBudget(hedge.Ratio, 0, now)
	}
	p.timeouts.Store(&timeouts)
	return p, nil
}

// Handler returns the handler that relays. It writes the whole answer; no
// handler should follow it. On a fault it calls the ErrorHandler.
func (p *Proxy) Handler() gin.HandlerFunc { return p.handle }

// SetTimeouts changes the limits of all exchanges that begin from now on.
func (p *Proxy) SetTimeouts(t Timeouts) error {
	resolved, err := t.limits()
	if err != nil {
		return err
	}
	p.timeouts.Store(&resolved)
	return nil
}

// Timeouts returns the limits in force, with the defaults filled in.
func (p *Proxy) Timeouts() Timeouts { return p.timeouts.Load().Timeouts }

func (p *Proxy) handle(c *gin.Context) {
	x := &call{p: p, c: c, start: time.Now(), timeouts: p.timeouts.Load(), outcome: Failure, err: errUnfinished}
	defer x.end()
	if err := p.refuse(c.Request); err != nil {
		if errors.Is(err, ErrUpgrade) {
			// The server would wait for the body before it responds, and the client, before
			// it sends that, for the other protocol.
			c.Header("Connection", "close")
		}
		x.fail(err)
		return
	}
	if err := x.prepare(); err != nil {
		x.fail(err)
		return
	}
	res, err := x.run() //nolint:bodyclose // relay and tunnel close it
	if err != nil {
		x.fail(err)
		return
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		x.tunnel(res)
		return
	}
	x.relay(res)
}

// class is the kind of a request. The name is kept, so what it was cut out of must not
// be.
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

func checkTarget(u *url.URL) error {
	switch {
	case u == nil:
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
