// Package live is the gateway at work: what one configuration describes, and how a reload
// replaces it. A Keeper keeps what a reload does not change.
package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/examples/gateway/config"
)

// Gateway serves the public port. It lives as long as the process. Everything that the
// configuration describes is in the current App; a reload replaces it, and the old one
// finishes its requests.
type Gateway struct {
	log       *Log
	file      string // "" = built in
	order     Order
	token     string
	demo      demo
	telemetry *Telemetry
	heap      *heap
	ready     atomic.Bool

	current atomic.Pointer[App]
	cert    atomic.Pointer[tls.Certificate]
	// clientCAs are the authorities of client certificates; nil: none are requested.
	clientCAs atomic.Pointer[x509.CertPool]

	mu      sync.Mutex // held by a reload
	keeper  *Keeper
	retired []*App
	status  Status
}

// Status is the state of the configuration.
type Status struct {
	Revision string `json:"revision"`
	Source   string `json:"source"`
	Reloads  int    `json:"reloads"`
	// LastError is why the latest change was refused; the configuration before it stays.
	LastError string `json:"last_error,omitempty"`
}

// Tag is the revision as an ETag.
func (s Status) Tag() string { return `"` + s.Revision + `"` }

// New returns a Gateway that reads its configuration from a file, "" for the one built in, and
// runs its stages in the given order. Call Load before serving.
func New(l *Log, file string, order Order) *Gateway {
	return &Gateway{log: l, file: file, order: order, token: newToken(), keeper: NewKeeper(l.Logger)}
}

// Load reads the configuration from its file and applies it.
func (g *Gateway) Load(ctx context.Context) error {
	src, err := config.Read(g.file)
	if err == nil {
		err = g.Apply(ctx, src, "")
	}
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.status.LastError = err.Error()
	}
	return err
}

// ErrChanged is returned by Apply when another configuration is in force than was expected.
var ErrChanged = errors.New("the configuration has changed meanwhile")

// Apply puts a configuration in force, or refuses it as a whole. It replaces only one with
// the expected tag; "" and "*" match any.
func (g *Gateway) Apply(ctx context.Context, src config.Source, expected string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if expected != "" && expected != "*" && expected != g.status.Tag() {
		return ErrChanged
	}
	revision := config.Revision(src.Text)
	if g.current.Load() != nil && revision == g.status.Revision {
		g.status.LastError = ""
		return nil
	}
	cfg, err := src.Parse()
	if err != nil {
		return err
	}
	if err := g.startTelemetry(); err != nil { //nolint:contextcheck // it lives as long as the process
		return err
	}
	if g.heap == nil {
		g.heap = startHeap() //nolint:contextcheck // as above
	}
	defer g.keeper.Discard()       // unless it was committed
	next, err := g.build(src, cfg) //nolint:contextcheck // requests bring their own
	if err != nil {
		return err
	}
	for _, name := range src.Renamed() {
		g.log.Warn("configuration: a name has changed; the old one is accepted for one release", "change", name)
	}
	for _, setting := range src.Unused() {
		g.log.Warn("configuration: a setting has no effect; it is accepted for one release", "setting", setting)
	}
	setMemory(cfg.Memory, g.heap, g.Log())
	sampleContention(cfg.Private.ContentionProfiles)
	g.log.batch(!cfg.Log.Sync) //nolint:contextcheck // as above
	g.keeper.Commit(ctx, func() { g.replace(next, revision) })
	return nil
}

// replace makes an App the current one. The caller holds g.mu.
func (g *Gateway) replace(next *App, revision string) {
	g.cert.Store(next.cert)
	g.clientCAs.Store(next.clientCAs)
	if old := g.current.Swap(next); old != nil {
		g.retired = append(g.retired, old)
		g.status.Reloads++
		g.log.Info("configuration reloaded", "revision", revision)
	}
	g.retired = slices.DeleteFunc(g.retired, func(a *App) bool { return a.inflight.Load() == 0 })
	g.status.Revision, g.status.Source, g.status.LastError = revision, next.Source.Name, ""
}

// Current returns what the configuration in force describes; nil before the first Load.
func (g *Gateway) Current() *App { return g.current.Load() }

// Status returns the state of the configuration.
func (g *Gateway) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.status
}

// File returns the file of the configuration; "" is the one built in.
func (g *Gateway) File() string { return g.file }

// Log returns the logger.
func (g *Gateway) Log() *slog.Logger { return g.log.Logger }

// Telemetry returns the observability of the process; nil before the first Load.
func (g *Gateway) Telemetry() *Telemetry { return g.telemetry }

// Token returns the one token of a gateway without other callers; "" when callers have their own.
func (g *Gateway) Token() string {
	if !g.Current().authn.one {
		return ""
	}
	return g.token
}

// Ready reports whether the gateway accepts traffic.
func (g *Gateway) Ready() bool { return g.ready.Load() }

// SetReady says whether the gateway accepts traffic: after the start and before the end it does not.
func (g *Gateway) SetReady(ready bool) { g.ready.Store(ready) }

// patience is how long a client may take with a body that is not read, and with the end
// of a response.
const patience = 10 * time.Second

// ServeHTTP implements http.Handler, for the public port.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.ProtoMajor == 2:
		// The rest of a response waits for a window that the client may never open.
		defer func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience)) }()
	case r.ContentLength != 0:
		// Before net/http sends a refusal it reads the rest of the body, for as long as that
		// takes. Stages that need the body set bounds of their own.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
	}
	a := g.enter()
	defer a.inflight.Add(-1)
	if !g.ready.Load() && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // clients come back through the load balancer
	}
	if group := a.Find(r.URL.Path); group != nil {
		group.handler.ServeHTTP(w, r)
		return
	}
	a.nowhere.ServeHTTP(w, r)
}

// enter counts a request in the current App, so that a reload at the same
// moment can't forget it.
func (g *Gateway) enter() *App {
	for {
		a := g.current.Load()
		a.inflight.Add(1)
		if a == g.current.Load() {
			return a
		}
		a.inflight.Add(-1)
	}
}

// Drain waits until the streams and tunnels of all requests have ended; at the end of ctx it
// ends them. It reports whether all ended by themselves.
func (g *Gateway) Drain(ctx context.Context) bool {
	g.mu.Lock()
	apps := append(slices.Clone(g.retired), g.current.Load())
	g.mu.Unlock()
	var cut atomic.Bool
	var wg sync.WaitGroup
	for _, a := range apps {
		for _, group := range a.Groups {
			wg.Go(func() {
				if group.drain(ctx) != nil {
					cut.Store(true)
				}
			})
		}
	}
	wg.Wait()
	return !cut.Load()
}

// Close ends everything that the gateway runs besides its ports.
func (g *Gateway) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keeper.Close()
	g.demo.close()
	if g.telemetry != nil {
		if err := g.telemetry.close(); err != nil {
			g.log.Warn("telemetry was not sent", "error", err)
		}
	}
	if g.heap != nil {
		g.heap.stop()
	}
	g.log.batch(false) // last: the lines of all that ended before are written
}
