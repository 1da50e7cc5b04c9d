package ratelimit_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

func BenchmarkMemory(b *testing.B) {
	m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
	require.NoError(b, err)
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprintf("%d charges", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				charges := make([]ratelimit.Charge, n)
				for i := range charges {
					charges[i] = ratelimit.Charge{Bucket: ratelimit.Bucket{Limit: strconv.Itoa(i), Key: fmt.Sprint("key", i), Rate: 1e9, Burst: 1e9}, Cost: 1}
				}
				for pb.Next() {
					_ = m.Take(context.Background(), charges)
				}
			})
		})
	}
}
