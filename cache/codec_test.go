package cache_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/require"
)

func TestEntryEncoding(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Millisecond)
	e := cache.Entry{
		Status: 404, Header: http.Header{"A": {"1", "2"}, "B": {""}}, Body: []byte("body"),
		RequestTime: now.Add(-time.Hour), ResponseTime: now.Add(-time.Minute), FreshUntil: now.Add(time.Minute), ExpiresAt: now.Add(time.Hour), FetchDuration: time.Second,
		StaleWhileRevalidate: 1, StaleIfError: time.Second, Validate: true, Vary: []string{"X"}, Mark: "m",
	}
	e.StaleWhileRevalidate = time.Millisecond
	b, err := e.AppendBinary([]byte("before"))
	require.NoError(t, err)
	var got cache.Entry
	require.NoError(t, got.Decode(b[len("before"):], e.ExpiresAt))
	require.Equal(t, e, got)
	for i := range len(b) - len("before") {
		require.ErrorIs(t, got.Decode(b[len("before"):len("before")+i], e.ExpiresAt), cache.ErrEncoding)
	}
	require.ErrorIs(t, got.Decode(append(b[len("before"):], 0), e.ExpiresAt), cache.ErrEncoding)
	require.ErrorIs(t, got.Decode([]byte{99}, e.ExpiresAt), cache.ErrEncoding)
	require.Equal(t, e, got, "an error changes nothing")
}

// Arbitrary bytes do not panic, and what can be decoded is encoded to the same entry.
func FuzzDecode(f *testing.F) {
	for _, e := range []cache.Entry{{}, {Status: 200, Header: http.Header{"A": {"b"}}, Body: []byte("x"), Vary: []string{"y"}, Mark: "z"}} {
		b, _ := e.AppendBinary(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again cache.Entry
		keep := time.Unix(1e9, 0)
		if e.Decode(b, keep) != nil {
			return
		}
		out, err := e.AppendBinary(nil)
		require.NoError(t, err)
		require.NoError(t, again.Decode(out, keep))
		require.Equal(t, e, again)
	})
}
