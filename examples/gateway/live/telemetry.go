package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/otelsetup"
)

// telemetry is what the gateway tells of itself: a line in the log, metrics, a trace and
// a row of recent requests for each request. It lives as long as the process.
type telemetry struct {
	otel    *otelsetup.Telemetry
	access  *observe.AccessLog
	tracing *observe.Tracing
	metrics *observe.Metrics
	recent  *observe.Recent
	live    *observe.Live
	hooks   observe.Hooks
}

// newTelemetry sets up OpenTelemetry. What is sent, and where, is in the variables that
// it knows, such as OTEL_EXPORTER_OTLP_ENDPOINT; metrics are on the private port besides.
func (g *gateway) newTelemetry() (*telemetry, error) {
	base, err := otelsetup.Start(context.Background(), otelsetup.Config{Service: "gateway"})
	if err != nil {
		return nil, err
	}
	base.Install(g.log)
	t := &telemetry{otel: base}
	var faults [4]error
	t.tracing, faults[0] = observe.NewTracing(observe.TracingConfig{TracerProvider: base.TracerProvider()})
	t.metrics, faults[1] = observe.NewMetrics(observe.MetricsConfig{
		MeterProvider: base.MeterProvider(), Pools: g.poolStates, Circuits: g.circuitStates, Streams: g.openStreams, Caches: g.memories, Rollouts: g.rolloutStates,
	})
	t.recent, faults[2] = observe.NewRecent(observe.RecentConfig{})
	t.live, faults[3] = observe.NewLive(observe.LiveConfig{Window: 5 * time.Minute}) // the charts' width
	if err := errors.Join(faults[:]...); err != nil {
		return nil, errors.Join(err, base.Shutdown(context.Background()))
	}
	t.hooks = observe.Hooks{Metrics: t.metrics, Tracing: t.tracing, Logger: g.log}
	return t, nil
}

// write has requests written as the configuration says, from the next app on.
func (t *telemetry) write(cfg Log, logger *slog.Logger) error {
	config := observe.AccessLogConfig{Logger: logger, Sample: cfg.Sample, Slow: time.Duration(cfg.Slow), Path: cfg.Path}
	if cfg.Pseudonyms != "" {
		key, err := expand(cfg.Pseudonyms)
		if err != nil {
			return err
		}
		if config.Subject, err = observe.Pseudonyms([]byte(key)); err != nil {
			return err
		}
	}
	access, err := observe.NewAccessLog(config)
	if err == nil {
		t.access = access
	}
	return err
}

// middlewares come before everything else of a group.
func (t *telemetry) middlewares(route string) gin.HandlersChain {
	return gin.HandlersChain{t.access.Middleware(), t.tracing.Middleware(), t.metrics.Middleware(), t.recent.Middleware(), t.live.Middleware(), observe.Route(route)}
}

// close sends what is left.
func (t *telemetry) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(t.metrics.Close(), t.otel.Shutdown(ctx))
}

func (g *gateway) poolStates() map[string][]balance.Status {
	states := map[string][]balance.Status{}
	if a := g.current.Load(); a != nil {
		for name, p := range a.pools {
			states[name] = p.Status()
		}
	}
	return states
}

func (g *gateway) circuitStates() map[string][]breaker.Status {
	states := map[string][]breaker.Status{}
	if a := g.current.Load(); a != nil {
		for name, p := range a.pools {
			if p.breakers != nil {
				states[name] = p.breakers.Status()
			}
		}
	}
	return states
}

func (g *gateway) openStreams() map[string]int {
	open := map[string]int{}
	if a := g.current.Load(); a != nil {
		for _, group := range a.groups {
			open[group.cfg.Path] = group.streams.Open()
		}
	}
	return open
}

func (g *gateway) memories() map[string]*cache.Memory {
	if a := g.current.Load(); a != nil && a.answers != nil {
		return map[string]*cache.Memory{"answers": a.answers.near}
	}
	return nil
}
