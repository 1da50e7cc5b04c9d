package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/stream"
)

// gateway is what lives as long as the process. Everything that the
// configuration describes is in the current app; a reload puts a new one in
// its place, and the old one finishes its requests.
type gateway struct {
	log   *slog.Logger
	path  string // of the configuration; "" = built in
	token string
	demo  demo
	meter *stream.Meter // of what models are asked and respond
	plain *stream.Meter // the same, for upstreams whose requests stay as they are
	*telemetry
	ready atomic.Bool

	current atomic.Pointer[app]
	admin   atomic.Pointer[http.Handler] // of the private port, once that is open
	cert    atomic.Pointer[tls.Certificate]
	// clientCAs are the authorities of client certificates; nil: none are asked for.
	clientCAs atomic.Pointer[x509.CertPool]

	mu      sync.Mutex // held by a reload
	retired []*app
	pools   map[string]*pool // by name
	authn   *authn
	store   *store
	limits  map[string]*limits // by group
	answers *answers
	caches  map[string]*groupCache // by group
	work    *work                  // nil: there is no queue

	bodies   *proxy.Bodies
	bodiesOf proxy.BodiesConfig // as configured

	progress *progress
	rollouts map[string]*runningRollout // by name
	state    reloadState
}

// reloadState is what the admin port tells of the configuration.
type reloadState struct {
	Revision string `json:"revision"`
	Source   string `json:"source"`
	Reloads  int    `json:"reloads"`
	// LastError is why the latest change was refused; the one before stays.
	LastError string `json:"last_error,omitempty"`
}

// tag is the revision as an ETag.
func (s reloadState) tag() string { return `"` + s.Revision + `"` }

func newGateway(log *slog.Logger, path string) *gateway {
	return &gateway{log: log, path: path, token: newToken(), pools: map[string]*pool{}}
}

// observed sets up what the gateway tells of itself, once.
func (g *gateway) observed() error {
	if g.telemetry != nil {
		return nil
	}
	t, err := g.newTelemetry()
	if err != nil {
		return err
	}
	cfg := stream.MeterConfig{OnUsage: t.hooks.Usage, OnToken: t.hooks.Token, Report: ratelimit.Report}
	if g.meter, err = stream.NewMeter(cfg); err != nil {
		return err
	}
	cfg.NoInject = true
	if g.plain, err = stream.NewMeter(cfg); err != nil {
		return err
	}
	g.telemetry = t
	return nil
}

// load reads the configuration from its file and applies it.
func (g *gateway) load(ctx context.Context) error {
	src, err := readConfig(g.path)
	if err == nil {
		err = g.apply(ctx, src, "")
	}
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.state.LastError = err.Error()
	}
	return err
}

// errChanged: the configuration is not the one that was to be replaced.
var errChanged = errors.New("the configuration is another one by now")

// apply puts a configuration into force, or refuses it whole. It replaces only one with
// the tag that is expected; "" and "*" are any.
func (g *gateway) apply(ctx context.Context, src source, expected string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if expected != "" && expected != "*" && expected != g.state.tag() {
		return errChanged
	}
	revision := revisionOf(src.text)
	if g.current.Load() != nil && revision == g.state.Revision {
		g.state.LastError = ""
		return nil
	}
	cfg, err := src.parse()
	if err != nil {
		return err
	}
	if err := g.observed(); err != nil { //nolint:contextcheck // it lives as long as the process
		return err
	}
	next, err := g.build(ctx, src, cfg)
	if err != nil {
		return err
	}
	setMemory(cfg.Memory, g.log)
	sampleContention(cfg.Private.ContentionProfiles)
	g.cert.Store(next.cert)
	g.clientCAs.Store(next.clientCAs)
	if old := g.current.Swap(next); old != nil {
		g.retired = append(g.retired, old)
		g.state.Reloads++
		g.log.Info("configuration reloaded", "revision", revision)
	}
	g.retired = slices.DeleteFunc(g.retired, func(a *app) bool { return a.inflight.Load() == 0 })
	g.state.Revision, g.state.Source, g.state.LastError = revision, src.name, ""
	return nil
}

func revisionOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// patience is how long a client may take with a body that nobody reads, and with the end
// of an answer.
const patience = 10 * time.Second

// ServeHTTP serves the public port with whatever is current.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.ProtoMajor == 2:
		// What is left to be sent waits for a window that the client may never open.
		defer func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience)) }()
	case r.ContentLength != 0:
		// Before net/http sends a refusal it reads what is left of the body, for as long as
		// that takes. Who wants the body sets bounds of its own.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
	}
	a := g.enter()
	defer a.inflight.Add(-1)
	if !g.ready.Load() && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // clients come back through the load balancer
	}
	if group := a.find(r.URL.Path); group != nil {
		group.handler.ServeHTTP(w, r)
		return
	}
	a.nowhere.ServeHTTP(w, r)
}

// nowhere answers what no group takes.
func nowhere(c *gin.Context) {
	apierror.Abort(c, &apierror.Error{Status: http.StatusNotFound, Code: "no_route", Message: "No route group takes this path."})
}

// enter counts a request in the current app, so that a reload at the same
// moment can't forget it.
func (g *gateway) enter() *app {
	for {
		a := g.current.Load()
		a.inflight.Add(1)
		if a == g.current.Load() {
			return a
		}
		a.inflight.Add(-1)
	}
}

// apps are the current one and those that still have requests.
func (g *gateway) apps() []*app {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append(slices.Clone(g.retired), g.current.Load())
}
