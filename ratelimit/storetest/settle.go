package storetest

import (
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

func settle(s *suite) {
	for _, tt := range []struct {
		what                  string
		take, reserved, spent int64
		left, afterAnother    float64
	}{
		{"all was spent", 40, 40, 40, 60, 60},
		{"nothing was spent", 40, 40, 0, 100, 100},
		{"a part was spent", 40, 40, 10, 90, 90},
		{"more was spent", 40, 40, 70, 30, 30},
		{"much more was spent", 40, 40, 1000, -900, -900},
		{"a part of the reservation ends", 40, 10, 0, 70, 70},
		{"debt is added, the reservation stays", 40, 0, 5, 55, 55},
		{"debt is added beyond the level", 40, 0, 100, -40, -40},
		{"nothing is changed", 40, 0, 0, 60, 60},
	} {
		b := s.bucket("settle "+tt.what, 100)
		require.Equal(s.t, tt.take, s.take(reserve(b, tt.take))[0].Granted, tt.what)
		s.settle(ratelimit.Settlement{Bucket: b, Reserved: tt.reserved, Spent: tt.spent})
		require.InDelta(s.t, tt.left, s.level(b), near, tt.what)
	}

	b := s.bucket("in parts", 100)
	s.take(reserve(b, 60))
	s.settle(ratelimit.Settlement{Bucket: b, Reserved: 20, Spent: 5})
	s.requireLevel(b, 55)
	s.settle(ratelimit.Settlement{Bucket: b, Reserved: 40, Spent: 50})
	s.requireLevel(b, 45)
}

func settleSeveral(s *suite) {
	a, b := s.bucket("a", 100), s.bucket("b", 100)
	s.take(reserve(a, 30), reserve(b, 30))
	s.settle(
		ratelimit.Settlement{Bucket: a, Reserved: 30, Spent: 10},
		ratelimit.Settlement{Bucket: b, Reserved: 30, Spent: 40},
		ratelimit.Settlement{Bucket: a, Spent: 1},
	)
	s.requireLevel(a, 89)
	s.requireLevel(b, 60)
}

func settleUnknown(s *suite) {
	b := s.bucket("a", 100)
	s.settle(ratelimit.Settlement{Bucket: b, Reserved: 50})
	s.requireLevel(b, 100)
	s.settle(ratelimit.Settlement{Bucket: b, Reserved: 50, Spent: 50})
	require.LessOrEqual(s.t, s.level(b), 100.0)
	other := s.bucket("b", 100)
	s.settle(ratelimit.Settlement{Bucket: other, Spent: 30})
	s.requireLevel(other, 70)
}

func undo(s *suite) {
	b := s.bucket("a", 100)
	s.take(charge(b, 30))
	s.settle(ratelimit.Settlement{Bucket: b, Spent: -30})
	s.requireLevel(b, 100)
	s.settle(ratelimit.Settlement{Bucket: b, Spent: -30})
	s.requireLevel(b, 100)

	b = s.bucket("b", 100)
	s.take(reserve(b, 1)) // so that it does not expire when it is full
	s.settle(ratelimit.Settlement{Bucket: b, Spent: -30})
	b.Burst = 200
	s.requireLevel(b, 100)
}

func resize(s *suite) {
	b := s.bucket("a", 100)
	s.take(charge(b, 30))
	b.Burst = 50
	s.requireLevel(b, 50)
	s.take(charge(b, 10))
	b.Burst = 200
	s.requireLevel(b, 40)
	b.Rate = 1000
	s.eventually(func() bool { return s.level(b) >= 199 })
	b.Rate, b.Burst = slow, 10
	s.take(charge(b, 60)) // it is full: debt
	b.Burst = 100
	s.requireLevel(b, -50)
}

func resizeBudget(s *suite) {
	b := s.bucket("a", 100)
	b.Rate, b.Ends = 0, time.Now().Add(time.Hour).Truncate(time.Second)
	s.take(charge(b, 60))
	b.Burst = 150
	s.requireLevel(b, 90)
	b.Burst = 50
	s.requireLevel(b, -10)
}

func settleOldSize(s *suite) {
	b := s.bucket("a", 100)
	s.take(reserve(b, 10))
	large := b
	large.Burst = 1000
	s.take(charge(large, 1)) // it is that large now
	s.settle(ratelimit.Settlement{Bucket: large, Spent: -500})
	before := s.level(large)
	s.settle(ratelimit.Settlement{Bucket: b, Reserved: 10, Spent: 10})
	s.requireLevel(large, before)
}

func big(s *suite) {
	const most int64 = 1 << 50 // that a ratelimit.Limit allows
	b := ratelimit.Bucket{Limit: "a", Key: s.run, Burst: most}
	require.True(s.t, s.granted(b, 1))
	got := s.take(reserve(b, most-3))[0]
	require.Equal(s.t, most-3, got.Granted)
	require.Equal(s.t, 2.0, got.Left) //nolint:testifylint // exactly
	s.settle(ratelimit.Settlement{Bucket: b, Reserved: most - 3, Spent: most - 7})
	require.Equal(s.t, 6.0, s.level(b)) //nolint:testifylint // exactly
	require.True(s.t, s.granted(b, 6))
	require.False(s.t, s.granted(b, 1))
	s.settle(ratelimit.Settlement{Bucket: b, Spent: most})
	require.Equal(s.t, -float64(most), s.level(b)) //nolint:testifylint // exactly
}
