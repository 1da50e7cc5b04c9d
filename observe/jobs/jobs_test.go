package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/observe/jobs"
	"github.com/ginfer/ginfer/queue"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collect returns all series as text: name{labels} to value or count.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	out := map[string]int64{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		add := func(set attribute.Set, v int64) { out[m.Name+"{"+set.Encoded(attribute.DefaultEncoder())+"}"] = v }
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				add(p.Attributes, p.Value)
			}
		case metricdata.Gauge[int64]:
			for _, p := range data.DataPoints {
				add(p.Attributes, p.Value)
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				add(p.Attributes, int64(p.Count))
			}
		}
	}
	return out
}

func TestEvents(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	var out bytes.Buffer
	w, err := jobs.New(jobs.Config{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	require.NoError(t, err)
	for _, e := range []queue.Event{
		{Kind: queue.Queued, ID: "j", Line: -1, Tenant: "acme"},
		{Kind: queue.Started, ID: "j", Line: -1, Delay: time.Second},
		{Kind: queue.Done, ID: "j", Line: -1, Status: 200, Duration: time.Second},
		{Kind: queue.Retried, ID: "b", Batch: true, Line: 3, Status: 503},
		{Kind: queue.Done, ID: "b", Batch: true, Line: 3, Status: 0},
		{Kind: queue.Done, ID: "b", Batch: true, Line: -1},
		{Kind: queue.Dead, ID: "evil\nforged", Line: -1, Err: errors.New("Bearer secret\nforged")},
		{Kind: queue.Depth, Tasks: 7, Running: 2},
		{Kind: queue.StoreDown, Err: errors.New("x")},
		{Kind: queue.Kind(99), Line: -1, Priority: 2},
		{Kind: queue.Queued, Priority: 99}, // an unknown priority: nothing is recorded
	} {
		w.Event(t.Context(), e)
	}
	got := collect(t, reader)
	event := func(event, kind, priority string) string {
		return fmt.Sprintf("gateway.queue.events{gateway.queue.event=%s,gateway.queue.kind=%s,gateway.queue.priority=%s}", event, kind, priority)
	}
	assert.Equal(t, map[string]int64{
		event("queued", "job", "normal"): 1, event("started", "job", "normal"): 1, event("done", "job", "normal"): 1,
		event("retried", "line", "normal"): 1, event("done", "line", "normal"): 1, event("done", "batch", "normal"): 1,
		event("dead", "job", "normal"): 1, event("other", "job", "low"): 1,
		"gateway.queue.wait{gateway.queue.priority=normal}":      1,
		"gateway.queue.task.duration{gateway.queue.status=2xx}":  1,
		"gateway.queue.task.duration{gateway.queue.status=none}": 1,
		"gateway.queue.depth{}":                                  7,
		"gateway.queue.running{}":                                2,
		"gateway.queue.store.down{}":                             1,
	}, got)
	assert.Equal(t, 3, strings.Count(out.String(), "\n"), out.String())
	assert.NotContains(t, out.String(), "secret")
	assert.NotContains(t, out.String(), "acme")
	w.Event(t.Context(), queue.Event{Kind: queue.StoreUp})
	assert.Zero(t, collect(t, reader)["gateway.queue.store.down{}"])
}

func ExampleNew() {
	w, err := jobs.New(jobs.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg := queue.Config{OnEvent: w.Event}
	cfg.OnEvent(context.Background(), queue.Event{Kind: queue.Queued})
	fmt.Println("counted")
	// Output: counted
}
