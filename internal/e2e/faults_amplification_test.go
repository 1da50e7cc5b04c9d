package e2e_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
)

// While all three servers fail, they receive at most 1.2 times the requests, or one more a
// second. A circuit lets far fewer through.
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
		rate     = 250 // a second
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
	statuses := map[int]int{}
	for _, r := range loadOf(t.Context(), rate, requests*time.Second/rate, func(int) int {
		got, err := g.send(t.Context(), true)
		assert.NoError(t, errors.Join(err, got.err))
		return got.status
	})() {
		statuses[r.status]++
	}
	g.awaitIdle(t, requests)
	calls := len(plan.Calls())
	t.Logf("%d requests, %d calls (%.2f a request), responses %v", requests, calls, float64(calls)/requests, statuses)
	if kind != "an error in a 200" { // passes through unchanged
		assert.Zero(t, statuses[200])
	}
	assert.LessOrEqual(t, calls, allowed)
	if !open {
		assert.Less(t, calls, requests)
	}
}
