package proxy

import (
	"sync"
	"time"
)

// budgetSlots is the length of the window, in slots of a second.
const budgetSlots = 10

// budget limits extra attempts to a share of the requests in a sliding window, or to a reserve
// if there are few, so that retries can't multiply an outage: the upstream receives at most
// 1+ratio times the traffic. It follows Finagle's RetryBudget (20 % in 10 s), which adds its
// reserve to the share.
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

// request counts a first attempt.
func (b *budget) request(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(now)
	b.requests[b.slot%budgetSlots]++
	b.sumReq++
}

// spend takes one extra attempt from the budget and reports whether it had one.
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

// advance drops the slots that left the window.
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

// hedgeWindow is the number of requests whose share of hedges can be saved up. It is a number,
// not a time: at a few requests per second the share of some seconds is spent on single
// stragglers before a server halts.
const hedgeWindow = 600

// hedgeBudget limits hedges to a share of the requests: each adds its share, up to that of
// hedgeWindow requests.
type hedgeBudget struct {
	mu            sync.Mutex
	ratio         float64
	saved, earned float64 // of the latest hedgeWindow requests
}

// request counts a first attempt.
func (b *hedgeBudget) request() {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := max(b.ratio*hedgeWindow, 1)
	b.saved, b.earned = min(b.saved+b.ratio, most), min(b.earned+b.ratio, most)
}

// spend takes one hedge from the budget and reports whether it had one. The later the attempt,
// in multiples of the time after which it is slow, the less is kept for later ones.
func (b *hedgeBudget) spend(lateness float64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.saved < max(1, b.earned/(1+lateness)) {
		return false
	}
	b.saved--
	return true
}
