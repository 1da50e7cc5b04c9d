package ratelimit

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// bucket is a rate.Limiter that allows debt and refunds. The shard's lock guards it, so that
// its times never run backwards: an earlier time would mint tokens.
//
// A rate.Limiter counts in int, which is too short for large budgets on 32-bit platforms. There
// the limiter counts in units of several tokens.
type bucket struct {
	limiter *rate.Limiter
	unit    int64 // tokens per token of limiter; 1 on 64-bit platforms
	apart   int64 // tokens that are no whole unit: the rest of burst and of what was taken
	rate    float64
	burst   int64
	ends    time.Time
}

// maxWhole bounds what a rate.Limiter is called with.
const maxWhole = int64(math.MaxInt / 2)

func newBucket(want *Bucket) *bucket {
	unit := int64(1)
	for want.Burst/unit > maxWhole {
		unit *= 2
	}
	return &bucket{
		limiter: rate.NewLimiter(rate.Limit(want.Rate/float64(unit)), int(want.Burst/unit)),
		unit:    unit, apart: want.Burst % unit, rate: want.Rate, burst: want.Burst, ends: want.Ends,
	}
}

// level returns the number of tokens, which is negative in debt.
func (b *bucket) level(now time.Time) float64 {
	return min(b.limiter.TokensAt(now)*float64(b.unit)+float64(b.apart), float64(b.burst))
}

// full reports whether an eviction of the bucket changes nothing.
func (b *bucket) full(now time.Time) bool {
	return !b.ends.IsZero() && !now.Before(b.ends) || b.level(now) >= float64(b.burst)
}

func (b *bucket) resize(want *Bucket, now time.Time) {
	before, was := b.level(now), b.burst
	if next := newBucket(want); next.unit != b.unit {
		next.add(now, int64(min(before, float64(want.Burst)))-want.Burst)
		*b = *next
	} else {
		b.rate, b.burst, b.apart = want.Rate, want.Burst, b.apart-b.burst%b.unit+want.Burst%b.unit
		b.limiter.SetLimitAt(now, rate.Limit(b.rate/float64(b.unit)))
		b.limiter.SetBurstAt(now, int(b.burst/b.unit))
	}
	if !b.ends.IsZero() { // a budget keeps what was spent
		b.add(now, int64(before+float64(b.burst-was)-b.level(now)))
	}
}

// add adds n tokens, or takes them regardless of the level.
func (b *bucket) add(now time.Time, n int64) {
	rest := b.burst % b.unit
	n += b.apart - rest
	whole := n / b.unit
	if n%b.unit < 0 {
		whole--
	}
	b.apart = n - whole*b.unit + rest
	for whole != 0 {
		step := min(max(whole, -maxWhole), maxWhole)
		b.take(now, -step)
		whole -= step
	}
}

// take takes n units, or adds them.
func (b *bucket) take(now time.Time, n int64) {
	burst := b.limiter.Burst()
	if n <= int64(burst) {
		b.limiter.ReserveN(now, int(n))
		return
	}
	b.limiter.SetBurstAt(now, int(n)) // ReserveN takes no more than a burst
	b.limiter.ReserveN(now, int(n))
	b.limiter.SetBurstAt(now, burst)
}
