package storetest

import (
	"strings"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

func names(s *suite) {
	day := time.Now().Add(24 * time.Hour).Truncate(time.Second)
	buckets := []ratelimit.Bucket{
		{Limit: "a", Key: s.run, Burst: 10},
		{Limit: "b", Key: s.run, Burst: 10},
		{Limit: "a", Key: s.run + "x", Burst: 10},
		{Limit: "a", Key: s.run, Burst: 10, Ends: day},
		{Limit: "a", Key: s.run, Burst: 10, Ends: day.Add(time.Hour)},
		{Limit: "x", Key: "y" + s.run, Burst: 10},
		{Limit: "xy", Key: s.run, Burst: 10},
		{Limit: "x:y", Key: s.run, Burst: 10},
		{Limit: "x", Key: "y:" + s.run, Burst: 10},
	}
	s.distinct(buckets)
}

func oddKeys(s *suite) {
	long := strings.Repeat("k", 1024)
	var buckets []ratelimit.Bucket
	for _, key := range []string{
		"", " ", "  ", "\t", "\n", "\r\n", "\x00", "\x00\x00", "\xff\xfe", "{", "}", "{}", "{a}", "{b}", "a}{b", "%", "%s", "%7B",
		"*", "#", ":", "::", "0", "-1", "nil", "é", "e\u0301", "日本", "'; DROP", "\"", "\\", "\\n", "a", "A", "a ", " a",
		long, long + "k", long[1:], long + "\x00",
	} {
		buckets = append(buckets, ratelimit.Bucket{Limit: s.run, Key: key, Burst: 10})
	}
	s.distinct(buckets)
}

// distinct requires that a change of one bucket affects no other.
func (s *suite) distinct(buckets []ratelimit.Bucket) {
	s.t.Helper()
	for i, b := range buckets {
		require.Equal(s.t, int64(i%9+1), s.take(charge(b, int64(i%9+1)))[0].Granted, "%.40q of %q", b.Key, b.Limit)
	}
	for i, b := range buckets {
		require.InDelta(s.t, float64(10-(i%9+1)), s.level(b), near, "%.40q of %q", b.Key, b.Limit)
	}
}
