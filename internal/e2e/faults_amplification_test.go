package e2e_test

import (
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
)

// TestAmplification: while every server fails all the time, three of them get no more
// than 1.2 times the requests that came, or one more a second. A circuit lets far less
// through.
func TestAmplification(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"500", "reset before headers", "an error in a 200", "silent"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			amplification(t, kind, true)
		})
		t.Run(kind+" with a breaker", func(t *testing.T) {
			t.Parallel()
			amplification(t, kind, false)
		})
	}
}

func amplification(t *testing.T, kind string, open bool) {
	t.Helper()
	const (
		requests = 300
		pace     = 4 * time.Millisecond
		allowed  = requests + requests/5
	)
	plan := faulty.InTurn(faults[kind].stream)
	limit := patience
	if kind == "silent" {
		limit = 100 * time.Millisecond
	}
	g := faultSetup{
		urls: threeServers(t, plan), noBreaker: open, settings: breaker.Settings{Sleep: time.Hour, MaxSleep: time.Hour},
		timeouts: proxy.Timeouts{FirstByte: limit},
	}.start(t)
	statuses := g.load(t, requests, pace)
	g.awaitIdle(t, requests)
	calls := len(plan.Calls())
	t.Logf("%d requests, %d calls (%.2f a request), answers %v", requests, calls, float64(calls)/requests, statuses)
	if kind != "an error in a 200" { // which reaches the client as the upstream says it
		assert.Zero(t, statuses[200])
	}
	assert.LessOrEqual(t, calls, allowed)
	if !open {
		assert.Less(t, calls, requests)
	}
}

// load makes requests at a steady pace and counts the answers by status.
func (g *faultGateway) load(t *testing.T, requests int, pace time.Duration) map[int]int {
	t.Helper()
	ticks := time.NewTicker(pace)
	defer ticks.Stop()
	var mu sync.Mutex
	var wg sync.WaitGroup
	statuses := map[int]int{}
	for range requests {
		<-ticks.C
		wg.Go(func() {
			got, err := g.send(t.Context(), true)
			if !assert.NoError(t, err) || !assert.NoError(t, got.err) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[got.status]++
		})
	}
	wg.Wait()
	return statuses
}
