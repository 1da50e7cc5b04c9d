package auth_test

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func from(peer string, forwarded ...string) *http.Request {
	r := request()
	r.RemoteAddr = peer
	if forwarded != nil {
		r.Header["X-Forwarded-For"] = forwarded
	}
	return r
}

func newIPFilter(tb testing.TB, cfg auth.IPFilterConfig) *auth.IPFilter {
	tb.Helper()
	f, err := auth.NewIPFilter(cfg)
	require.NoError(tb, err)
	return f
}

func TestClientIP(t *testing.T) {
	t.Parallel()
	f := newIPFilter(t, auth.IPFilterConfig{TrustedProxies: []string{"10.0.0.0/8", "fd00::/8"}})
	for name, tt := range map[string]struct {
		request *http.Request
		want    string // "" means refused
	}{
		"the peer":                     {from("192.0.2.1:1234"), "192.0.2.1"},
		"an untrusted peer's claim":    {from("192.0.2.1:1234", "203.0.113.9"), "192.0.2.1"},
		"behind a trusted proxy":       {from("10.0.0.1:1", "203.0.113.9"), "203.0.113.9"},
		"a client's own entry":         {from("10.0.0.1:1", "10.9.9.9, 203.0.113.9"), "203.0.113.9"},
		"through two of them":          {from("10.0.0.1:1", "198.51.100.1, 203.0.113.9, 10.0.0.2"), "203.0.113.9"},
		"several lines":                {from("10.0.0.1:1", "198.51.100.1", "203.0.113.9", "10.0.0.2"), "203.0.113.9"},
		"all trusted":                  {from("10.0.0.1:1", "10.0.0.3, 10.0.0.2"), "10.0.0.3"},
		"a trusted proxy says nothing": {from("10.0.0.1:1"), "10.0.0.1"},
		"an empty header":              {from("10.0.0.1:1", " "), "10.0.0.1"},
		"mapped peer":                  {from("[::ffff:192.0.2.1]:1"), "192.0.2.1"},
		"mapped proxy and client":      {from("[::ffff:10.0.0.1]:1", "::ffff:203.0.113.9"), "203.0.113.9"},
		"with ports":                   {from("10.0.0.1:1", "203.0.113.9:555"), "203.0.113.9"},
		"IPv6 in brackets":             {from("[fd00::1]:1", "[2001:db8::9]:555"), "2001:db8::9"},
		"IPv6 in brackets, no port":    {from("[fd00::1]:1", "[2001:db8::9]"), "2001:db8::9"},
		"a zone":                       {from("[fe80::1%eth0]:1"), "fe80::1"},
		"garbage in the way":           {from("10.0.0.1:1", "203.0.113.9, unknown"), ""},
		"garbage beyond the client":    {from("10.0.0.1:1", "garbage, 203.0.113.9"), "203.0.113.9"},
		"an empty entry":               {from("10.0.0.1:1", "203.0.113.9,,10.0.0.2"), ""},
		"octal":                        {from("10.0.0.1:1", "0203.0.113.9"), ""},
		"hexadecimal":                  {from("10.0.0.1:1", "0xcb.0.113.9"), ""},
		"one number":                   {from("10.0.0.1:1", "3405803785"), ""},
		"too many":                     {from("10.0.0.1:1", strings.Repeat("10.0.0.2,", 200)+"10.0.0.2"), ""},
		"no peer":                      {from("@"), ""},
	} {
		got, err := f.ClientIP(tt.request)
		if tt.want == "" {
			require.ErrorIs(t, err, auth.ErrAddress, name)
			continue
		}
		require.NoError(t, err, name)
		assert.Equal(t, netip.MustParseAddr(tt.want), got, name)
	}
}

func TestIPFilter(t *testing.T) {
	t.Parallel()
	var refused []auth.IPEvent
	f := newIPFilter(t, auth.IPFilterConfig{
		Allow: []string{"192.0.2.0/24", "2001:db8::/32"}, Deny: []string{"192.0.2.66"}, TrustedProxies: []string{"10.0.0.1"},
		OnEvent: func(_ context.Context, e auth.IPEvent) { refused = append(refused, e) },
	})
	for peer, want := range map[string]int{
		"192.0.2.1:1": 200, "[2001:db8::1]:1": 200, "[::ffff:192.0.2.1]:1": 200,
		"192.0.2.66:1": 403, "[::ffff:192.0.2.66]:1": 403, "198.51.100.1:1": 403, "@": 403, "": 403,
	} {
		_, w := through(from(peer, "192.0.2.1"), f.Middleware())
		assert.Equal(t, want, w.Code, peer)
		if want == http.StatusForbidden {
			assert.Contains(t, w.Body.String(), `"code":"ip_denied"`)
			assert.NotContains(t, w.Body.String(), "192")
		}
	}
	assert.Len(t, refused, 5)
	all := newIPFilter(t, auth.IPFilterConfig{Deny: []string{"192.0.2.66"}, AllowLocal: true})
	for peer, want := range map[string]int{"198.51.100.1:1": 200, "192.0.2.66:1": 403, "@": 200, "/run/x.sock": 200, "nonsense": 403} {
		_, w := through(from(peer), all.Middleware())
		assert.Equal(t, want, w.Code, peer)
	}
}

func TestIPFilterSet(t *testing.T) {
	t.Parallel()
	_, err := auth.NewIPFilter(auth.IPFilterConfig{Allow: []string{"x"}, Deny: []string{"10.0.0.0/8", "y"}, TrustedProxies: []string{"z"}})
	for _, want := range []string{`Allow: [0]: "x"`, `Deny: [1]: "y"`, `TrustedProxies: [0]: "z"`} {
		require.ErrorContains(t, err, want)
	}
	f := newIPFilter(t, auth.IPFilterConfig{Allow: []string{"192.0.2.1"}})
	require.Error(t, f.Set([]string{"192.0.2.2"}, []string{"nonsense"}))
	_, w := through(from("192.0.2.2:1"), f.Middleware())
	assert.Equal(t, http.StatusForbidden, w.Code, "an invalid change changes nothing")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if _, w := through(from("192.0.2.1:1"), f.Middleware()); w.Code != http.StatusOK {
					t.Error("lost")
				}
			}
		})
	}
	for range 100 {
		require.NoError(t, f.Set([]string{"192.0.2.0/24"}, []string{"192.0.2.9"}))
		require.NoError(t, f.Set([]string{"192.0.2.1"}, nil))
	}
	wg.Wait()
}

func FuzzClientIP(f *testing.F) {
	f.Add("192.0.2.1:1", "10.0.0.1, x")
	f.Add("10.0.0.1:1", "[::1]:5,,1.2.3.4")
	filter := newIPFilter(f, auth.IPFilterConfig{TrustedProxies: []string{"10.0.0.0/8"}})
	f.Fuzz(func(t *testing.T, peer, header string) {
		with, err := filter.ClientIP(from(peer, header))
		without, errWithout := filter.ClientIP(from(peer))
		if trusted := strings.HasPrefix(without.String(), "10."); !trusted && (with != without || (err == nil) != (errWithout == nil)) {
			t.Fatalf("an untrusted peer %q is believed by %q: %v", peer, header, with)
		}
	})
}

func BenchmarkIPFilter(b *testing.B) {
	f := newIPFilter(b, auth.IPFilterConfig{Allow: []string{"192.0.2.0/24"}, Deny: []string{"192.0.2.66"}})
	r := from("192.0.2.1:1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.ClientIP(r); err != nil {
			b.Fatal(err)
		}
	}
}

// Peers on a Unix socket are trusted by the word "unix".
func TestTrustedUnixPeers(t *testing.T) {
	t.Parallel()
	trusting := newIPFilter(t, auth.IPFilterConfig{TrustedProxies: []string{"unix", "10.0.0.0/8"}, Deny: []string{"192.0.2.66"}, AllowLocal: true})
	for name, tt := range map[string]struct {
		peer, forwarded, want string
		status                int
	}{
		"its client":              {"@", "198.51.100.1", "198.51.100.1", 200},
		"through another proxy":   {"@", "198.51.100.1, 10.0.0.1", "198.51.100.1", 200},
		"a forged entry":          {"@", "192.0.2.1, 198.51.100.1", "198.51.100.1", 200},
		"a client that is denied": {"@", "192.0.2.66", "192.0.2.66", 403},
		"an entry not an address": {"/run/nginx.sock", "unknown", "", 403},
		"nothing forwarded":       {"@", "", "", 200},
		"no Unix peer":            {"nonsense", "198.51.100.1", "", 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := from(tt.peer)
			if tt.forwarded != "" {
				r.Header.Set("X-Forwarded-For", tt.forwarded)
			}
			addr, err := trusting.ClientIP(r)
			if tt.want == "" {
				require.ErrorIs(t, err, auth.ErrAddress)
			} else {
				require.Equal(t, tt.want, addr.String())
			}
			_, w := through(r, trusting.Middleware())
			require.Equal(t, tt.status, w.Code)
		})
	}
	_, err := newIPFilter(t, auth.IPFilterConfig{TrustedProxies: []string{"10.0.0.0/8"}}).ClientIP(from("@", "198.51.100.1"))
	require.ErrorIs(t, err, auth.ErrAddress)
}
