package balance_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

func cooldownPool(t *testing.T, n int) *balance.Pool {
	t.Helper()
	return newPool(t, balance.Config{Endpoints: endpoints(n), Transport: named(respond), Policy: balance.RoundRobin()})
}

// ask makes a request for a response with a status and a Retry-After, and returns the endpoint.
func ask(t *testing.T, p *balance.Pool, code, after string) string {
	t.Helper()
	req := request(t, "")
	req.Header.Set("X-Status", code)
	req.Header.Set("X-Retry-After", after)
	host, err := send(t, p, req)
	require.NoError(t, err)
	return host
}

func TestRetryAfterStartsACooldown(t *testing.T) {
	t.Parallel()
	in := func(d time.Duration) func() string {
		return func() string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	text := func(s string) func() string { return func() string { return s } }
	tests := map[string]struct {
		code  string
		after func() string
		want  time.Duration
	}{
		"429":              {"429", text("3"), 3 * time.Second},
		"503":              {"503", text("20"), 20 * time.Second},
		"capped":           {"429", text("3600"), time.Minute},
		"absurd":           {"429", text("9000000000000"), time.Minute},
		"date":             {"503", in(10 * time.Second), 10 * time.Second},
		"date, capped":     {"429", in(24 * time.Hour), time.Minute},
		"date passed":      {"429", in(-time.Second), 0},
		"none":             {"429", text(""), 0},
		"zero":             {"429", text("0"), 0},
		"negative":         {"503", text("-5"), 0},
		"nonsense":         {"503", text("soon"), 0},
		"other status":     {"500", text("3"), 0},
		"success":          {"200", text("3"), 0},
		"redirect to wait": {"302", text("3"), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := cooldownPool(t, 3)
				require.Equal(t, "e00", ask(t, p, tt.code, tt.after()))
				until := status(t, p, "e00").CoolingUntil
				if tt.want == 0 {
					require.True(t, until.IsZero())
					require.Contains(t, served(t, p, 6), "e00")
					return
				}
				require.Equal(t, tt.want, time.Until(until))
				require.NotContains(t, served(t, p, 6), "e00")
				advance(tt.want - time.Millisecond)
				require.NotContains(t, served(t, p, 6), "e00")
				advance(time.Millisecond)
				require.Equal(t, map[string]int{"e00": 2, "e01": 2, "e02": 2}, served(t, p, 6))
			})
		})
	}
}

func TestWhenAllCoolDownAllAreUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := cooldownPool(t, 3)
		for range 3 {
			ask(t, p, "429", "30")
		}
		require.Len(t, served(t, p, 9), 3)
		advance(30 * time.Second)
		require.Len(t, served(t, p, 9), 3)
	})
}

// TestUnhealthyIsWorseThanCoolingDown: a cooldown is requested, ill health is a fault.
func TestUnhealthyIsWorseThanCoolingDown(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(3), Transport: named(respond), Health: unhealthyUpTo(1)})
	checkOnce(t, p)
	for range 2 {
		ask(t, p, "429", "30")
	}
	got := served(t, p, 20)
	require.Len(t, got, 2)
	require.NotContains(t, got, "e00")
}

// TestCooldownIsNoPanic: many cooldowns do not make unhealthy endpoints usable.
func TestCooldownIsNoPanic(t *testing.T) {
	t.Parallel()
	var log events
	p := newPool(t, balance.Config{Endpoints: endpoints(4), Transport: named(respond), Health: unhealthyUpTo(1), OnEvent: log.on})
	checkOnce(t, p)
	for range 2 {
		ask(t, p, "429", "30")
	}
	require.Len(t, served(t, p, 20), 1)
	require.Equal(t, []string{"unhealthy e00"}, log.all())
}

// TestA429IsNoFailure: but a 503 is one.
func TestA429IsNoFailure(t *testing.T) {
	t.Parallel()
	p := cooldownPool(t, 1)
	ask(t, p, "429", "1")
	require.Zero(t, status(t, p, "e00").Failures)
	ask(t, p, "503", "1")
	require.EqualValues(t, 1, status(t, p, "e00").Failures)
}
