package redisstore_test

import (
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

// A bucket that has grown is not forgotten before it is full, when a request from
// before is settled, or touched, by the size of then.
func TestAttackSettledByASmallerSize(t *testing.T) {
	s := patient(t, redistest.Start(t).Addr)
	before := ratelimit.Bucket{Limit: "grows", Key: "k", Rate: 1, Burst: 10}
	after := before
	after.Burst = 1000
	take(t, s, ratelimit.Charge{Bucket: after, Cost: 990})
	settle(t, s, ratelimit.Settlement{Bucket: before})
	time.Sleep(1500 * time.Millisecond) // a bucket that is full stays a second more
	require.Less(t, level(t, s, after), 20.)
}
