package queue_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/stretchr/testify/require"
)

// BenchmarkJobs measures the jobs that are accepted, and carried out, per second.
// Each is durable when it is accepted, as far as the sync mode of the server goes.
func BenchmarkJobs(b *testing.B) {
	for _, tt := range []struct {
		name string
		sync bool
	}{{"periodic sync", false}, {"SyncAlways", true}} {
		b.Run(tt.name, func(b *testing.B) {
			var done atomic.Int64
			cfg := queuetest.Defaults(queuetest.StartServer(b, embedded.Config{SyncAlways: tt.sync}))
			cfg.Workers, cfg.Limits.TenantTasks = 64, 1_000_000
			cfg.Limits.Tasks = 1_000_000
			cfg.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { done.Add(1) })
			var open atomic.Bool
			cfg.SpareCapacity = func() int {
				if open.Load() {
					return 64
				}
				return 0
			}
			a := queuetest.Start(b, cfg)
			b.ResetTimer()
			begin := time.Now()
			queuetest.SubmitAll(a, b.N)
			b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "submit/s")
			begin = time.Now()
			open.Store(true)
			for s, err := a.Queue.Status(b.Context()); s.Tasks > 0; s, err = a.Queue.Status(b.Context()) {
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "process/s")
			b.StopTimer()
			require.EqualValues(b, b.N, done.Load())
			a.Stop()
		})
	}
}

// BenchmarkBatch measures the lines of a batch that are carried out per second, from
// the submission to the finished file.
func BenchmarkBatch(b *testing.B) {
	a := queuetest.Quick(b, func(cfg *queuetest.Setup) { cfg.Workers = 64 })
	in := queuetest.Lines(b.N)
	if b.N > 50_000 {
		b.Skip("more lines than a batch can have")
	}
	b.ResetTimer()
	begin := time.Now()
	got := a.Ended(a.Batch(in))
	b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "lines/s")
	require.Equal(b, [3]int{b.N, b.N, 0}, got.Counts())
}
