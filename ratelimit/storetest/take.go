package storetest

import (
	"context"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

func full(s *suite) {
	b := s.bucket("a", 10)
	got := s.take(charge(b, 4))[0]
	require.EqualValues(s.t, 4, got.Granted)
	require.InDelta(s.t, 6, got.Left, near)
	require.Zero(s.t, got.Wait)
	require.True(s.t, s.granted(b, 6))
	got = s.take(charge(b, 1))[0]
	require.Zero(s.t, got.Granted)
	require.InDelta(s.t, 0, got.Left, near)
	require.Greater(s.t, got.Wait, time.Hour)
}

func ping(s *suite) {
	require.NoError(s.t, s.store.Take(s.t.Context(), nil))
	require.NoError(s.t, s.store.Settle(s.t.Context(), nil))
}

func allOrNothing(s *suite) {
	a, b, c := s.bucket("a", 10), s.bucket("b", 2), s.bucket("c", 10)
	got := s.take(charge(a, 1), charge(b, 2), charge(c, 3))
	for i, want := range []int64{1, 2, 3} {
		require.Equal(s.t, want, got[i].Granted)
	}
	got = s.take(charge(a, 1), charge(b, 1), charge(c, 8))
	for i, left := range []float64{9, 0, 7} {
		require.Zero(s.t, got[i].Granted, "charge %d", i)
		require.InDelta(s.t, left, got[i].Left, near, "charge %d", i)
		require.Equal(s.t, i > 0, got[i].Wait > 0, "charge %d waits %v", i, got[i].Wait)
	}
	got = s.take(reserve(c, 1), reserve(b, 1)) // whichever comes first
	require.Zero(s.t, got[0].Granted)
	s.requireLevel(a, 9)
	s.requireLevel(c, 7)
}

func sameBucketTwice(s *suite) {
	b := s.bucket("a", 10)
	got := s.take(charge(b, 6), charge(b, 6))
	require.Zero(s.t, got[0].Granted+got[1].Granted)
	s.requireLevel(b, 10)
	got = s.take(charge(b, 6), charge(b, 3))
	require.EqualValues(s.t, 9, got[0].Granted+got[1].Granted)
	s.requireLevel(b, 1)
}

func reusedCharges(s *suite) {
	a, b := s.bucket("a", 10), s.bucket("b", 10)
	charges := s.take(charge(a, 8), charge(b, 10))
	s.take(charges...)
	require.Zero(s.t, charges[0].Granted+charges[1].Granted)
	s.settle(ratelimit.Settlement{Bucket: a, Spent: -8}, ratelimit.Settlement{Bucket: b, Spent: -10})
	s.take(charges...)
	require.EqualValues(s.t, 18, charges[0].Granted+charges[1].Granted)
	require.Zero(s.t, charges[0].Wait+charges[1].Wait)
	s.requireLevel(a, 2)
}

func aboveBurst(s *suite) {
	b := s.bucket("a", 10)
	got := s.take(charge(b, 25))[0]
	require.EqualValues(s.t, 25, got.Granted)
	require.InDelta(s.t, -15, got.Left, near)
	require.False(s.t, s.granted(b, 1))
	other := s.bucket("b", 10)
	require.True(s.t, s.granted(other, 1))
	require.False(s.t, s.granted(other, 25), "it is not full")
	s.requireLevel(other, 9)
}

func upto(s *suite) {
	b := ratelimit.Bucket{Limit: "a", Key: s.run, Burst: 100} // it does not fill at all
	for _, tt := range []struct{ cost, upto, want int64 }{
		{1, 20, 20}, // 100: as much as requested
		{1, 90, 40}, // 80: half
		{30, 90, 30},
		{1, 0, 1},  // 10
		{1, 90, 5}, // 9: half, rounded up
		{2, 1, 2},  // 4: less than the cost
		{2, 90, 2}, // 2: all, since it costs that
		{1, 90, 0},
	} {
		got := s.take(ratelimit.Charge{Bucket: b, Cost: tt.cost, UpTo: tt.upto})[0]
		require.Equal(s.t, tt.want, got.Granted, "%+v", tt)
	}
	full, empty := s.bucket("b", 100), s.bucket("c", 1)
	s.take(charge(empty, 1))
	got := s.take(ratelimit.Charge{Bucket: full, Cost: 1, UpTo: 50, Reserve: true}, charge(empty, 1))[0]
	require.Zero(s.t, got.Granted)
	require.InDelta(s.t, 100, got.Left, near)
}

func refill(s *suite) {
	b := ratelimit.Bucket{Limit: "a", Key: s.run, Rate: 200, Burst: 10}
	require.True(s.t, s.granted(b, 10))
	s.eventually(func() bool { return s.granted(b, 10) })
	s.settle(ratelimit.Settlement{Bucket: b, Spent: -5})
	s.eventually(func() bool { return s.level(b) >= 10 })
	require.LessOrEqual(s.t, s.level(b), 10.0)
}

func honestWait(s *suite) {
	b := ratelimit.Bucket{Limit: "a", Key: s.run, Rate: 100, Burst: 30}
	began := time.Now()
	require.True(s.t, s.granted(b, 30))
	got := s.take(charge(b, 20))[0]
	require.Zero(s.t, got.Granted)
	require.Positive(s.t, got.Wait)
	require.LessOrEqual(s.t, got.Wait, 200*time.Millisecond)
	require.InDelta(s.t, (20-got.Left)/b.Rate, got.Wait.Seconds(), 1e-3)
	<-time.After(got.Wait)
	require.True(s.t, s.granted(b, 20))
	require.GreaterOrEqual(s.t, time.Since(began), 195*time.Millisecond, "two clocks may differ a little")

	slowly := ratelimit.Bucket{Limit: "b", Key: s.run, Rate: 1.0 / 3600, Burst: 1}
	require.True(s.t, s.granted(slowly, 1))
	got = s.take(charge(slowly, 1))[0]
	require.InDelta(s.t, time.Hour.Seconds(), got.Wait.Seconds(), 60)
	require.Zero(s.t, s.take(charge(s.bucket("c", 1), 1), charge(slowly, 1))[0].Wait, "this one can pay")

	never := ratelimit.Bucket{Limit: "d", Key: s.run, Burst: 1}
	require.True(s.t, s.granted(never, 1))
	require.Equal(s.t, ratelimit.Never, s.take(charge(never, 1))[0].Wait)
}

func debtRecovers(s *suite) {
	b := ratelimit.Bucket{Limit: "a", Key: s.run, Rate: 1000, Burst: 10}
	began := time.Now()
	require.True(s.t, s.granted(b, 110))
	s.eventually(func() bool { return s.granted(b, 5) })
	require.GreaterOrEqual(s.t, time.Since(began), 100*time.Millisecond)
}

func budget(s *suite) {
	ends := time.Now().Add(24 * time.Hour).Truncate(time.Second)
	b := ratelimit.Bucket{Limit: "a", Key: s.run, Burst: 100, Ends: ends}
	require.True(s.t, s.granted(b, 60))
	got := s.take(charge(b, 50))[0]
	require.Zero(s.t, got.Granted)
	require.InDelta(s.t, time.Until(ends).Seconds(), got.Wait.Seconds(), 60)
	require.Equal(s.t, 40.0, s.level(b)) //nolint:testifylint // exactly: nothing comes back
	next := b
	next.Ends = ends.AddDate(0, 0, 1)
	s.requireLevel(next, 100)
	s.settle(ratelimit.Settlement{Bucket: next, Spent: 30})
	s.requireLevel(next, 70)
	s.requireLevel(b, 40)

	fills := ratelimit.Bucket{Limit: "b", Key: s.run, Rate: 1.0 / 7200, Burst: 1, Ends: time.Now().Add(time.Hour)}
	require.True(s.t, s.granted(fills, 1))
	require.LessOrEqual(s.t, s.take(charge(fills, 1))[0].Wait, time.Hour+time.Minute)

	over := ratelimit.Bucket{Limit: "c", Key: s.run, Burst: 1, Ends: time.Now().Add(-time.Minute)}
	s.settle(ratelimit.Settlement{Bucket: over, Spent: 1}) // of a long request
}

func canceled(s *suite) {
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	began := time.Now()
	b := s.bucket("a", 10)
	_ = s.store.Take(ctx, []ratelimit.Charge{charge(b, 1)}) // with or without an error
	_ = s.store.Settle(ctx, []ratelimit.Settlement{{Bucket: b, Spent: 1}})
	require.Less(s.t, time.Since(began), time.Second)
	require.LessOrEqual(s.t, s.level(b), 10.0, "and the store still works")
}
