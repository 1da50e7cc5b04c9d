package balance_test

import (
	"math"
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

// spy keeps the request that it gets.
type spy struct{ req *http.Request }

func (s *spy) RoundTrip(req *http.Request) (*http.Response, error) {
	s.req = req
	return response(200, ""), nil
}

func TestURL(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ base, request, want string }{
		"host only":              {"http://e.test:8000", "http://any/v1/x?a=1&b=2", "http://e.test:8000/v1/x?a=1&b=2"},
		"scheme":                 {"https://e.test", "http://any/v1", "https://e.test/v1"},
		"IPv6":                   {"http://[::1]:8000", "http://any/v1", "http://[::1]:8000/v1"},
		"slash":                  {"http://e.test/", "http://any/v1", "http://e.test/v1"},
		"base":                   {"http://e.test/api", "http://any/v1", "http://e.test/api/v1"},
		"base with slash":        {"http://e.test/api/", "http://any/v1/", "http://e.test/api/v1/"},
		"no path":                {"http://e.test/api", "http://any", "http://e.test/api"},
		"root":                   {"http://e.test/api", "http://any/", "http://e.test/api/"},
		"escaped path":           {"http://e.test", "http://any/a%2Fb%20c/%7e", "http://e.test/a%2Fb%20c/%7e"},
		"escaped below base":     {"http://e.test/api", "http://any/a%2Fb", "http://e.test/api/a%2Fb"},
		"escaped base":           {"http://e.test/x%2Fy", "http://any/v1", "http://e.test/x%2Fy/v1"},
		"base ends escaped":      {"http://e.test/x%2F", "http://any/v1", "http://e.test/x%2F/v1"},
		"both escaped":           {"http://e.test/x%2F/", "http://any/a%2fb", "http://e.test/x%2F/a%2fb"},
		"double slashes":         {"http://e.test/api", "http://any//v1//x", "http://e.test/api//v1//x"},
		"dots are not cleaned":   {"http://e.test/api", "http://any/a/../b", "http://e.test/api/a/../b"},
		"odd query":              {"http://e.test/api", "http://any/v1?a=1;b&c=%zz", "http://e.test/api/v1?a=1;b&c=%zz"},
		"empty query":            {"http://e.test", "http://any/v1?", "http://e.test/v1?"},
		"letters beyond ASCII":   {"http://e.test/ä", "http://any/ö", "http://e.test/%C3%A4/%C3%B6"},
		"percent sign, unescape": {"http://e.test/50%25", "http://any/100%25", "http://e.test/50%25/100%25"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &spy{}
			p := newPool(t, balance.Config{Endpoints: []balance.Endpoint{{URL: tt.base}}, Transport: s})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.request, http.NoBody)
			require.NoError(t, err)
			before := req.URL.String()
			_, err = send(t, p, req)
			require.NoError(t, err)
			require.Equal(t, tt.want, s.req.URL.String())
			require.Equal(t, before, req.URL.String(), "the caller's request is unchanged")
			require.Equal(t, "any", req.Host)
		})
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		keep       bool
		host, want string
	}{
		"the endpoint's":    {false, "public.test", ""}, // empty: net/http sends the URL's
		"the request's":     {true, "public.test", "public.test"},
		"the request's URL": {true, "", "any"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &spy{}
			p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: s, PreserveHost: tt.keep})
			req := request(t, "")
			req.Host = tt.host
			_, err := send(t, p, req)
			require.NoError(t, err)
			require.Equal(t, tt.want, s.req.Host)
			require.Equal(t, "e00.test:8000", s.req.URL.Host)
		})
	}
}

func TestEndpointDefaults(t *testing.T) {
	t.Parallel()
	own := &spy{}
	p := newPool(t, balance.Config{Endpoints: []balance.Endpoint{{URL: "http://a.test/x", Transport: own}}, Transport: failing(errRefused)})
	s := p.Status()[0]
	require.Equal(t, "http://a.test/x", s.Name)
	require.Equal(t, "http://a.test/x", s.URL)
	require.Equal(t, 1, s.Weight)
	require.True(t, s.Healthy)
	require.InDelta(t, 1, s.Success, 0)
	_, err := send(t, p, request(t, ""))
	require.NoError(t, err)
	require.NotNil(t, own.req)
}

func TestEndpointFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		endpoint balance.Endpoint
		want     []string
	}{
		"no URL":        {balance.Endpoint{Name: "a"}, []string{`"a"`, "scheme"}},
		"no scheme":     {balance.Endpoint{URL: "10.0.0.1:8000"}, []string{"10.0.0.1:8000", "URL"}},
		"other scheme":  {balance.Endpoint{URL: "ws://x"}, []string{"ws://x", "scheme"}},
		"no socket":     {balance.Endpoint{URL: "unix:x"}, []string{"unix:x", "absolute"}},
		"no host":       {balance.Endpoint{URL: "http:///x"}, []string{"no host"}},
		"query":         {balance.Endpoint{URL: "http://h/?a=1"}, []string{"only scheme, host and path"}},
		"fragment":      {balance.Endpoint{URL: "http://h/#x"}, []string{"only scheme, host and path"}},
		"user":          {balance.Endpoint{URL: "http://u:secret@h/"}, []string{"only scheme, host and path"}},
		"user, no URL":  {balance.Endpoint{URL: "http://u:secret@h:x y/"}, []string{"URL"}},
		"escape":        {balance.Endpoint{URL: "http://h/%zz"}, []string{"URL", "%zz"}},
		"weight":        {balance.Endpoint{URL: "http://h", Weight: -1}, []string{"http://h", "weight -1"}},
		"heavy":         {balance.Endpoint{URL: "http://h", Weight: 1001}, []string{"weight 1001"}},
		"two at a time": {balance.Endpoint{URL: "ftp://h", Weight: 1001}, []string{"scheme", "weight 1001"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := balance.New(balance.Config{Endpoints: []balance.Endpoint{tt.endpoint}})
			for _, want := range append(tt.want, "balance: endpoint") {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

// TestConfigFaults: all are found at once, and each names its field.
func TestConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := balance.New(balance.Config{
		Endpoints:      []balance.Endpoint{{Name: "a", URL: "ftp://x"}, {Name: "b", URL: "http://b", Weight: 5000}, {Name: "c", URL: "http://c"}, {Name: "c", URL: "http://d"}},
		Policy:         balance.Hash(balance.HashConfig{Algorithm: 9, VirtualNodes: 1 << 20, LoadBound: 0.5}),
		Health:         balance.Health{Path: "health", Interval: -1},
		Outlier:        balance.Outlier{MaxEjected: 101},
		SlowStart:      balance.SlowStart{Aggression: -1},
		PanicThreshold: 2,
	})
	for _, want := range []string{
		`endpoint "a"`, `endpoint "b"`, `endpoint "c": the name is taken`,
		"HashConfig.Key", "HashConfig.Algorithm 9", "HashConfig.VirtualNodes 1048576", "HashConfig.LoadBound 0.5",
		`Health.Path "health"`, "only Path can be turned off", "Outlier", "SlowStart", "PanicThreshold",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestMoreConfigFaults(t *testing.T) {
	t.Parallel()
	key := balance.ByHeader("X-Key")
	tests := map[string]balance.Config{
		"FailurePercent": {Outlier: balance.Outlier{FailurePercent: 101}},
		"Least":          {SlowStart: balance.SlowStart{Least: 1.5}},
		"Aggression":     {SlowStart: balance.SlowStart{Aggression: math.NaN()}},
		"LoadBound":      {Policy: balance.Hash(balance.HashConfig{Key: key, LoadBound: math.NaN()})},
		"VirtualNodes":   {Policy: balance.Hash(balance.HashConfig{Key: key, VirtualNodes: -1})},
		"Health":         {Health: balance.Health{Unhealthy: -1}},
	}
	for want, cfg := range tests {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			_, err := balance.New(cfg)
			require.ErrorContains(t, err, want)
		})
	}
}
