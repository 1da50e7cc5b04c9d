package queue_test

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// order records the tasks in the order of their attempts.
type order struct {
	mu  sync.Mutex
	all []string
	by  func(queue.Info) string
}

func (o *order) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, _ := queue.FromContext(r.Context())
	o.mu.Lock()
	o.all = append(o.all, o.by(info))
	o.mu.Unlock()
	_, _ = io.WriteString(w, "{}")
}

func (o *order) count(first int) map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := map[string]int{}
	for _, name := range o.all[:min(first, len(o.all))] {
		n[name]++
	}
	return n
}

func byTenant(i queue.Info) string { return i.Tenant }

// held is a queue without spare capacity until release is called.
func held(t *testing.T, change func(*queuetest.Setup)) (a *queuetest.App, release func()) {
	t.Helper()
	var open atomic.Bool
	a = queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Workers = 4
		cfg.SpareCapacity = func() int {
			if open.Load() {
				return 4
			}
			return 0
		}
		change(cfg)
	})
	return a, func() { open.Store(true) }
}

// A tenant with thousands of jobs does not delay one with a few.
func TestFairness(t *testing.T) {
	t.Parallel()
	o := &order{by: byTenant}
	a, release := held(t, func(cfg *queuetest.Setup) { cfg.Handler = o })
	queuetest.SubmitAll(a, 1000)
	bob := a.As("bob")
	queuetest.SubmitAll(bob, 50)
	release()
	a.Eventually("all ran", func() bool { return o.count(1050)["ann"] == 1000 })
	got := o.count(120)
	assert.InDelta(t, 50, got["bob"], 5, "bob's are done after about a hundred, not a thousand")
}

// A job with priority precedes the lines of a batch, which still get their share.
func TestPriority(t *testing.T) {
	t.Parallel()
	o := &order{by: func(i queue.Info) string { return i.Priority.String() }}
	a, release := held(t, func(cfg *queuetest.Setup) { cfg.Handler = o })
	batch := a.Batch(queuetest.Lines(1000))
	a.Eventually("the batch waits", func() bool { s, _ := a.Queue.Status(t.Context()); return s.Tasks >= 900 })
	for range 100 {
		a.Submit(`{"url":"/v1/completions","body":{},"priority":"high"}`)
		a.Submit(`{"url":"/v1/completions","body":{}}`)
	}
	release()
	a.Ended(batch)
	got := o.count(105)
	assert.InDelta(t, 80, got["high"], 10, "16 of 21")
	assert.InDelta(t, 20, got["normal"], 6, "4 of 21")
	assert.InDelta(t, 5, got["low"], 4, "no priority starves")
}

func TestWeight(t *testing.T) {
	t.Parallel()
	o := &order{by: byTenant}
	a, release := held(t, func(cfg *queuetest.Setup) {
		cfg.Handler = o
		cfg.Weight = func(tenant string) int { return map[string]int{"ann": 3}[tenant] }
	})
	queuetest.SubmitAll(a, 400)
	queuetest.SubmitAll(a.As("bob"), 400)
	release()
	a.Eventually("half ran", func() bool { n := o.count(400); return n["ann"]+n["bob"] == 400 })
	assert.InDelta(t, 300, o.count(400)["ann"], 20)
}

// A tenant uses no more workers than TenantWorkers.
func TestTenant(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler, cfg.Workers, cfg.TenantWorkers = g, 8, 2
	})
	for i := range 5 {
		a.Submit(queuetest.Job(i))
	}
	<-g.Began
	<-g.Began
	a.As("bob").Submit(queuetest.Job(1))
	<-g.Began
	s, err := a.Queue.Status(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 3, s.Running)
	assert.Equal(t, 8, s.Workers)
	assert.EqualValues(t, 6, s.Tasks)
	assert.ElementsMatch(t, []queue.LaneStatus{{Tenant: "ann", Priority: "normal", Tasks: 5}, {Tenant: "bob", Priority: "normal", Tasks: 1}}, s.Lanes)
	assert.Empty(t, g.Began, "ann has no more than two")
	close(g.Open)
}

// Live traffic goes first: no more tasks start than there is spare capacity.
func TestSpare(t *testing.T) {
	t.Parallel()
	var running, most, spare atomic.Int64
	spare.Store(2)
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Workers = 16
		cfg.SpareCapacity = func() int { return int(spare.Load() - running.Load()) }
		cfg.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			n := running.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			select {
			case <-time.After(2 * time.Millisecond):
			case <-r.Context().Done():
			}
			running.Add(-1)
		})
	})
	got := a.Ended(a.Batch(queuetest.Lines(100)))
	assert.Equal(t, [3]int{100, 100, 0}, got.Counts())
	assert.LessOrEqual(t, most.Load(), int64(3), "one may have begun between a look and the next")
}
