package ratelimit

import (
	"context"
	"errors"
	"math"
	"time"
)

// ErrUnavailable: the store did not answer. Limits then go by SharedConfig.FailureMode.
var ErrUnavailable = errors.New("ratelimit: store unavailable")

// Never is the Wait of a charge that no time will allow.
const Never = time.Duration(math.MaxInt64)

// Store keeps buckets. [Memory] is one for a single process; one that several
// replicas share, as redisstore, needs an answer over the network. Package
// storetest says by test what is asked of a store. It is called concurrently.
type Store interface {
	// Take takes the Cost of every charge, or nothing at all when one of them can't
	// be had, and fills in what it found. It makes at most one round trip. No
	// charges ask whether the store answers. An error wraps [ErrUnavailable], and
	// then what was taken is not known.
	Take(ctx context.Context, charges []Charge) error
	// Settle ends holds: of what was held, so much was spent. The rest returns to
	// the bucket; what was spent beyond it becomes debt, which never is refused.
	Settle(ctx context.Context, settlements []Settlement) error
}

// Bucket is a token bucket by its name and its size. A store that does not know
// it takes it for full. Take with another size changes the size and keeps what is
// in it, as far as it fits; of one that ends, what was spent. Settle changes no size.
type Bucket struct {
	// Limit is the limit's name, Key whom it is for. Together they are the bucket.
	Limit, Key string
	// Rate is how many tokens come back in a second. 0: none before Ends.
	Rate float64
	// Burst is how many tokens fit. At least 1.
	Burst int64
	// Ends is when a budget's period is over; buckets with another Ends are other
	// buckets. Zero: never.
	Ends time.Time
}

// Charge asks a bucket for tokens.
type Charge struct {
	Bucket
	// Cost is what is to be taken, at least 1. A cost above Burst needs a full
	// bucket, and leaves it in debt, so that a small limit never refuses for good.
	Cost int64
	// UpTo, when more than Cost, is what may be taken, of at most half of what is
	// there, rounded up.
	UpTo int64
	// Reserve keeps what was taken on an account of the caller's until it is settled.
	// When the caller's process dies it returns to the bucket.
	Reserve bool

	// Granted is what was taken: Cost or more, or 0 when the charges were refused.
	Granted int64
	// Left is what the bucket holds now; in debt it is negative.
	Left float64
	// Wait is 0 when the bucket can pay, else the time until it can, or [Never].
	Wait time.Duration

	local bool // granted by the stand-in for a store that is down
}

// Settlement ends a hold, or a part of it.
type Settlement struct {
	Bucket
	// Reserved is how much of the hold ends, Spent what was used. Reserved 0 adds debt, and a
	// Spent below 0 returns what was taken without a hold.
	Reserved, Spent int64

	local bool
}

// dust is what rounding may have taken from a level.
const dust = 1e-6

// need is the level at which a charge can be paid.
func (c *Charge) need() float64 { return float64(min(c.Cost, c.Burst)) - dust }

// grant is how much to take at a level that pays.
func (c *Charge) grant(level float64) int64 {
	return max(c.Cost, min(c.UpTo, int64(math.Ceil(level/2))))
}

// refuse turns a charge into a refusal.
func (c *Charge) refuse(wait time.Duration) {
	c.Granted, c.Wait = 0, max(wait, 1)
	if math.IsNaN(c.Left) { // it was not asked
		c.Left = 0
	}
}

// refusal is the charge that has to wait longest, or -1 when all were granted.
func refusal(charges []Charge) int {
	worst := -1
	for i := range charges {
		if c := &charges[i]; c.Wait > 0 && (worst < 0 || c.Wait > charges[worst].Wait) {
			worst = i
		}
	}
	return worst
}

// until is the time until a bucket has filled from level to need.
func (b *Bucket) until(now time.Time, level, need float64) time.Duration {
	wait := Never
	if b.Rate > 0 {
		wait = seconds((need - level) / b.Rate)
	}
	if !b.Ends.IsZero() {
		wait = min(wait, max(b.Ends.Sub(now), 1))
	}
	return wait
}

// seconds converts without overflow; the result is at least a nanosecond.
func seconds(s float64) time.Duration {
	d := math.Ceil(s * float64(time.Second))
	if d >= float64(math.MaxInt64) {
		return Never
	}
	return max(time.Duration(d), 1)
}
