package balance_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// calls makes exchanges at e00: a lower-case letter is a success of the caller that it names,
// an upper-case one a failure.
func calls(t *testing.T, p *balance.Pool, list string) {
	t.Helper()
	for _, c := range list {
		req := request(t, "e00")
		caller := uint64(c)
		if c < 'a' {
			req.Header.Set("X-Status", "500")
			caller = uint64(c - 'A' + 'a')
		}
		_, req = (&exchange.Exchange{Caller: caller}).Begin(req)
		_, err := send(t, p, req)
		require.NoError(t, err)
	}
}

// One caller's failures eject nothing while others are served.
func TestOneCallerDoesNotEject(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		calls   string
		ejected bool
	}{
		"alone":                    {"AAAAA", true},
		"beside its own successes": {"aaaAAAAA", true},
		"beside another's success": {"bAAAAAAAAAAAAA", false},
		"two":                      {"bAAAAB", true},
		"two beside a third":       {"ccccAABAA", true},
		"after another was served": {"bAAAAA A", true},
		"two, one of them before":  {"bAAAAAAAAB", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := outlierPool(t, 3, balance.Outlier{}, nil)
				for _, c := range tt.calls {
					if c == ' ' {
						advance(11 * time.Second)
						continue
					}
					calls(t, p, string(c))
				}
				assert.Equal(t, tt.ejected, ejected(t, p, "e00") > 0)
			})
		})
	}
}

// The rules of sweeps distinguish callers as well.
func TestOneCallerDoesNotEjectInASweep(t *testing.T) {
	t.Parallel()
	for _, several := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := outlierPool(t, 3, balance.Outlier{FailurePercent: 50, MinRequests: 10, Consecutive: -1}, nil)
			run(t, p)
			advance(8500 * time.Millisecond)
			calls(t, p, "AAAAAAAAAAAAAAAAAAAAb")
			if several {
				calls(t, p, "B")
			}
			advance(2600 * time.Millisecond)
			assert.Equal(t, several, ejected(t, p, "e00") > 0)
		})
	}
}

// The attempts of one request are one observation.
func TestOneExchangeIsOneFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := outlierPool(t, 1, balance.Outlier{}, nil)
		for n := range 5 {
			require.Zero(t, ejected(t, p, "e00"), "after %d", n)
			x := new(exchange.Exchange)
			for range min(3, 2*(5-n)-1) { // the last one is only begun
				req := request(t, "e00")
				req.Header.Set("X-Status", "500")
				_, req = x.Begin(req)
				_, err := send(t, p, req)
				require.NoError(t, err)
			}
		}
		require.Positive(t, ejected(t, p, "e00"))
		require.EqualValues(t, 13, status(t, p, "e00").Failures)
	})
}

// A status that limits the credential ejects nothing, nor does a shadow request.
func TestWhatEjectsNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status string
		shadow bool
	}{
		"429":       {status: "429"},
		"400":       {status: "400"},
		"404":       {status: "404"},
		"of a copy": {status: "500", shadow: true},
	} {
		p := outlierPool(t, 1, balance.Outlier{}, nil)
		for range 20 {
			req := request(t, "e00")
			req.Header.Set("X-Status", tt.status)
			_, req = (&exchange.Exchange{Shadow: tt.shadow}).Begin(req)
			_, err := send(t, p, req)
			require.NoError(t, err)
		}
		require.Zero(t, ejected(t, p, "e00"), name)
		require.Zero(t, status(t, p, "e00").Inflight, name)
	}
}
