package auth_test

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Attempts to claim another address, or to write one so that a list might miss it.
func TestIPSpoofing(t *testing.T) {
	t.Parallel()
	f := newIPFilter(t, auth.IPFilterConfig{Deny: []string{"203.0.113.0/24", "2001:db8::/32"}, TrustedProxies: []string{"10.0.0.0/8", "fd00::/8", "fe80::/10"}})
	many := strings.Repeat("198.51.100.1, ", 999)
	for name, tt := range map[string]struct {
		request *http.Request
		denied  bool
	}{
		"its own address":                  {from("203.0.113.9:1"), true},
		"mapped":                           {from("[::ffff:203.0.113.9]:1"), true},
		"mapped, in hexadecimal":           {from("[::ffff:cb00:7109]:1"), true},
		"claims another, untrusted":        {from("203.0.113.9:1", "198.51.100.1"), true},
		"claims a proxy, untrusted":        {from("203.0.113.9:1", "198.51.100.1, 10.0.0.1"), true},
		"puts another in front":            {from("10.0.0.1:1", "198.51.100.1, 203.0.113.9"), true},
		"in an earlier line":               {from("10.0.0.1:1", "198.51.100.1", "203.0.113.9"), true},
		"puts a thousand in front":         {from("10.0.0.1:1", many+"203.0.113.9"), true},
		"mapped in the list":               {from("10.0.0.1:1", "::ffff:203.0.113.9"), true},
		"with a port":                      {from("10.0.0.1:1", "203.0.113.9:80"), true},
		"mapped with a port":               {from("10.0.0.1:1", "[::ffff:203.0.113.9]:80"), true},
		"IPv6 with a zone":                 {from("[fe80::1%eth0]:1", "2001:db8::1%25eth0"), true},
		"IPv6 at full length":              {from("10.0.0.1:1", "2001:0DB8:0000:0000:0000:0000:0000:0001"), true},
		"through two proxies":              {from("10.0.0.1:1", "203.0.113.9, fd00::2, 10.0.0.3"), true},
		"another address":                  {from("198.51.100.1:1"), false},
		"another address, through a proxy": {from("10.0.0.1:1", "203.0.113.9, 198.51.100.1"), false},
		"a victim's address, by a liar":    {from("198.51.100.1:1", "203.0.113.9"), false},
		"of a translator: an IPv6 address": {from("[64:ff9b::cb00:7109]:1"), false},
		"compatible: an IPv6 address":      {from("[::cb00:7109]:1"), false},

		// Entries that are not addresses are refused, not skipped.
		"an empty first entry":    {from("10.0.0.1:1", ", 10.0.0.2"), true},
		"an empty last entry":     {from("10.0.0.1:1", "198.51.100.1,"), true},
		"only commas":             {from("10.0.0.1:1", ",,,"), true},
		"an empty line":           {from("10.0.0.1:1", "198.51.100.1", ""), true},
		"unknown":                 {from("10.0.0.1:1", "unknown"), true},
		"a name":                  {from("10.0.0.1:1", "localhost"), true},
		"half in brackets":        {from("10.0.0.1:1", "[2001:db9::1"), true},
		"IPv4 in brackets":        {from("10.0.0.1:1", "[198.51.100.1]"), true},
		"a port of letters":       {from("10.0.0.1:1", "198.51.100.1:http"), true},
		"a range":                 {from("10.0.0.1:1", "198.51.100.0/24"), true},
		"leading zeros":           {from("10.0.0.1:1", "198.051.100.001"), true},
		"three numbers":           {from("10.0.0.1:1", "198.51.1"), true},
		"wide digits":             {from("10.0.0.1:1", "１98.51.100.1"), true},
		"a no-break space":        {from("10.0.0.1:1", "198.51.100.1\u00a0"), true},
		"a thousand trusted":      {from("10.0.0.1:1", strings.Repeat("10.0.0.2, ", 999)+"10.0.0.2"), true},
		"a Unix socket":           {from("@", "198.51.100.1"), true},
		"a Unix socket of a name": {from("/run/gateway.sock"), true},
		"an address without port": {from("198.51.100.1"), true},
	} {
		_, w := through(tt.request, f.Middleware())
		assert.Equal(t, tt.denied, w.Code == http.StatusForbidden, name)
	}
}

// Other headers with addresses are ignored.
func TestIPOtherHeaders(t *testing.T) {
	t.Parallel()
	f := newIPFilter(t, auth.IPFilterConfig{TrustedProxies: []string{"10.0.0.0/8"}})
	for _, name := range []string{"Forwarded", "X-Real-Ip", "X_forwarded_for", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "X-Forwarded", "X-Cluster-Client-Ip"} {
		for _, peer := range []string{"10.0.0.1", "192.0.2.1"} {
			r := from(peer + ":1")
			r.Header[name] = []string{"203.0.113.9"}
			addr, err := f.ClientIP(r)
			require.NoError(t, err)
			assert.Equal(t, netip.MustParseAddr(peer), addr, name)
		}
	}
}

// Lists change together: no request sees an old and a new one.
func TestIPFilterSetWhole(t *testing.T) {
	t.Parallel()
	f := newIPFilter(t, auth.IPFilterConfig{Allow: []string{"192.0.2.0/24"}, Deny: []string{"192.0.2.1"}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if _, w := through(from("192.0.2.1:1"), f.Middleware()); w.Code != http.StatusForbidden {
					t.Error("let in between two lists")
				}
			}
		})
	}
	for range 200 {
		assert.NoError(t, f.Set([]string{"198.51.100.0/24"}, nil)) // not allowed by this list
		assert.NoError(t, f.Set(nil, []string{"192.0.2.1"}))       // denied by this list
	}
	wg.Wait()
}
