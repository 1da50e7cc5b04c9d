package live

import (
	"net/http"
	"slices"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/proxy"
)

// Layer is a transport around another one.
type Layer func(next http.RoundTripper) http.RoundTripper

// Through returns the layers as one transport; the first one sees a request first. A nil layer
// is off. The last one ignores what it gets.
func Through(layers ...Layer) http.RoundTripper {
	var rt http.RoundTripper
	for _, layer := range slices.Backward(layers) {
		if layer != nil {
			rt = layer(rt)
		}
	}
	return rt
}

// Layers builds the transports of one upstream. Each method is one layer; package chain gives
// their order.
type Layers struct {
	// Name is the upstream's.
	Name string
	// Config is the upstream's.
	Config *config.Upstream
	// Telemetry is the observability of the process.
	Telemetry *Telemetry

	out *Upstream
	err error
}

// Fail refuses the configuration. The first error counts.
func (l *Layers) Fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// Tracing records a span for each attempt.
func (l *Layers) Tracing() Layer { return l.Telemetry.Tracing.Transport }

// Meter requests usage from models that report it on request, and counts tokens.
func (l *Layers) Meter() Layer {
	if l.Config.NoInject {
		return l.Telemetry.plainMeter.Transport
	}
	return l.Telemetry.meter.Transport
}

// Headers sets the upstream's own headers, such as its API key.
func (l *Layers) Headers() Layer {
	if len(l.Config.Headers) == 0 {
		return nil
	}
	set, err := expandHeaders(l.Config.Headers)
	if err != nil {
		l.Fail(err)
		return nil
	}
	return func(next http.RoundTripper) http.RoundTripper { return headers{next, set} }
}

// Endpoints selects an endpoint for each attempt, and checks their health.
func (l *Layers) Endpoints() Layer {
	return func(next http.RoundTripper) http.RoundTripper {
		if l.err != nil {
			return nil
		}
		cfg := pool(l.Config, next)
		cfg.OnEvent = l.Telemetry.Hooks.Balance(l.Name)
		p, err := balance.New(cfg)
		if err != nil {
			l.Fail(err)
			return nil
		}
		l.out.Pool = p
		return p
	}
}

// Breakers refuses attempts to endpoints with an open circuit.
func (l *Layers) Breakers() Layer {
	if l.Config.Breaker.Off {
		return nil
	}
	cfg := circuits(&l.Config.Breaker)
	cfg.OnEvent = l.Telemetry.Hooks.Breaker(l.Name)
	group, err := breaker.New(cfg)
	if err != nil {
		l.Fail(err)
		return nil
	}
	l.out.Breakers, l.out.PerVersion = group, l.Config.Breaker.PerVersion
	return group.Transport
}

// Connections sends attempts to their endpoint.
func (l *Layers) Connections() Layer {
	cfg, err := connections(l.Config)
	if err != nil {
		l.Fail(err)
	}
	transport, err := proxy.NewTransport(cfg)
	if err != nil {
		l.Fail(err)
	}
	return func(http.RoundTripper) http.RoundTripper { return transport }
}

// headers sets headers on every request.
type headers struct {
	next http.RoundTripper
	set  map[string]string
}

// RoundTrip implements http.RoundTripper.
func (h headers) RoundTrip(req *http.Request) (*http.Response, error) {
	out := *req
	out.Header = req.Header.Clone()
	for name, value := range h.set {
		out.Header.Set(name, value)
	}
	return h.next.RoundTrip(&out)
}
