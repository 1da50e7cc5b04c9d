package breaker_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// call makes an exchange of a caller at a path, with one attempt per status.
type call struct {
	caller uint64
	path   string
	shadow bool
}

// do returns the error of the last attempt.
func (c call) do(rt http.RoundTripper, u *upstream, attempts ...func(*http.Request) (*http.Response, error)) error {
	x := &exchange.Exchange{Caller: c.caller, Shadow: c.shadow}
	var err error
	for _, f := range attempts {
		u.set(f)
		_, err = send(exchange.With(context.Background(), x), onPath{rt, c.path})
	}
	return err
}

// onPath sends requests to another path.
type onPath struct {
	http.RoundTripper
	path string
}

func (o onPath) RoundTrip(req *http.Request) (*http.Response, error) {
	if o.path != "" {
		req.URL.Path = o.path
	}
	return o.RoundTripper.RoundTrip(req)
}

// opens gives hystrix, which counts in goroutines outside of the bubble, time to do so.
func opens(t *testing.T, g *breaker.Group) bool {
	t.Helper()
	return polls(t, g, 30_000)
}

// opensWith is opens for a circuit that hystrix may have counted too late for: the next exchange
// has it judged again.
func opensWith(t *testing.T, g *breaker.Group, next func()) bool {
	t.Helper()
	for range 20 {
		if opens(t, g) {
			return true
		}
		next()
	}
	return opens(t, g)
}

func polls(t *testing.T, g *breaker.Group, times int) bool {
	t.Helper()
	for range times {
		if state(t, g).State == breaker.Open {
			return true
		}
		runtime.Gosched()
	}
	return false
}

// play makes an exchange for each letter: "." succeeds, "F" fails, " " is a pause of eleven
// seconds.
func play(t *testing.T, g *breaker.Group, list string) bool {
	t.Helper()
	u := new(upstream)
	rt := g.Transport(u)
	for i, c := range list {
		switch c {
		case ' ':
			time.Sleep(11 * time.Second)
		case '.':
			_ = call{}.do(rt, u, good)
		default:
			_ = call{}.do(rt, u, bad)
		}
		if i >= 9 && polls(t, g, 200) { // not before there are ten
			return true
		}
	}
	return opens(t, g)
}

// The rule is hystrix's: half of ten exchanges or more in ten seconds, in any order.
func TestRateRule(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]bool{
		".F.F.F.F.F": true, "F.F.F.F.F.": true, "FFFFF.....": true, ".....FFFFF": true, "FF..FF..F.": true,
		"..FF..FF.F": true, "........FFFFFFFF": true, "FFFFFFFFFF": true,
		".................... .F.F.F.F.F": true,
		"FFFF......":                      false, ".F.F.F.F..": false, "FFFFFFFFF": false, "F.F.F.F...F": false,
		"FFFFFFFFF F": false, "FFFFFFFFF FFFFFFFF": false, ".F.F. F.F.F": false, "....................": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, breaker.Settings{})
			assert.Equal(t, want, play(t, g, list), list)
		})
	}
}

// An open circuit sleeps for five seconds, which vary by a fifth.
func TestRateRuleSleeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, breaker.Settings{})
		require.True(t, play(t, g, "FFFFFFFFFF"))
		assert.InDelta(t, 5, time.Until(state(t, g).Until).Seconds(), 1)
	})
}

// Failures in a row are an addition that is off by default.
func TestConsecutiveIsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, breaker.Settings{FailurePercent: -1})
		assert.False(t, play(t, g, "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"))
	})
}

// A request is one observation, whatever its attempts, and a final success replaces earlier
// failures.
func TestOneExchangeIsOneObservation(t *testing.T) {
	t.Parallel()
	type attempts = []func(*http.Request) (*http.Response, error)
	for name, tt := range map[string]struct {
		attempts attempts
		requests int
		opens    bool
	}{
		"nine of three attempts":         {attempts{bad, bad, bad}, 9, false},
		"ten of three attempts":          {attempts{bad, bad, bad}, 10, true},
		"ten that succeed in the end":    {attempts{bad, refused, good}, 30, false},
		"what succeeded does not fail":   {attempts{good, bad}, 30, false},
		"a neutral result is no success": {attempts{bad, missing}, 10, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, breaker.Settings{})
			u := new(upstream)
			rt := g.Transport(u)
			for range tt.requests {
				_ = call{}.do(rt, u, tt.attempts...)
			}
			assert.Equal(t, tt.opens, opens(t, g), name)
			assert.Zero(t, state(t, g).Inflight, name)
		})
	}
}

// A shadow request is no evidence.
func TestCopiesAreNoEvidence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := group(t, breaker.Settings{})
		u := new(upstream)
		rt := g.Transport(u)
		for range 30 {
			_ = call{shadow: true}.do(rt, u, bad)
		}
		assert.False(t, opens(t, g))
	})
}

// callersPlay makes an exchange for each letter, which names its caller: a capital fails.
func callersPlay(t *testing.T, g *breaker.Group, list string) bool {
	t.Helper()
	u := new(upstream)
	rt := g.Transport(u)
	for _, c := range list {
		switch {
		case c == ' ':
			time.Sleep(11 * time.Second)
		case c < 'a':
			_ = call{caller: uint64(c - 'A' + 'a')}.do(rt, u, bad)
		default:
			_ = call{caller: uint64(c)}.do(rt, u, good)
		}
	}
	return opens(t, g)
}

// One caller's failures open nothing while others are served.
func TestOneCallerOpensNothing(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]bool{
		"AAAAAAAAAA":             true, // alone the rule holds
		"aAaAaAaAaA":             true,
		"bAAAAAAAAAAAAAAAAAAAA":  false,
		"bAAAAAAAAAAAAAAAAAAAAB": true, // b is not served either
		"bbbbbAAAAAAAAAAAAAAAAB": false,
		"b AAAAAAAAAA":           true, // that was long ago
		"AAAAABBBBB":             true,
		"abcABCABCABC":           true,
	} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, breaker.Settings{})
			assert.Equal(t, want, callersPlay(t, g, list), list)
			g, _ = group(t, breaker.Settings{CallersOff: true})
			assert.True(t, callersPlay(t, g, list), list)
		})
		synctest.Test(t, func(t *testing.T) {
			g, _ := group(t, breaker.Settings{FailurePercent: -1, Consecutive: 8})
			callersPlay(t, g, "bAAAAAAAAAAAAAAAAAAAA")
			assert.False(t, opens(t, g), "nor do failures in a row")
		})
	}
}
