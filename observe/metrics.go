package observe

import (
	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/fault"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

// scope is the instrumentation scope.
const scope = "github.com/ginfer/ginfer/observe"

// MetricsConfig configures a Metrics. Every field has a default.
type MetricsConfig struct {
	// MeterProvider creates the instruments. Default: otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
	// Models are models with a label value from the start. Default: none.
	Models []string
	// MaxModels is the maximum number of other models with a label value. A model gets one
	// by a successful response, so that clients can't make up values; further ones are
	// "other". Default: 100; negative: none.
	MaxModels int
	// Pools, Circuits, Streams, Caches and Rollouts are called at every collection. They
	// return the endpoints of each upstream, its circuits, the open streams of each route
	// group (stream.Streams.Open), the caches in memory, and the rollouts. Functions of
	// package events make them of what the other packages report. They must not block.
	// Default: none.
	Pools    func() map[string][]EndpointState
	Circuits func() map[string][]CircuitState
	Streams  func() map[string]int
	Caches   func() map[string]CacheState
	Rollouts func() []RolloutState
	// LogDropped returns the number of lines that a log could not write, as LogWriter.Dropped does.
	// Default: none.
	LogDropped func() int64
}

// Metrics is a middleware that records OpenTelemetry metrics of requests. Use it with
// events.Hooks, which count the events of the packages. It is safe for concurrent use.
type Metrics struct {
	cfg    MetricsConfig
	in     instruments
	sets   labelSets
	models names
	labels names // values of all other labels, which operators choose
	gauges metric.Registration
}

// maxLabels bounds the values of labels other than models.
const maxLabels = 2000

// NewMetrics creates the instruments and returns a Metrics.
func NewMetrics(cfg MetricsConfig) (*Metrics, error) {
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	if cfg.MaxModels == 0 {
		cfg.MaxModels = 100
	}
	m := &Metrics{cfg: cfg}
	m.models.most, m.labels.most = max(cfg.MaxModels, 0)+len(cfg.Models), maxLabels
	for _, name := range cfg.Models {
		m.models.of(name)
	}
	meter := cfg.MeterProvider.Meter(scope)
	var err error
	if m.in, err = newInstruments(meter); err != nil {
		return nil, err
	}
	m.gauges, err = m.observe(meter)
	return m, err
}

// Close unregisters the callbacks that read Pools, Circuits, Streams, Caches and Rollouts.
func (m *Metrics) Close() error {
	if m == nil || m.gauges == nil {
		return nil
	}
	return m.gauges.Unregister()
}

// Middleware returns the handler that counts requests. Put it after the access log and
// tracing, and before everything else.
func (m *Metrics) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		r, isFirst := begin(c, m)
		if !isFirst {
			return
		}
		e := &r.entry // method and scheme do not change
		active := m.sets.add(labels{{keyMethod, e.method}, {keyScheme, e.scheme()}})
		ctx := sampled(c.Request.Context())
		m.in.active.Add(ctx, 1, active...)
		returned := false
		defer func() {
			m.in.active.Add(ctx, -1, active...)
			done := r.close(c, returned)           //nolint:contextcheck // it reads the Gin context
			safely(func() { m.request(c, &done) }) //nolint:contextcheck // as above
		}()
		c.Next()
		returned = true
	}
}

// request records a request that has ended.
func (m *Metrics) request(c *gin.Context, e *entry) {
	ctx := sampled(c.Request.Context())
	code := m.labels.of(e.code)
	route := m.labels.of(e.route)
	m.in.serverDuration.Record(ctx, e.duration.Seconds(), m.sets.record(labels{
		{keyMethod, e.method},
		{keyRoute, route},
		{keyScheme, e.scheme()},
		{keyProtocol, e.protocolVersion()},
		{keyStatus, status(e.status)},
		{keyErrorType, code},
	})...)
	m.in.requests.Add(ctx, 1, m.sets.add(labels{{keyRoute, route}, {keyVersion, m.labels.of(e.version)}, {keyOutcome, e.outcome}})...)
	if e.relayed != "" && e.firstByte > 0 {
		m.in.firstByte.Record(ctx, e.firstByte.Seconds(), m.sets.record(labels{{keyRoute, route}, {keyVersion, m.labels.of(e.version)}})...)
	}
	if e.operation == "" || e.model == "" {
		return
	}
	set := m.generation(e)
	failed := set
	failed[len(failed)-1] = label{keyErrorType, code}
	m.in.genServerDuration.Record(ctx, e.duration.Seconds(), m.sets.record(failed)...)
	if first := e.firstToken(); first > 0 {
		m.in.genServerFirst.Record(ctx, first.Seconds(), m.sets.record(set)...)
	}
	if e.usage != nil && e.usage.PerToken > 0 {
		m.in.genServerToken.Record(ctx, e.usage.PerToken.Seconds(), m.sets.record(set)...)
	}
}

// generation returns the labels of an operation of a model. The last one is free.
func (m *Metrics) generation(e *entry) labels {
	return labels{
		{keyOperation, e.operation},
		{keyProvider, m.provider(e.upstream)},
		{keyModel, m.models.ifKnown(e.model)},
		{keyServed, m.models.ifKnown(e.served)},
		{keyVersion, m.labels.of(e.version)},
	}
}

// provider returns the label of an upstream, which operators name after its provider.
func (m *Metrics) provider(upstream string) string {
	if upstream == "" {
		return "unknown"
	}
	return m.labels.of(upstream)
}

// maker creates instruments and collects the errors.
type maker struct {
	meter  metric.Meter
	bounds bounds
	faults []error
}

func (k *maker) histogram(name, unit, about string, bounds []float64) metric.Float64Histogram {
	h, err := k.meter.Float64Histogram(name, metric.WithUnit(unit), metric.WithDescription(about), metric.WithExplicitBucketBoundaries(bounds...))
	k.faults = append(k.faults, err)
	return h
}

func (k *maker) counter(name, unit, about string) metric.Int64Counter {
	c, err := k.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(about))
	k.faults = append(k.faults, err)
	return c
}

func (k *maker) gauge(name, unit, about string) metric.Int64Gauge {
	g, err := k.meter.Int64Gauge(name, metric.WithUnit(unit), metric.WithDescription(about))
	k.faults = append(k.faults, err)
	return g
}

func (k *maker) observed(name, unit, about string) metric.Int64ObservableGauge {
	g, err := k.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(about))
	k.faults = append(k.faults, err)
	return g
}

// counted creates a counter that is read at every collection.
func (k *maker) counted(name, unit, about string) metric.Int64ObservableCounter {
	c, err := k.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(about))
	k.faults = append(k.faults, err)
	return c
}

// part creates a gauge of a share from 0 to 1.
func (k *maker) part(name, about string) metric.Float64ObservableGauge {
	g, err := k.meter.Float64ObservableGauge(name, metric.WithDescription(about))
	k.faults = append(k.faults, err)
	return g
}

func (k *maker) err() error { return fault.Join(k.faults...) }
