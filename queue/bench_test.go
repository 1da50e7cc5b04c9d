package queue_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/stretchr/testify/require"
)

// BenchmarkJobs tells how many jobs are taken, and how many carried out, in a second.
// Each is durable when it is taken, as far as the server's way to write to the disk
// goes.
func BenchmarkJobs(b *testing.B) {
	for _, tt := range []struct {
		name string
		sync bool
	}{{"periodic sync", false}, {"SyncAlways", true}} {
		b.Run(tt.name, func(b *testing.B) {
			var done atomic.Int64
			cfg := config(startServer(b, embedded.Config{SyncAlways: tt.sync}))
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
			a := start(b, cfg)
			b.ResetTimer()
			begin := time.Now()
			submitAll(a, b.N)
			b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "submit/s")
			begin = time.Now()
			open.Store(true)
			for s, err := a.queue.Status(b.Context()); s.Tasks > 0; s, err = a.queue.Status(b.Context()) {
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "process/s")
			b.StopTimer()
			require.EqualValues(b, b.N, done.Load())
			a.stop()
		})
	}
}

// submitAll submits n jobs from many clients at once.
func submitAll(a *app, n int) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				a.submit(job(int(i)))
			}
		})
	}
	wg.Wait()
}

// BenchmarkBatch tells how many lines of a batch are carried out in a second, from
// the submission to the finished file.
func BenchmarkBatch(b *testing.B) {
	a := quick(b, func(cfg *queue.Config) { cfg.Workers = 64 })
	in := lines(b.N)
	if b.N > 50_000 {
		b.Skip("more lines than a batch can have")
	}
	b.ResetTimer()
	begin := time.Now()
	got := a.ended(a.batch(in))
	b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "lines/s")
	require.Equal(b, [3]int{b.N, b.N, 0}, got.counts())
}
