package redisstore_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/redisstore"
	"github.com/stretchr/testify/require"
)

// replica returns a store with a name.
func replica(t *testing.T, server *redistest.Server, name string, expiry time.Duration) *redisstore.Store {
	t.Helper()
	return newStore(t, redisstore.Config{Client: newClient(t, server.Addr), Timeout: patience, Expiry: expiry, Holder: name})
}

func TestReservationsOfADeadReplicaReturn(t *testing.T) {
	server := redistest.Start(t)
	dying, other := replica(t, server, "dying", 100*time.Millisecond), replica(t, server, "other", time.Hour)
	b := fixed("k", 100)
	began := time.Now()
	take(t, dying, reserve(b, 30))
	take(t, other, reserve(b, 20))
	redistest.Await(t, "the reservation returns", func() error {
		if l := level(t, other, b); l < 79 {
			return fmt.Errorf("level %v", l)
		}
		return nil
	})
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond)
	requireLevel(t, other, b, 80) // its own reservation stays

	// If it was only slow, its spending counts once.
	settle(t, dying, ratelimit.Settlement{Bucket: b, Reserved: 30, Spent: 10})
	requireLevel(t, other, b, 70)
	settle(t, other, ratelimit.Settlement{Bucket: b, Reserved: 20, Spent: 20})
	requireLevel(t, other, b, 70)
	require.Equal(t, "l\nt\nn", server.MustDo("HKEYS", other.Name(b)), "no reservation is left")
}

func TestLateSettlement(t *testing.T) {
	server := redistest.Start(t)
	s := replica(t, server, "slow", time.Hour)
	b := fixed("k", 100)
	take(t, s, reserve(b, 30))
	settle(t, s, ratelimit.Settlement{Bucket: b, Reserved: 50, Spent: 10}) // 20 of these had expired
	requireLevel(t, s, b, 90)
	take(t, s, reserve(b, 90))
	server.MustDo("DEL", s.Name(b)) // data loss
	settle(t, s, ratelimit.Settlement{Bucket: b, Reserved: 90, Spent: 40})
	requireLevel(t, s, b, 60)
}

func TestCallsRenewReservations(t *testing.T) {
	server := redistest.Start(t)
	s, other := replica(t, server, "busy", time.Hour), replica(t, server, "other", time.Hour)
	b := fixed("k", 100)
	take(t, s, reserve(b, 30))
	for name, touch := range map[string]func(){
		"taking":      func() { take(t, s, reserve(b, 1)) },
		"adding debt": func() { settle(t, s, ratelimit.Settlement{Bucket: b, Spent: 1}) },
		"nothing":     func() { settle(t, s, ratelimit.Settlement{Bucket: b}) },
		"ending part": func() { settle(t, s, ratelimit.Settlement{Bucket: b, Reserved: 1, Spent: 1}) },
	} {
		server.MustDo("HSET", s.Name(b), "h:busy", "30 9000000000000")
		touch()
		require.Less(t, expiryOf(t, server, s.Name(b)), 9e12, name)
	}
	server.MustDo("HSET", s.Name(b), "h:busy", "30 9000000000000")
	take(t, other, reserve(b, 1))
	require.InDelta(t, 9e12, expiryOf(t, server, s.Name(b)), 1, "calls of another replica do not renew it")
}

// expiryOf returns the expiry of the reservation of "busy".
func expiryOf(t *testing.T, server *redistest.Server, key string) float64 {
	t.Helper()
	_, ends, _ := strings.Cut(server.MustDo("HGET", key, "h:busy"), " ")
	out, err := strconv.ParseFloat(ends, 64)
	require.NoError(t, err)
	return out
}

func TestReservationsAreBounded(t *testing.T) {
	server := redistest.Start(t)
	client := newClient(t, server.Addr)
	b := fixed("k", 10_000)
	for i := range 1010 {
		s := newStore(t, redisstore.Config{Client: client, Timeout: patience, Holder: strconv.Itoa(i)})
		take(t, s, reserve(b, 1))
	}
	s := newStore(t, redisstore.Config{Client: client, Timeout: patience})
	n, err := strconv.Atoi(server.MustDo("HLEN", s.Name(b)))
	require.NoError(t, err)
	require.LessOrEqual(t, n, 1001)
	requireLevel(t, s, b, 10_000-1010)
}
