package ratelimit

import (
	"context"
	"errors"
	"math"
	"time"
)

// ErrUnavailable is returned when the store is down. Behind a [Shared] its FailureMode then
// applies.
var ErrUnavailable = errors.New("ratelimit: store unavailable")

// Never is the Wait of a charge that is never granted.
const Never = time.Duration(math.MaxInt64)

// Store keeps buckets. Use [Memory] for a single process, and package redisstore for several
// replicas. Package storetest is a test suite for implementations. A Store must be safe for
// concurrent use.
type Store interface {
	// Take deducts the cost of every charge, or of none if one of them is refused, and
	// fills in the results. It makes at most one round trip. Without charges it checks
	// that the store is up. An error wraps [ErrUnavailable]; it is then unknown whether
	// the charges were deducted.
	Take(ctx context.Context, charges []Charge) error
	// Settle ends reservations. The part that was not spent returns to the bucket; an
	// excess becomes debt, which is never refused.
	Settle(ctx context.Context, settlements []Settlement) error
}

// Bucket identifies a token bucket and its size. A bucket that is new to a store is full. Take
// with another size resizes the bucket and keeps its level, as far as it fits; a bucket with
// Ends keeps what was spent. Settle does not resize.
type Bucket struct {
	// Limit is the name of the limit, and Key the key. Together they identify the bucket.
	Limit, Key string
	// Rate is the refill rate in tokens per second. 0: no refill before Ends.
	Rate float64
	// Burst is the size in tokens. At least 1.
	Burst int64
	// Ends is the end of a budget's period; it is part of the bucket's identity. Zero:
	// never.
	Ends time.Time
}

// Charge is a request for tokens of a bucket, and its result.
type Charge struct {
	Bucket
	// Cost is the number of tokens to take, at least 1. A cost above Burst needs a full
	// bucket and leaves it in debt, so that a small limit does not refuse it for ever.
	Cost int64
	// UpTo, if above Cost, is the number of tokens that may be taken, up to half of the
	// level, rounded up.
	UpTo int64
	// Reserve makes the taken tokens a reservation until they are settled. If the process
	// dies they return to the bucket.
	Reserve bool

	// Granted is the number of tokens taken: Cost or more, or 0 if the charges were
	// refused.
	Granted int64
	// Left is the level of the bucket afterwards; negative in debt.
	Left float64
	// Wait is 0 if the bucket can pay, else the time until it can, or [Never].
	Wait time.Duration

	local bool // granted from the local share while the store is down
}

// Settlement ends a reservation, or a part of it.
type Settlement struct {
	Bucket
	// Reserved is the part of the reservation that ends, and Spent the tokens that were
	// used. With a Reserved of 0, Spent is debited; a negative Spent returns tokens that
	// were taken without a reservation.
	Reserved, Spent int64

	local bool
}

// dust is the tolerated rounding error of a level.
const dust = 1e-6

// need returns the level at which a charge can be paid.
func (c *Charge) need() float64 { return float64(min(c.Cost, c.Burst)) - dust }

// grant returns the tokens to take at a sufficient level.
func (c *Charge) grant(level float64) int64 {
	return max(c.Cost, min(c.UpTo, int64(math.Ceil(level/2))))
}

// refuse turns a charge into a refusal.
func (c *Charge) refuse(wait time.Duration) {
	c.Granted, c.Wait = 0, max(wait, 1)
	if math.IsNaN(c.Left) { // the store was not called
		c.Left = 0
	}
}

// refusal returns the index of the charge with the longest wait, or -1 if all were granted.
func refusal(charges []Charge) int {
	worst := -1
	for i := range charges {
		if c := &charges[i]; c.Wait > 0 && (worst < 0 || c.Wait > charges[worst].Wait) {
			worst = i
		}
	}
	return worst
}

// until returns the time in which a bucket fills from level to need.
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

// seconds converts to a Duration without overflow; the result is at least a nanosecond.
func seconds(s float64) time.Duration {
	d := math.Ceil(s * float64(time.Second))
	if d >= float64(math.MaxInt64) {
		return Never
	}
	return max(time.Duration(d), 1)
}
