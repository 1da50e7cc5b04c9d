package balance_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

// weights is a policy that records the weights it sees.
func weights(got *[]float64) balance.Policy {
	return policyFunc(func([]balance.EndpointInfo) balance.Picker {
		return pickerFunc(func(_ *http.Request, c balance.Candidates) int {
			*got = nil
			for i := range c.Len() {
				*got = append(*got, c.Weight(i))
			}
			return 0
		})
	})
}

func TestSlowStart(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		slow balance.SlowStart
		age  time.Duration
		want float64
	}{
		"off":                      {balance.SlowStart{}, 0, 1},
		"negative is off":          {balance.SlowStart{Window: -1}, 0, 1},
		"at once":                  {balance.SlowStart{Window: 10 * time.Second}, 0, 0.1},
		"a second":                 {balance.SlowStart{Window: 10 * time.Second}, time.Second, 0.1},
		"half":                     {balance.SlowStart{Window: 10 * time.Second}, 5 * time.Second, 0.5},
		"nearly":                   {balance.SlowStart{Window: 10 * time.Second}, 9900 * time.Millisecond, 0.99},
		"over":                     {balance.SlowStart{Window: 10 * time.Second}, 10 * time.Second, 1},
		"long over":                {balance.SlowStart{Window: 10 * time.Second}, time.Hour, 1},
		"aggressive":               {balance.SlowStart{Window: 10 * time.Second, Aggression: 2}, 2500 * time.Millisecond, 0.5},
		"timid":                    {balance.SlowStart{Window: 10 * time.Second, Aggression: 0.5}, 5 * time.Second, 0.25},
		"own least":                {balance.SlowStart{Window: 10 * time.Second, Least: 0.3}, time.Second, 0.3},
		"a weight's share, not it": {balance.SlowStart{Window: 10 * time.Second, Least: 1}, 0, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got []float64
				p := newPool(t, balance.Config{Endpoints: endpoints(1), SlowStart: tt.slow, Policy: weights(&got)})
				late := endpoints(2)[1]
				late.Weight = 20
				require.NoError(t, p.Add(late))
				_, err := send(t, p, request(t, ""))
				require.NoError(t, err)
				advance(tt.age)
				_, err = send(t, p, request(t, ""))
				require.NoError(t, err)
				require.InDeltaSlice(t, []float64{1, 20 * tt.want}, got, 1e-9, "an initial endpoint does not start slowly")
			})
		})
	}
}

// TestSlowStartGrowsInSteps: without any other change.
func TestSlowStartGrowsInSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []float64
		p := newPool(t, balance.Config{SlowStart: balance.SlowStart{Window: 10 * time.Second}, Policy: weights(&got)})
		require.NoError(t, p.Add(endpoints(1)[0]))
		last := 0.0
		for range 101 {
			_, err := send(t, p, request(t, ""))
			require.NoError(t, err)
			require.GreaterOrEqual(t, got[0], last)
			last = got[0]
			advance(100 * time.Millisecond)
		}
		require.InDelta(t, 1, last, 1e-9)
	})
}

func TestPoliciesHonourSlowStart(t *testing.T) {
	t.Parallel()
	tests := map[string]balance.Policy{"round robin": balance.RoundRobin(), "least request": balance.LeastRequest()}
	for name, policy := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: named(fine), SlowStart: balance.SlowStart{Window: time.Minute}, Policy: policy})
				require.NoError(t, p.Add(endpoints(2)[1]))
				got := map[string]int{}
				for range 110 {
					res, err := p.RoundTrip(request(t, ""))
					require.NoError(t, err)
					t.Cleanup(func() { _ = res.Body.Close() })
					got[res.Header.Get("X-Host")]++
				}
				require.InDelta(t, 10, got["e01"], 1)
			})
		})
	}
}

func TestARecoveredEndpointStartsSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		results := make(chan error)
		var got []float64
		p := newPool(t, balance.Config{
			Endpoints: endpoints(1), SlowStart: balance.SlowStart{Window: 10 * time.Second}, Policy: weights(&got),
			Health: balance.Health{Healthy: 1, Check: resultFrom(results)},
		})
		run(t, p)
		results <- errors.New("unhealthy")
		results <- nil
		advance(0)
		_, err := send(t, p, request(t, ""))
		require.NoError(t, err)
		require.Equal(t, []float64{0.1}, got)
	})
}

func TestSlowStartOfSetEndpoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []float64
		p := newPool(t, balance.Config{Endpoints: endpoints(1), SlowStart: balance.SlowStart{Window: 10 * time.Second}, Policy: weights(&got)})
		require.NoError(t, p.SetEndpoints(endpoints(2)))
		_, err := send(t, p, request(t, ""))
		require.NoError(t, err)
		require.Equal(t, []float64{1, 0.1}, got)
	})
}
