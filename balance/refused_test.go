package balance_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// refusing refuses requests to some hosts, as open circuits do.
type refusing struct {
	hosts    map[string]bool
	cooldown time.Duration

	relents string // admits a last resort
	called  []string
	last    []string // hosts that were called as the last resort
}

func (r *refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	host := strings.TrimSuffix(req.URL.Hostname(), ".test")
	r.called = append(r.called, host)
	if exchange.IsLastResort(req.Context()) {
		r.last = append(r.last, host)
		if r.relents == host {
			return named(fine)(req)
		}
	}
	if r.hosts[host] {
		return nil, errors.Join(errors.New("circuit open"), &exchange.NotSentError{Cooldown: r.cooldown})
	}
	return named(fine)(req)
}

// An endpoint that refuses before anything is sent costs the caller nothing: another one is
// used in the same call, with the same body.
func TestRefusedByOne(t *testing.T) {
	t.Parallel()
	for name, policy := range allPolicies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tr := &refusing{hosts: map[string]bool{"e00": true, "e02": true}, cooldown: 5 * time.Second}
				p := newPool(t, balance.Config{Endpoints: endpoints(4), Transport: tr, Policy: policy})
				for range 20 {
					req := request(t, "k")
					req.Body = io.NopCloser(strings.NewReader("body"))
					host, err := send(t, p, req)
					require.NoError(t, err)
					require.Contains(t, []string{"e01", "e03"}, host)
				}
				assert.LessOrEqual(t, len(tr.called), 22, "they cool down")
				for _, s := range p.Status() {
					assert.Zero(t, s.Inflight)
					assert.Zero(t, s.Failures)
				}
			})
		})
	}
}

// An endpoint that refuses without a cooldown is called each time: it may admit a part.
func TestTrickle(t *testing.T) {
	t.Parallel()
	tr := &refusing{hosts: map[string]bool{"e00": true}}
	p := newPool(t, balance.Config{Endpoints: endpoints(2), Transport: tr, Policy: balance.RoundRobin()})
	for range 10 {
		_, err := send(t, p, request(t, ""))
		require.NoError(t, err)
	}
	called := 0
	for _, h := range tr.called {
		if h == "e00" {
			called++
		}
	}
	assert.GreaterOrEqual(t, called, 5)
}

// When all refuse, each is called once more as the last resort. The last error is the result then.
func TestRefusedByAll(t *testing.T) {
	t.Parallel()
	all := []string{"e00", "e01", "e02"}
	tr := &refusing{hosts: map[string]bool{"e00": true, "e01": true, "e02": true}}
	p := newPool(t, balance.Config{Endpoints: endpoints(3), Transport: tr})
	one, req := new(exchange.Exchange).Begin(request(t, ""))
	_, err := send(t, p, req)
	require.ErrorContains(t, err, "circuit open")
	require.Len(t, tr.called, 6)
	assert.ElementsMatch(t, all, tr.called[:3])
	assert.ElementsMatch(t, all, tr.last)
	assert.Equal(t, tr.last, tr.called[3:])
	assert.Zero(t, one.Others())
	_, err = send(t, p, request(t, ""))
	require.ErrorContains(t, err, "circuit open")
	assert.Len(t, tr.called, 12)
	for _, s := range p.Status() {
		assert.Zero(t, s.Inflight)
		assert.Zero(t, s.Requests)
	}
}

// The request goes to the endpoint that admits a last resort.
func TestLastResort(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		for attempts := range 3 {
			tr := &refusing{hosts: map[string]bool{"e00": true, "e01": true, "e02": true}, relents: "e00", cooldown: time.Second}
			p := newPool(t, balance.Config{Endpoints: endpoints(n), Transport: tr})
			x := new(exchange.Exchange)
			for range attempts + 1 {
				require.Equal(t, "e00", next(t, p, x, "").Endpoint())
			}
			require.EqualValues(t, attempts+1, status(t, p, "e00").Requests)
		}
	}
}
