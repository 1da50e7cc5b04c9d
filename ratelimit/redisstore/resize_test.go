package redisstore_test

import (
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

// A grown bucket does not expire before it is full when an earlier request is settled or
// renewed with the old size.
func TestSettleWithSmallerSize(t *testing.T) {
	s := patient(t, redistest.Start(t).Addr)
	before := ratelimit.Bucket{Limit: "grows", Key: "k", Rate: 1, Burst: 10}
	after := before
	after.Burst = 1000
	take(t, s, ratelimit.Charge{Bucket: after, Cost: 990})
	settle(t, s, ratelimit.Settlement{Bucket: before})
	time.Sleep(1500 * time.Millisecond) // a full bucket expires a second later
	require.Less(t, level(t, s, after), 20.)
}
