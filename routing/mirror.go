package routing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/sse"
	"github.com/ginfer/ginfer/internal/usage"
)

// ShadowHeader is "1" on requests to a mirror: nobody waits for the answer.
const ShadowHeader = "X-Shadow"

const (
	// maxMirrored bounds the body of a request that is copied, in bytes.
	maxMirrored = 256 << 10
	// maxShadow bounds what is read of the answer.
	maxShadow = 8 << 20
)

// Mirror sends copies of some of a route's requests to another version, to see how that
// does before anybody depends on it. What it answers is read and thrown away. It costs
// what those answers cost, but no caller is charged for them.
type Mirror struct {
	// Version gets the copies; it is found as those of Fallback are. Required.
	Version string `json:"version"`
	// Share of the requests, above 0 and up to 1. Default 1.
	Share float64 `json:"share,omitempty"`
}

// MirrorConfig bounds the copies that are under way. A request beyond that is not copied.
type MirrorConfig struct {
	// Concurrent is how many may be under way. Default 16.
	Concurrent int
	// Timeout ends one. Default 1 minute.
	Timeout time.Duration
}

func (cfg *MirrorConfig) check() error {
	if cfg.Concurrent < 0 || cfg.Timeout < 0 {
		return errors.New("routing: Config.Mirror: Concurrent and Timeout must not be negative")
	}
	preset(&cfg.Concurrent, 16)
	preset(&cfg.Timeout, time.Minute)
	return nil
}

// mirror is a Mirror made ready.
type mirror struct {
	target Target
	share  float64
}

func (c chains) mirror(r *Route) *mirror {
	if r.Mirror == nil {
		return nil
	}
	target, _ := c.named(r.Mirror.Version, r.Model)
	m := &mirror{target: target, share: r.Mirror.Share}
	preset(&m.share, 1)
	return m
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

// mirrors are the copies under way.
type mirrors struct {
	cfg    MirrorConfig
	all    context.Context //nolint:containedctx // of all copies: they outlive their requests
	cancel context.CancelFunc

	mu    sync.Mutex
	count int
	ended bool
	wg    sync.WaitGroup
}

func newMirrors(cfg MirrorConfig) *mirrors {
	m := &mirrors{cfg: cfg}
	m.all, m.cancel = context.WithCancel(context.Background()) //nolint:gosec // Drain calls it
	return m
}

// begin takes a place and reports whether there was one.
func (m *mirrors) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended || m.count == m.cfg.Concurrent {
		return false
	}
	m.count++
	m.wg.Add(1)
	return true
}

func (m *mirrors) end() {
	m.mu.Lock()
	m.count--
	m.mu.Unlock()
	m.wg.Done()
}

// Drain waits until the copies of requests to mirrors have ended; at the end of ctx it
// ends them, and returns the context's error. No request is copied after it.
func (r *Router) Drain(ctx context.Context) error {
	r.mirrors.mu.Lock()
	r.mirrors.ended = true
	idle := r.mirrors.count == 0
	r.mirrors.mu.Unlock()
	if idle {
		return nil
	}
	stop := context.AfterFunc(ctx, r.mirrors.cancel)
	r.mirrors.wg.Wait()
	if !stop() {
		return ctx.Err()
	}
	return nil
}

// mirror sends a copy of a request to its route's mirror, if it is one that is copied: not
// what streams through the gateway, or may have tools that act.
func (t transport) mirror(req *http.Request, d *Decision) { //nolint:contextcheck // the copy outlives the request
	to := d.mirror
	if to == nil || attempt.From(req.Context()).Number() > 1 || to.share < 1 && rand.Float64() >= to.share { //nolint:gosec // no secret
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
	ctx, cancel := context.WithTimeout(context.WithValue(m.all, targetKey{}, &to.target), m.cfg.Timeout)
	out := shadowOf(ctx, req, d.Model, to.target.UpstreamModel) //nolint:contextcheck // it outlives the request
	go func() {
		defer m.end()
		defer cancel()
		e.Status, e.Err = exchangeShadow(upstream, out)
		t.router.notify(context.WithoutCancel(ctx), e)
	}()
}

// shadowOf is the copy. It has nothing of the request's context: neither its try nor its
// caller, to whom it would be charged.
func shadowOf(ctx context.Context, req *http.Request, from, to string) *http.Request {
	out := req.Clone(ctx)
	out.Header.Set(ShadowHeader, "1")
	out.Header.Del("Idempotency-Key") // it is the request's own
	again, _ := body.Again(req)()     // it is held
	out.Body = again
	if to != "" && to != from {
		if renamed, ok := body.Rename(out, to); ok {
			return renamed
		}
	}
	return out
}

// exchangeShadow sends a copy and reads the answer to its end.
func exchangeShadow(upstream http.RoundTripper, out *http.Request) (status int, err error) {
	defer func() {
		if v := recover(); v != nil { // nobody else would stop it from ending the process
			err = fmt.Errorf("routing: the mirror panicked: %v", v)
		}
	}()
	res, err := upstream.RoundTrip(out)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode, readShadow(res)
}

// readShadow reads an answer to its end, and says what a stream says of itself.
func readShadow(res *http.Response) error {
	var stream usage.Scanner
	to := io.Discard
	if sse.Is(res.Header.Get("Content-Type")) {
		stream.Reset(res.Header)
		to = &stream
	}
	_, err := io.CopyN(to, res.Body, maxShadow)
	switch {
	case stream.Failed():
		return attempt.ErrSaid
	case err == nil, !errors.Is(err, io.EOF):
		return err
	case stream.Events() > 0 && !stream.Ended():
		return attempt.ErrCut
	}
	return nil
}
