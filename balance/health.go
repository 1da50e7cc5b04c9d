package balance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
)

const (
	// maxChecks is the number of concurrent checks.
	maxChecks = 32
	// maxCheckBody is how much of a check's response is read, in bytes.
	maxCheckBody = 64 << 10
	// checkJitter spreads the checks of many gateways, as a share of the interval.
	checkJitter = 0.1
)

// Health configures active health checks: a GET is successful with a status from 200 to 399.
// They run only inside [Pool.Run]; the first result alone decides. Zero values select the
// defaults.
type Health struct {
	// Path is the path of the GET, below the endpoint's base. Default: /health; "-": no active
	// checks.
	Path string
	// Interval is the time between checks, plus or minus a tenth. Default: 5 s.
	Interval time.Duration
	// Timeout bounds one check. Default: 2 s.
	Timeout time.Duration
	// Healthy and Unhealthy are the numbers of consecutive good or bad results after which the
	// endpoint becomes healthy or unhealthy. Default: 2 and 3.
	Healthy, Unhealthy int
	// Check replaces the GET; it returns nil for a healthy endpoint. Default: nil, the GET.
	Check func(ctx context.Context, e Endpoint) error
}

func (h *Health) resolve() error {
	if h.Path == "" {
		h.Path = "/health"
	}
	h.Interval = cmp.Or(h.Interval, 5*time.Second)
	h.Timeout = cmp.Or(h.Timeout, 2*time.Second)
	h.Healthy = cmp.Or(h.Healthy, 2)
	h.Unhealthy = cmp.Or(h.Unhealthy, 3)
	var faults []error
	if h.Path != "-" && !strings.HasPrefix(h.Path, "/") {
		faults = append(faults, fmt.Errorf("balance: Health.Path %q must begin with /", h.Path))
	}
	if h.Interval < 0 || h.Timeout < 0 || h.Healthy < 0 || h.Unhealthy < 0 {
		faults = append(faults, errors.New("balance: Health: only Path can be turned off"))
	}
	return fault.Join(faults...)
}

func (h *Health) on() bool { return h.Path != "-" || h.Check != nil }

// Run performs the active checks and the outlier sweeps until ctx ends, and then returns nil.
// Call it once, in a goroutine of its own. Without it only consecutive failures eject an
// endpoint.
func (p *Pool) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if p.cfg.Health.on() {
		wg.Go(func() { p.every(ctx, p.cfg.Health.Interval, true, p.checkAll) })
	}
	if p.cfg.Outlier.Interval > 0 {
		wg.Go(func() { p.every(ctx, p.cfg.Outlier.Interval, false, func(context.Context) { p.sweep(time.Now()) }) })
	}
	wg.Wait()
	return nil
}

// every calls f at each interval, with some jitter.
func (p *Pool) every(ctx context.Context, interval time.Duration, now bool, f func(context.Context)) {
	timer := time.NewTimer(jittered(interval))
	defer timer.Stop()
	if now {
		f(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			f(ctx)
			timer.Reset(jittered(interval))
		}
	}
}

func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + checkJitter*(2*rand.Float64()-1))) //nolint:gosec // spreads load, is no secret
}

func (p *Pool) checkAll(ctx context.Context) {
	slots := make(chan struct{}, maxChecks)
	var wg sync.WaitGroup
	for _, n := range p.set.Load().nodes {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := p.check(ctx, n)
			if exchange.IsRefused(err) || ctx.Err() != nil {
				return // the endpoint was not called
			}
			p.judge(n, err)
		})
	}
	wg.Wait()
}

func (p *Pool) check(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(exchange.With(ctx, &exchange.Exchange{Shadow: true}), p.cfg.Health.Timeout) // no evidence for a circuit
	defer cancel()
	if f := p.cfg.Health.Check; f != nil {
		return f(ctx, Endpoint{Name: n.name, URL: n.address, Weight: int(n.weight.Load()), Transport: n.transport})
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.cfg.Health.Path, nil)
	if err != nil {
		return fmt.Errorf("balance: check %s: %w", n.name, err)
	}
	req = n.outbound(req, false)
	req.Header.Set("User-Agent", "ginfer-health-check")
	res, err := n.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("balance: check %s: %w", n.name, err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, maxCheckBody) // so that the connection can be reused
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Errorf("balance: check %s: status %d", n.name, res.StatusCode)
	}
	return nil
}

// judge counts consecutive results; n.probes is positive for good ones and negative for bad
// ones. The very first result alone decides.
func (p *Pool) judge(n *node, err error) {
	first := n.probes == 0
	if err == nil {
		n.probes = max(n.probes, 0) + 1
		if (first || n.probes >= p.cfg.Health.Healthy) && n.unhealthy.CompareAndSwap(true, false) {
			p.cfg.SlowStart.begin(n, time.Now())
			p.changed()
			p.notify(Event{Kind: Recovered, Endpoint: n.name})
		}
		return
	}
	n.probes = min(n.probes, 0) - 1
	if (first || -n.probes >= p.cfg.Health.Unhealthy) && n.unhealthy.CompareAndSwap(false, true) {
		p.changed()
		p.notify(Event{Kind: Unhealthy, Endpoint: n.name, Err: err})
	}
}
