package balance_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

// outlierPool has directed requests, no active checks and no panic.
func outlierPool(t *testing.T, n int, o balance.Outlier, on func(context.Context, balance.Event)) *balance.Pool {
	t.Helper()
	return newPool(t, balance.Config{
		Endpoints: endpoints(n), Outlier: o, OnEvent: on, Policy: directed(), PanicThreshold: -1,
		Transport: transport(respond), Health: balance.Health{Path: "-"},
	})
}

// ejected returns how long an endpoint remains ejected.
func ejected(t *testing.T, p *balance.Pool, endpoint string) time.Duration {
	t.Helper()
	until := status(t, p, endpoint).EjectedUntil
	if until.IsZero() {
		return 0
	}
	return time.Until(until)
}

func TestConsecutiveFailuresEject(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		outlier  balance.Outlier
		outcomes string
		want     time.Duration
	}{
		"four":                   {balance.Outlier{}, "ffff", 0},
		"five":                   {balance.Outlier{}, "fffff", 30 * time.Second},
		"a success between":      {balance.Outlier{}, "ffffoffff", 0},
		"own number":             {balance.Outlier{Consecutive: 2}, "ff", 30 * time.Second},
		"own time":               {balance.Outlier{BaseEjection: time.Minute}, "fffff", time.Minute},
		"longer than the most":   {balance.Outlier{BaseEjection: time.Hour}, "fffff", time.Hour},
		"rule off":               {balance.Outlier{Consecutive: -1}, "ffffffffff", 0},
		"ejection off":           {balance.Outlier{MaxEjected: -1}, "ffffffffff", 0},
		"ejection of no time":    {balance.Outlier{BaseEjection: -1}, "ffffffffff", 0},
		"successes do not eject": {balance.Outlier{}, "oooooooooo", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log events
				p := outlierPool(t, 3, tt.outlier, log.on)
				require.True(t, outcomes(t, p, "e00", tt.outcomes))
				require.Equal(t, tt.want, ejected(t, p, "e00"))
				if tt.want == 0 {
					require.Empty(t, log.all())
					return
				}
				require.Equal(t, []string{"ejected e00"}, log.all())
				require.False(t, outcomes(t, p, "e00", "o"))
				advance(tt.want)
				require.True(t, outcomes(t, p, "e00", "o"), "the clock alone ends it")
			})
		})
	}
}

func TestEjectionGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := outlierPool(t, 3, balance.Outlier{MaxEjection: 100 * time.Second}, nil)
		run(t, p)
		for _, want := range []int{30, 60, 90, 100, 100, 100, 100} {
			require.True(t, outcomes(t, p, "e00", "fffff"))
			require.Equal(t, time.Duration(want)*time.Second, ejected(t, p, "e00"))
			advance(ejected(t, p, "e00"))
		}
		advance(12 * time.Second) // a sweep reduces the count by one or two
		outcomes(t, p, "e00", "fffff")
		require.InDelta(t, 100, ejected(t, p, "e00").Seconds(), 10)
		advance(ejected(t, p, "e00"))
		advance(50 * time.Second) // as far as it counted, and not further
		outcomes(t, p, "e00", "fffff")
		require.Equal(t, 30*time.Second, ejected(t, p, "e00"))
	})
}

func TestMaxEjected(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		endpoints, percent, want int
	}{
		"one is always allowed": {3, 0, 1},
		"a tenth":               {20, 0, 2},
		"rounded down":          {29, 0, 2},
		"half":                  {6, 50, 3},
		"all":                   {5, 100, 5},
		"none":                  {5, -1, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := outlierPool(t, tt.endpoints, balance.Outlier{MaxEjected: tt.percent}, nil)
				var wg sync.WaitGroup
				for _, e := range endpoints(tt.endpoints) { // all at once
					wg.Go(func() { outcomes(t, p, e.Name, "fffff") })
				}
				wg.Wait()
				out := 0
				for _, s := range p.Status() {
					if !s.EjectedUntil.IsZero() {
						out++
					}
				}
				require.Equal(t, tt.want, out)
			})
		})
	}
}

// TestSweep: e00 fails a share of its requests, alternating, the others none.
func TestSweep(t *testing.T) {
	t.Parallel()
	good, half := strings.Repeat("o", 100), strings.Repeat("of", 50)
	tests := map[string]struct {
		outlier balance.Outlier
		hosts   int
		first   string
		want    bool
	}{
		"success rate":            {balance.Outlier{}, 5, half, true},
		"too few hosts":           {balance.Outlier{}, 4, half, false},
		"too few requests":        {balance.Outlier{}, 5, half[:98], false},
		"fewer are enough":        {balance.Outlier{MinHosts: 4, MinRequests: 50}, 4, half[:98], false}, // 3 good ones: 1.73 deviations
		"fewer and less far":      {balance.Outlier{MinHosts: 4, MinRequests: 50, StdevFactor: 1.5}, 4, half[:98], true},
		"all alike":               {balance.Outlier{}, 5, good, false},
		"success rate off":        {balance.Outlier{StdevFactor: -1}, 5, half, false},
		"no number of hosts":      {balance.Outlier{MinHosts: -1}, 5, half, false},
		"no number of requests":   {balance.Outlier{MinRequests: -1, FailurePercent: 1}, 5, half, false},
		"sweeps off":              {balance.Outlier{Interval: -1}, 5, half, false},
		"failure percentage":      {balance.Outlier{FailurePercent: 50}, 1, half, true},
		"below the percentage":    {balance.Outlier{FailurePercent: 51}, 1, half, false},
		"percentage off":          {balance.Outlier{}, 1, half, false},
		"consecutive is no sweep": {balance.Outlier{Consecutive: -1}, 1, strings.Repeat("f", 100), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := outlierPool(t, tt.hosts, tt.outlier, nil)
				run(t, p)
				for _, e := range endpoints(tt.hosts)[1:] {
					outcomes(t, p, e.Name, good)
				}
				outcomes(t, p, "e00", tt.first)
				require.Zero(t, ejected(t, p, "e00"), "not before the sweep")
				advance(11500 * time.Millisecond)
				require.Equal(t, tt.want, ejected(t, p, "e00") > 0)
				for _, e := range endpoints(tt.hosts)[1:] {
					require.Zero(t, ejected(t, p, e.Name))
				}
			})
		})
	}
}

// TestASweepForgets: an interval counts once.
func TestASweepForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := outlierPool(t, 1, balance.Outlier{FailurePercent: 50}, nil)
		run(t, p)
		outcomes(t, p, "e00", strings.Repeat("of", 49))
		advance(11500 * time.Millisecond)
		outcomes(t, p, "e00", strings.Repeat("of", 49))
		advance(11500 * time.Millisecond)
		require.Zero(t, ejected(t, p, "e00"))
	})
}

// TestWhatFailsWhileOut: it began before, and does not count after the endpoint's return.
func TestWhatFailsWhileOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := outlierPool(t, 3, balance.Outlier{}, nil)
		var late []io.Closer
		for range 9 {
			req := request(t, "e00")
			req.Header.Set("X-Status", "502")
			res, err := p.RoundTrip(req) //nolint:bodyclose // closed below
			require.NoError(t, err)
			late = append(late, res.Body)
		}
		for _, body := range late {
			require.NoError(t, body.Close())
		}
		require.Equal(t, 30*time.Second, ejected(t, p, "e00"))
		advance(30 * time.Second)
		require.True(t, outcomes(t, p, "e00", "ffff"))
		require.Zero(t, ejected(t, p, "e00"))
	})
}

func TestARemovedEndpointIsNotEjected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log events
		p := outlierPool(t, 2, balance.Outlier{Consecutive: 1}, log.on)
		req := request(t, "e00")
		req.Header.Set("X-Status", "500")
		res, err := p.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, p.Remove("e00"))
		require.NoError(t, res.Body.Close())
		require.Equal(t, []string{"removed e00"}, log.all())
	})
}

func TestTheEventHasTheDuration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got balance.Event
		p := outlierPool(t, 2, balance.Outlier{Consecutive: 1}, func(_ context.Context, e balance.Event) { got = e })
		outcomes(t, p, "e01", "f")
		require.Equal(t, balance.Event{Kind: balance.Ejected, Endpoint: "e01", For: 30 * time.Second}, got)
	})
}
