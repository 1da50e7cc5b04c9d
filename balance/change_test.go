package balance_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

// TestChangeUnderLoad changes the set in every way while 8 clients send.
func TestChangeUnderLoad(t *testing.T) {
	t.Parallel()
	policies := map[string]balance.Policy{
		"least request": nil, "round robin": balance.RoundRobin(),
		"ring":       balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), VirtualNodes: 16}),
		"rendezvous": balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: balance.Rendezvous}),
		"maglev":     balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Key"), Algorithm: balance.Maglev}),
	}
	for name, policy := range policies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, balance.Config{Endpoints: endpoints(4), Policy: policy, Transport: named(fine)})
			sent, lost := underLoad(t, p, func() {
				for range 10 {
					changeAll(t, p)
				}
			})
			require.Zero(t, lost)
			var counted, open int64
			for _, s := range p.Status() {
				counted += s.Requests
				open += s.Inflight
			}
			require.Positive(t, sent)
			require.LessOrEqual(t, counted, sent)
			require.Zero(t, open)
		})
	}
}

// underLoad runs f while 8 goroutines send without a pause.
func underLoad(t *testing.T, p *balance.Pool, f func()) (sent, lost int64) {
	t.Helper()
	var all, bad atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for key := range strings.FieldsSeq("a b c d e f g h") {
		req := request(t, key)
		wg.Go(func() {
			for first := true; first || !stop.Load(); first = false {
				all.Add(1)
				if _, err := send(t, p, req); err != nil {
					bad.Add(1)
				}
			}
		})
	}
	f()
	stop.Store(true)
	wg.Wait()
	return all.Load(), bad.Load()
}

func changeAll(t *testing.T, p *balance.Pool) {
	t.Helper()
	more := endpoints(6)
	require.NoError(t, p.Add(more[4]))
	require.NoError(t, p.SetWeight("e00", 7))
	require.NoError(t, p.Drain("e01"))
	require.NoError(t, p.Remove("e02"))
	require.NoError(t, p.Undrain("e01"))
	require.NoError(t, p.SetEndpoints(more[5:]))
	require.Len(t, p.Status(), 1)
	require.NoError(t, p.SetEndpoints(more[:4]))
}

func TestARemovedEndpointFinishesWhatItHas(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*balance.Pool) error{
		"remove": func(p *balance.Pool) error { return p.Remove("e00") },
		"drain":  func(p *balance.Pool) error { return p.Drain("e00") },
		"set":    func(p *balance.Pool) error { return p.SetEndpoints(endpoints(2)[1:]) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: named(fine)})
			res, err := p.RoundTrip(request(t, ""))
			require.NoError(t, err)
			require.NoError(t, p.Add(endpoints(2)[1]))
			require.NoError(t, change(p))
			for range 20 {
				host, err := send(t, p, request(t, ""))
				require.NoError(t, err)
				require.Equal(t, "e01", host)
			}
			got := make([]byte, 8)
			n, _ := res.Body.Read(got)
			require.Equal(t, "ok", string(got[:n]))
			require.NoError(t, res.Body.Close())
		})
	}
}

func TestChangesAreNotified(t *testing.T) {
	t.Parallel()
	var log events
	p := newPool(t, balance.Config{Endpoints: endpoints(1), OnEvent: log.on})
	require.NoError(t, p.Add(endpoints(2)[1]))
	require.NoError(t, p.Drain("e01"))
	require.NoError(t, p.Undrain("e01"))
	require.NoError(t, p.Remove("e00"))
	// e01 keeps its name and gets another URL: removed, then added.
	require.NoError(t, p.SetEndpoints([]balance.Endpoint{{Name: "e01", URL: "http://other.test"}, endpoints(3)[2]}))
	require.Equal(t, []string{"added e01", "drained e01", "undrained e01", "removed e00", "removed e01", "added e01", "added e02"}, log.all())
}

func TestKindsHaveNames(t *testing.T) {
	t.Parallel()
	for kind, want := range map[balance.Kind]string{balance.Added: "added", balance.PanicLeft: "panic_left", balance.PanicLeft + 1: "unknown", -1: "unknown"} {
		require.Equal(t, want, kind.String())
	}
}

func TestSetEndpointsKeepsWhatStays(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(2), Transport: named(fine)})
	for range 10 {
		_, err := send(t, p, request(t, ""))
		require.NoError(t, err)
	}
	before := p.Status()
	list := endpoints(2)
	list[1].Weight = 9
	list[0].URL = "http://moved.test"
	require.NoError(t, p.SetEndpoints(list))
	after := p.Status()
	require.Zero(t, after[0].Requests, "another URL is another endpoint")
	require.Equal(t, before[1].Requests, after[1].Requests)
	require.Equal(t, 9, after[1].Weight)
}

func TestChangesThatFail(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*balance.Pool) error
		want   string
	}{
		"add twice":     {func(p *balance.Pool) error { return p.Add(endpoints(1)[0]) }, "name is taken"},
		"add bad":       {func(p *balance.Pool) error { return p.Add(balance.Endpoint{URL: "ftp://x"}) }, "scheme"},
		"remove":        {func(p *balance.Pool) error { return p.Remove("x") }, "unknown endpoint"},
		"drain":         {func(p *balance.Pool) error { return p.Drain("x") }, "unknown endpoint"},
		"undrain":       {func(p *balance.Pool) error { return p.Undrain("x") }, "unknown endpoint"},
		"weight":        {func(p *balance.Pool) error { return p.SetWeight("x", 1) }, "unknown endpoint"},
		"weight 0":      {func(p *balance.Pool) error { return p.SetWeight("e00", 0) }, "weight 0"},
		"weight 1001":   {func(p *balance.Pool) error { return p.SetWeight("e00", 1001) }, "weight 1001"},
		"set bad":       {func(p *balance.Pool) error { return p.SetEndpoints([]balance.Endpoint{{URL: "x"}}) }, "scheme"},
		"set same name": {func(p *balance.Pool) error { return p.SetEndpoints(append(endpoints(1), endpoints(1)...)) }, "name is taken"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log events
			p := newPool(t, balance.Config{Endpoints: endpoints(2), OnEvent: log.on})
			err := tt.change(p)
			require.ErrorContains(t, err, tt.want)
			if strings.HasPrefix(tt.want, "unknown") {
				require.ErrorIs(t, err, balance.ErrUnknownEndpoint)
			}
			require.Len(t, p.Status(), 2, "nothing changed")
			require.Empty(t, log.all())
		})
	}
}

// TestDrainKeepsThePicker: the round continues where it was.
func TestDrainKeepsThePicker(t *testing.T) {
	t.Parallel()
	var made atomic.Int64
	policy := policyFunc(func([]balance.EndpointInfo) balance.Picker { made.Add(1); return firstUsable{} })
	p := newPool(t, balance.Config{Endpoints: endpoints(2), Policy: policy})
	require.NoError(t, p.Drain("e00"))
	require.NoError(t, p.Undrain("e00"))
	require.EqualValues(t, 1, made.Load())
	require.NoError(t, p.SetWeight("e00", 2))
	require.EqualValues(t, 2, made.Load())
}

// firstUsable is a custom policy.
type firstUsable struct{}

func (firstUsable) Pick(_ *http.Request, c balance.Candidates) int {
	for i := range c.Len() {
		if c.Usable(i) && c.Inflight(i) >= 0 && c.Weight(i) > 0 && c.Success(i) > 0 {
			return i
		}
	}
	return -1
}

// TestAChangeIsNotLost: a pick that was judging the endpoints while one was drained must not
// install its outdated view for good. The overlap can't be forced, but many endpoints and
// changes make it certain.
func TestAChangeIsNotLost(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(300), Policy: policyFunc(func([]balance.EndpointInfo) balance.Picker { return firstUsable{} })})
	req := request(t, "")
	stale := 0
	underLoad(t, p, func() {
		for range 2500 {
			require.NoError(t, p.Drain("e00"))
			for range 2 { // the first may look itself
				if balance.Pick(p, req) == "e00" {
					stale++
				}
			}
			require.NoError(t, p.Undrain("e00"))
		}
	})
	require.Zero(t, stale)
}
