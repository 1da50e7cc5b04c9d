package balance_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// of returns a request of a credential for a model.
func of(t *testing.T, credential, model string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://any/v1/chat/completions", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+credential)
	body.Set(req, []byte(`{"model":"`+model+`"}`))
	return req
}

// limiting refuses a credential like a provider at its limit.
type limiting struct {
	credential string
	status     int
	after      string
	body       string
}

func (l *limiting) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Hostname() != "e00.test" || req.Header.Get("Authorization") != "Bearer "+l.credential {
		return named(fine)(req)
	}
	res := response(l.status, l.body)
	res.Header.Set("Content-Type", "application/json")
	res.Header.Set("X-Host", "e00")
	if l.after != "" {
		res.Header.Set("Retry-After", l.after)
	}
	return res, nil
}

// served4 returns how many of four requests of the credential go to e00.
func served4(t *testing.T, p *balance.Pool, credential string) (got int) {
	t.Helper()
	for range 4 {
		if host, _ := send(t, p, of(t, credential, "m")); host == "e00" {
			got++
		}
	}
	return got
}

const quota = `{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}`

// A cooldown that an endpoint requests for a credential and model applies to these alone, for
// the requested time.
func TestCooldownIsOneCredentials(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		up   limiting
		want time.Duration
	}{
		"429":                           {limiting{"a", 429, "7", "x"}, 7 * time.Second},
		"503":                           {limiting{"a", 503, "7", "x"}, 7 * time.Second},
		"429 without a time":            {limiting{"a", 429, "", "x"}, 0},
		"a spent quota":                 {limiting{"a", 429, "", quota}, 30 * time.Second},
		"a spent quota with a time":     {limiting{"a", 429, "3", quota}, 3 * time.Second},
		"a spent quota in a stream":     {limiting{"a", 200, "", quota}, 30 * time.Second},
		"a client's own bad credential": {limiting{"a", 401, "", "x"}, 0},
		"a bad request":                 {limiting{"a", 400, "7", "x"}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, balance.Config{Endpoints: endpoints(2), Transport: &tt.up, Policy: balance.RoundRobin()})
				for range 2 { // one of them goes there
					_, err := send(t, p, of(t, "a", "m"))
					require.NoError(t, err)
				}
				until := status(t, p, "e00").CoolingUntil
				if tt.want == 0 {
					assert.True(t, until.IsZero())
					assert.Positive(t, served4(t, p, "a"))
					return
				}
				assert.Equal(t, tt.want, time.Until(until))
				assert.Zero(t, served4(t, p, "a"))
				assert.Positive(t, served4(t, p, "b"))
				advance(tt.want)
				assert.Positive(t, served4(t, p, "a"))
			})
		})
	}
}

// Another model of the same credential is not affected.
func TestCooldownIsOneModels(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(2), Transport: &limiting{"a", 429, "7", "x"}, Policy: balance.RoundRobin()})
	_, err := send(t, p, of(t, "a", "m"))
	require.NoError(t, err)
	got := map[string]int{}
	for range 4 {
		host, err := send(t, p, of(t, "a", "n"))
		require.NoError(t, err)
		got[host]++
	}
	assert.Equal(t, map[string]int{"e00": 1, "e01": 3}, got, "a cooldown for n begins with its own 429")
}

// A rejected credential of the operator is not used there again for a while.
func TestCooldownOfTheOperatorsCredential(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, balance.Config{Endpoints: endpoints(2), Transport: &limiting{"operator", 401, "", `{"error":{"message":"bad key"}}`}, Policy: balance.RoundRobin()})
		ask := func() string {
			x := &exchange.Exchange{Known: true, Credentials: "the client's own"}
			_, req := x.Begin(of(t, "operator", "m"))
			host, err := send(t, p, req)
			require.NoError(t, err)
			return host
		}
		require.Equal(t, "e00", ask())
		for range 5 {
			require.Equal(t, "e01", ask())
		}
		advance(30 * time.Second)
		require.Contains(t, []string{ask(), ask()}, "e00")
	})
}

// Without another endpoint a request passes: the endpoint itself decides.
func TestCooldownOfTheOnlyEndpoint(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: &limiting{"a", 429, "60", "x"}})
	for range 5 {
		host, err := send(t, p, of(t, "a", "m"))
		require.NoError(t, err)
		require.Equal(t, "e00", host)
	}
	require.EqualValues(t, 5, status(t, p, "e00").Requests)
}

// An attempt goes to an endpoint that is cooling down rather than to one that was used.
func TestCooldownBeforeARepeatAtTheSameEndpoint(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(2), Transport: &limiting{"a", 429, "60", "x"}, Policy: balance.RoundRobin()})
	require.NoError(t, p.Drain("e01"))
	_, err := send(t, p, of(t, "a", "m"))
	require.NoError(t, err)
	require.NoError(t, p.Undrain("e01"))
	var x exchange.Exchange
	for _, want := range []string{"e01", "e00"} {
		one, req := x.Begin(of(t, "a", "m"))
		_, err := send(t, p, req)
		require.NoError(t, err)
		require.Equal(t, want, one.Endpoint())
	}
}
