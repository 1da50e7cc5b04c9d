package routing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/idle"
)

// ShadowHeader is the header that is "1" on requests to a mirror. Its response is
// discarded.
const ShadowHeader = "X-Shadow"

const (
	// maxMirrored bounds the body of a request that is copied, in bytes.
	maxMirrored = 256 << 10
	// maxShadow bounds what is read of the response, in bytes.
	maxShadow = 8 << 20
)

// Mirror sends copies of a route's requests to another version (request mirroring). Use it
// to observe a version before it serves users. Its responses are read and discarded: they
// cost what they cost, but no caller is charged for them.
type Mirror struct {
	// Version is the version that gets the copies, named as in Fallback. Required.
	Version string `json:"version"`
	// Share is the part of the requests to copy, above 0 and up to 1. Default: 1.
	Share float64 `json:"share,omitempty"`
}

// MirrorConfig bounds the copies in flight. A request beyond the bound is not copied.
type MirrorConfig struct {
	// Concurrent is the number of copies in flight. Default: 16.
	Concurrent int
	// Timeout bounds the duration of a copy. Default: 1 minute.
	Timeout time.Duration
}

func (cfg *MirrorConfig) check() error {
	if cfg.Concurrent < 0 || cfg.Timeout < 0 {
		return errors.New("routing: Config.Mirror: Concurrent and Timeout must not be negative")
	}
	cfg.Concurrent = cmp.Or(cfg.Concurrent, 16)
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute)
	return nil
}

// mirror is a resolved Mirror.
type mirror struct {
	target Target
	share  float64
}

func (c chains) mirror(r *Route) *mirror {
	if r.Mirror == nil {
		return nil
	}
	target, _ := c.named(r.Mirror.Version, r.Model)
	return &mirror{target: target, share: cmp.Or(r.Mirror.Share, 1)}
}

func (f *faults) mirror(at string, r *Route) {
	m := r.Mirror
	if m == nil {
		return
	}
	if m.Version == "" || m.Version == r.Version {
		f.add(at+".mirror.version", "%q: a version other than the route's own is needed", m.Version)
	}
	if !(m.Share >= 0 && m.Share <= 1) {
		f.add(at+".mirror.share", "%v is not within 0 and 1", m.Share)
	}
}

// mirrors tracks the copies in flight.
type mirrors struct {
	cfg    MirrorConfig
	all    context.Context //nolint:containedctx // of all copies, which outlive their requests
	cancel context.CancelFunc

	mu       sync.Mutex
	drained  bool
	inflight idle.Gate
}

func newMirrors(cfg MirrorConfig) *mirrors {
	m := &mirrors{cfg: cfg}
	m.all, m.cancel = context.WithCancel(context.Background())
	return m
}

// begin reports whether there is room for a copy, and counts it.
func (m *mirrors) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drained || m.inflight.Len() >= m.cfg.Concurrent {
		return false
	}
	m.inflight.Add()
	return true
}

// Drain waits for the mirrored requests in flight. When ctx is done it cancels them and
// returns the context's error. No request is mirrored after Drain.
func (r *Router) Drain(ctx context.Context) error {
	m := r.mirrors
	m.mu.Lock()
	m.drained = true
	m.mu.Unlock()
	if m.inflight.Wait(ctx) == nil {
		return nil
	}
	m.cancel()
	_ = m.inflight.Wait(context.WithoutCancel(ctx)) // they end at once
	return ctx.Err()
}

// mirror sends a copy of a request to its route's mirror. It does not copy bodies that
// stream through, or requests with tools: their calls may have effects.
func (t transport) mirror(req *http.Request, d *Decision) { //nolint:contextcheck // the copy outlives the request
	to := d.mirror
	if to == nil || isRepeat(req.Context()) || to.share < 1 && rand.Float64() >= to.share { //nolint:gosec // no secret
		return
	}
	if _, size, held := body.Segments(req); !held || size == 0 || size > maxMirrored {
		return
	}
	if n := needsOf(req); n.tools || to.target.Capabilities.lacks(n) != "" {
		return
	}
	e := Event{Kind: Mirrored, Model: d.Model, Version: to.target.Version, From: d.Version}
	upstream := t.router.cfg.Upstreams[to.target.Upstream]
	if upstream == nil { // tables are checked against the upstreams
		return
	}
	m := t.router.mirrors
	if !m.begin() {
		e.Kind = MirrorFull
		t.router.notify(req.Context(), e)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithValue(m.all, exchange.TargetKey{}, placed{&to.target}), m.cfg.Timeout)
	out := shadowOf(ctx, req, d.Model, to.target.UpstreamModel) //nolint:contextcheck // it outlives the request
	go func() {
		defer m.inflight.Done()
		defer cancel()
		e.Status, e.Err = exchangeShadow(upstream, out)
		t.router.notify(context.WithoutCancel(ctx), e)
	}()
}

// isRepeat reports whether ctx belongs to an attempt after the first one.
func isRepeat(ctx context.Context) bool {
	a := exchange.Current(ctx)
	return a != nil && a.Number() > 1
}

// shadowOf returns the copy of a request. It shares nothing of the request's context, neither
// the exchange nor the caller, which would be charged for it.
func shadowOf(ctx context.Context, req *http.Request, from, to string) *http.Request {
	out := req.Clone(ctx)
	out.Header.Set(ShadowHeader, "1")
	out.Header.Del("Idempotency-Key") // identifies the original request
	out.Body, _ = body.Replay(req)()  // it is in memory
	if to != "" && to != from {
		if renamed, ok := body.Rename(out, to); ok {
			return renamed
		}
	}
	return out
}

// exchangeShadow sends a copy and reads its whole response, in an exchange of its own that
// no layer takes as evidence.
func exchangeShadow(upstream http.RoundTripper, out *http.Request) (status int, err error) {
	defer func() {
		if v := recover(); v != nil { // it would end the process
			err = fmt.Errorf("routing: the mirror panicked: %v", v)
		}
	}()
	x := &exchange.Exchange{Shadow: true, Managed: true}
	a, out := x.Begin(out)
	res, err := a.Do(out, upstream)
	if err != nil {
		a.Latest().Finish(err) // in case nothing was sent and no layer did
		return 0, err
	}
	_, err = io.CopyN(io.Discard, res.Body, maxShadow)
	_ = res.Body.Close()
	if v := a.Latest().Verdict(); v.Outcome == exchange.Failure && res.StatusCode < http.StatusBadRequest {
		return res.StatusCode, v.Err
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return res.StatusCode, err
}
