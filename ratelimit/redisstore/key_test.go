package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/stretchr/testify/require"
)

// idle returns a store that never connects.
func idle(tb testing.TB) *redisstore.Store {
	tb.Helper()
	return newStore(tb, redisstore.Config{Client: open(tb, redisstore.Options("127.0.0.1:1")), Prefix: "p"})
}

func TestKeys(t *testing.T) {
	s := idle(t)
	long := strings.Repeat("k", 201)
	ends := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for want, b := range map[string]ratelimit.Bucket{
		"p:{alice}:rpm:0":               {Limit: "rpm", Key: "alice"},
		"p:{alice}:month:1893456000000": {Limit: "month", Key: "alice", Ends: ends},
		"p:{a b\n\x00:%}:rpm:0":         {Limit: "rpm", Key: "a b\n\x00:%"},
		"p:{" + long[1:] + "}:rpm:0":    {Limit: "rpm", Key: long[1:]},
		"p:{#e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}:rpm:0": {Limit: "rpm"},
		"p:{#44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a}:rpm:0": {Limit: "rpm", Key: "{}"},
	} {
		require.Equal(t, want, s.Name(b))
	}
	for _, key := range []string{long, "#", "#e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "a}b"} {
		require.Regexp(t, `^p:\{#[0-9a-f]{64}\}:rpm:0$`, s.Name(ratelimit.Bucket{Limit: "rpm", Key: key}))
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("rpm", "alice", int64(0), "rpm", "bob", int64(0))
	f.Add("a:1", "k", int64(2), "a", "k", int64(1))
	f.Add("a", "k}:b", int64(0), "b", "k", int64(0))
	f.Add("", "", int64(0), "#e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "{}", int64(-1))
	f.Add("a", strings.Repeat("k", 300), int64(1), "a", strings.Repeat("k", 301), int64(1))
	s := idle(f)
	f.Fuzz(func(t *testing.T, limit1, key1 string, ends1 int64, limit2, key2 string, ends2 int64) {
		a := ratelimit.Bucket{Limit: limit1, Key: key1, Ends: time.UnixMilli(ends1 % 1e13)}
		b := ratelimit.Bucket{Limit: limit2, Key: key2, Ends: time.UnixMilli(ends2 % 1e13)}
		same := limit1 == limit2 && key1 == key2 && a.Ends.Equal(b.Ends)
		require.Equal(t, same, s.Name(a) == s.Name(b), "%q %q", s.Name(a), s.Name(b))
		require.LessOrEqual(t, len(s.Name(a)), 450)
		require.Equal(t, s.Tag(a), hashTag(s.Name(a)))
		require.NotEmpty(t, s.Tag(a))
	})
}

// hashTag returns the part of a key that determines its node in Redis Cluster.
func hashTag(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	tag, _, _ := strings.Cut(rest, "}")
	return tag
}
