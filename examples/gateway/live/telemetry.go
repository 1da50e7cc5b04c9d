package live

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/observe/otelsetup"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/stream"
)

// Telemetry is the observability of the process: for each request a line in the log, metrics,
// a trace and a row of recent requests.
type Telemetry struct {
	OTel    *otelsetup.Telemetry
	Tracing *observe.Tracing
	Metrics *observe.Metrics
	Recent  *observe.Recent
	Live    *observe.Live
	Hooks   events.Hooks

	access     *observe.AccessLog
	meter      *stream.Meter // requests usage and counts tokens
	plainMeter *stream.Meter // the same, for upstreams with unchanged requests
}

// startTelemetry sets up OpenTelemetry, once. The environment configures its exporters, such as
// OTEL_EXPORTER_OTLP_ENDPOINT; metrics are on the private port besides.
func (g *Gateway) startTelemetry() error {
	if g.telemetry != nil {
		return nil
	}
	base, err := otelsetup.Start(context.Background(), otelsetup.Config{Service: "gateway"})
	if err != nil {
		return err
	}
	base.Install(g.Log())
	t := &Telemetry{OTel: base}
	var faults [6]error
	t.Tracing, faults[0] = observe.NewTracing(observe.TracingConfig{TracerProvider: base.TracerProvider()})
	t.Metrics, faults[1] = observe.NewMetrics(observe.MetricsConfig{
		MeterProvider: base.MeterProvider(),
		Pools:         events.Pools(func() map[string][]balance.Status { return g.Current().PoolStates() }),
		Circuits:      events.Circuits(func() map[string][]breaker.Status { return g.Current().CircuitStates() }),
		Streams:       func() map[string]int { return g.Current().OpenStreams() },
		Caches:        events.Caches(func() map[string]*cache.Memory { return g.Current().memories() }),
		LogDropped:    g.log.Dropped,
		Rollouts:      events.Rollouts(func() []rollout.Status { return g.Current().rolloutStates() }),
	})
	t.Recent, faults[2] = observe.NewRecent(observe.RecentConfig{})
	t.Live, faults[3] = observe.NewLive(observe.LiveConfig{Window: 5 * time.Minute}) // the charts' width
	t.Hooks = events.Hooks{Metrics: t.Metrics, Tracing: t.Tracing, Logger: g.Log()}
	meter := stream.MeterConfig{OnUsage: t.Hooks.Usage, OnToken: t.Hooks.Token, Report: ratelimit.Report}
	t.meter, faults[4] = stream.NewMeter(meter)
	meter.NoInject = true
	t.plainMeter, faults[5] = stream.NewMeter(meter)
	if err := errors.Join(faults[:]...); err != nil {
		return errors.Join(err, base.Shutdown(context.Background()))
	}
	g.telemetry = t
	return nil
}

// write configures the access log, from the next App on.
func (t *Telemetry) write(cfg config.Log, logger *slog.Logger) error {
	access := observe.AccessLogConfig{Logger: logger, Sample: cfg.Sample, Slow: time.Duration(cfg.Slow), Path: cfg.Path, IDHeader: cfg.IDHeader}
	if cfg.Pseudonyms != "" {
		key, err := config.Expand(cfg.Pseudonyms)
		if err != nil {
			return err
		}
		if access.Subject, err = observe.Pseudonyms([]byte(key)); err != nil {
			return err
		}
	}
	made, err := observe.NewAccessLog(access)
	if err == nil {
		t.access = made
	}
	return err
}

// close exports what is left.
func (t *Telemetry) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(t.Metrics.Close(), t.OTel.Shutdown(ctx))
}
