package redisstore_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

func BenchmarkTake(b *testing.B) {
	server := redistest.Start(b)
	s := patient(b, server.Addr)
	for name, limits := range map[string][]string{"one charge": {"rpm"}, "three charges": {"rpm", "tpm", "month"}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				charges := make([]ratelimit.Charge, len(limits))
				for i := 0; pb.Next(); i++ {
					for j, limit := range limits {
						charges[j] = reserve(ratelimit.Bucket{Limit: limit, Key: strconv.Itoa(i % 1000), Rate: 1e6, Burst: 1e9}, 1)
					}
					if err := s.Take(context.Background(), charges); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	require.NoError(b, s.Take(context.Background(), nil))
}
