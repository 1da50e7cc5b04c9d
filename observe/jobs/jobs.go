// Package jobs records metrics and logs of the events of package queue.
//
//	watch, err := jobs.New(jobs.Config{MeterProvider: telemetry.MeterProvider(), Logger: logger})
//	q, err := queue.New(queue.Config{OnEvent: watch.Event, ...})
//
// It is a package of its own so that a gateway without a queue does not link its store.
// The requests of a job pass through the gateway's chain, where package observe records
// them like any other.
//
// What happens on failure: as in package observe, telemetry never fails a job.
package jobs

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"github.com/ginfer/ginfer/queue"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Config configures a Watch. Every field has a default.
type Config struct {
	// MeterProvider creates the instruments. Default: otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
	// Logger receives a line for each dead letter, each batch that ended, and each change
	// of the store. Default: none, nothing is logged.
	Logger *slog.Logger
}

// Watch records the events of a queue. It is safe for concurrent use.
type Watch struct {
	logger  *slog.Logger
	events  metric.Int64Counter
	wait    metric.Float64Histogram
	took    metric.Float64Histogram
	depth   metric.Int64Gauge
	running metric.Int64Gauge
	down    metric.Int64Gauge
}

// The attributes. IDs and tenants are not among them: their number is unbounded.
const (
	keyEvent    = attribute.Key("gateway.queue.event")
	keyKind     = attribute.Key("gateway.queue.kind")
	keyPriority = attribute.Key("gateway.queue.priority")
	keyStatus   = attribute.Key("gateway.queue.status")
)

// New returns a Watch.
func New(cfg Config) (*Watch, error) {
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	meter := cfg.MeterProvider.Meter("github.com/ginfer/ginfer/observe/jobs")
	w := &Watch{logger: cfg.Logger}
	var faults [6]error
	w.events, faults[0] = meter.Int64Counter("gateway.queue.events", metric.WithUnit("{event}"), metric.WithDescription("What happened to jobs, batches and their lines."))
	w.wait, faults[1] = meter.Float64Histogram("gateway.queue.wait", metric.WithUnit("s"), metric.WithDescription("Time that tasks waited for a worker."),
		metric.WithExplicitBucketBoundaries(0.1, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400))
	w.took, faults[2] = meter.Float64Histogram("gateway.queue.task.duration", metric.WithUnit("s"), metric.WithDescription("Time of the last attempt of a task."),
		metric.WithExplicitBucketBoundaries(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 327.68))
	w.depth, faults[3] = meter.Int64Gauge("gateway.queue.depth", metric.WithUnit("{task}"), metric.WithDescription("Unfinished tasks."))
	w.running, faults[4] = meter.Int64Gauge("gateway.queue.running", metric.WithUnit("{task}"), metric.WithDescription("Tasks that run in this process."))
	w.down, faults[5] = meter.Int64Gauge("gateway.queue.store.down", metric.WithDescription("1 while the store does not respond."))
	return w, fault.Join(faults[:]...)
}

// Event records an event. It is a queue.Config.OnEvent.
func (w *Watch) Event(ctx context.Context, e queue.Event) {
	defer func() { _ = recover() }() // telemetry never fails a job
	w.log(ctx, &e)
	switch e.Kind { //nolint:exhaustive // the others are counted alike
	case queue.Depth:
		w.depth.Record(ctx, int64(min(e.Tasks, 1<<62)))
		w.running.Record(ctx, int64(e.Running))
		return
	case queue.StoreDown:
		w.down.Record(ctx, 1)
		return
	case queue.StoreUp:
		w.down.Record(ctx, 0)
		return
	case queue.Started:
		w.wait.Record(ctx, e.Delay.Seconds(), metric.WithAttributes(keyPriority.String(e.Priority.String())))
	case queue.Done:
		if kind(&e) != "batch" {
			w.took.Record(ctx, e.Duration.Seconds(), metric.WithAttributes(keyStatus.String(status(e.Status))))
		}
	}
	w.events.Add(ctx, 1, metric.WithAttributes(keyEvent.String(name(e.Kind)), keyKind.String(kind(&e)), keyPriority.String(e.Priority.String())))
}

// kind returns the kind of work that an event belongs to.
func kind(e *queue.Event) string {
	switch {
	case !e.Batch:
		return "job"
	case e.Line >= 0:
		return "line"
	}
	return "batch"
}

func name(k queue.Kind) string {
	names := map[queue.Kind]string{
		queue.Queued: "queued", queue.Started: "started", queue.Done: "done", queue.Retried: "retried", queue.Dead: "dead",
		queue.Expired: "expired", queue.Cancelled: "cancelled", queue.Failed: "failed", queue.Called: "called",
	}
	if n, ok := names[k]; ok {
		return n
	}
	return "other"
}

// status returns the class of a status: "2xx".
func status(code int) string {
	if code < 100 || code > 599 {
		return "none"
	}
	return strconv.Itoa(code/100) + "xx"
}

// log logs the events that an operator may want to act on.
func (w *Watch) log(ctx context.Context, e *queue.Event) {
	if w.logger == nil {
		return
	}
	level := slog.LevelInfo
	var text string
	switch {
	case e.Kind == queue.Dead:
		level, text = slog.LevelWarn, "queue: given up"
	case e.Kind == queue.StoreDown:
		level, text = slog.LevelError, "queue: the store does not respond"
	case e.Kind == queue.StoreUp:
		text = "queue: the store responds again"
	case kind(e) == "batch" && e.Kind != queue.Queued:
		text = "queue: batch " + name(e.Kind)
	default:
		return
	}
	attrs := []slog.Attr{slog.String("id", plain.Clean(e.ID, plain.Word))}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", plain.Redact(e.Err)))
	}
	w.logger.LogAttrs(ctx, level, text, attrs...)
}
