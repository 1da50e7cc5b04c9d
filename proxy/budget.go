package proxy

import (
	"sync"
	"time"
)

// The budget looks back over ten slots of a second.
const budgetSlots = 10

// budget allows extra tries as a share of requests, or as many as the reserve has
// where there are few, over a sliding window, so that they cannot multiply an outage:
// the upstream gets at most 1+ratio times the traffic. After Finagle's RetryBudget
// (20 % in 10 s); there the reserve comes on top of the share.
type budget struct {
	mu       sync.Mutex
	ratio    float64
	reserve  float64 // for the whole window
	origin   time.Time
	slot     int64
	requests [budgetSlots]int
	retries  [budgetSlots]int
	sumReq   int
	sumRetry int
}

func newBudget(ratio, reservePerSecond float64, now time.Time) *budget {
	return &budget{ratio: max(ratio, 0), reserve: max(reservePerSecond, 0) * budgetSlots, origin: now}
}

// request counts a first try.
func (b *budget) request(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(now)
	b.requests[b.slot%budgetSlots]++
	b.sumReq++
}

// spend takes one repeated try and reports whether there was one.
func (b *budget) spend(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(now)
	if float64(b.sumRetry+1) > max(b.ratio*float64(b.sumReq), b.reserve) {
		return false
	}
	b.retries[b.slot%budgetSlots]++
	b.sumRetry++
	return true
}

// advance forgets the slots that left the window.
func (b *budget) advance(now time.Time) {
	slot := int64(now.Sub(b.origin) / time.Second)
	for n := min(slot-b.slot, budgetSlots); n > 0; n-- {
		b.slot++
		i := b.slot % budgetSlots
		b.sumReq -= b.requests[i]
		b.sumRetry -= b.retries[i]
		b.requests[i], b.retries[i] = 0, 0
	}
	b.slot = max(b.slot, slot)
}
