package hook_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/queue/internal/hook"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The example of the Standard Webhooks specification.
func TestSign(t *testing.T) {
	t.Parallel()
	key, err := hook.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	h := http.Header{}
	hook.Sign(h, [][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	assert.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", h.Get("Webhook-Signature"))
	assert.Equal(t, "1614265330", h.Get("Webhook-Timestamp"))
	assert.Equal(t, "msg_p5jXN8AQM9LWM0D4loKWxJek", h.Get("Webhook-Id"))
}

func TestSecret(t *testing.T) {
	t.Parallel()
	b := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for text, good := range map[string]bool{
		"whsec_" + b(24): true, "whsec_" + b(64): true, "whsec_" + b(23): false, "whsec_" + b(65): false, b(32): false, "whsec_!": false, "": false,
	} {
		_, err := hook.Secret(text)
		assert.Equal(t, good, err == nil, text)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	g := hook.Guard{Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	for url, good := range map[string]bool{
		"https://example.com/x?y=1": true, "https://8.8.8.8/": true, "https://[2606:4700::1]/": true, "https://10.1.2.3/": true,
		"https://10.2.2.3/": false, "https://224.0.0.1/": false, "https://255.255.255.255/": false, "https://198.18.0.1/": false,
		"https://[ff02::1]/": false, "https://[2001:db8::1]/": false, "https://[2002:7f00:1::]/": false, "https://[::]/": false,
		"https://example.com/#x": false, "https://example.com/%zz": false, "https://": false, "": false,
		"https://example.com/" + strings.Repeat("x", 2048): false,
	} {
		_, err := g.Check(url)
		assert.Equal(t, good, err == nil, "%s: %v", url, err)
	}
}

// The client looks at the address that it connects to, and follows no redirect.
func TestClient(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	defer s.Close()
	closed, open := (&hook.Guard{}).Client(time.Second), (&hook.Guard{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}).Client(time.Second)
	defer open.CloseIdleConnections()
	res, err := closed.Get(s.URL)
	if err == nil {
		_ = res.Body.Close()
	}
	require.ErrorIs(t, err, hook.ErrForbidden)
	res, err = open.Get(s.URL)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	assert.Equal(t, http.StatusFound, res.StatusCode)
}

// What http.DefaultTransport sets, the client's transport sets too, but for the proxy: behind one, no
// address could be checked.
func TestNoDefaultIsLost(t *testing.T) {
	t.Parallel()
	want := reflect.ValueOf(http.DefaultTransport).Elem()
	got := reflect.ValueOf((&hook.Guard{}).Client(time.Second).Transport).Elem()
	for _, field := range reflect.VisibleFields(want.Type()) {
		if field.IsExported() && !want.FieldByIndex(field.Index).IsZero() {
			assert.Equal(t, field.Name == "Proxy", got.FieldByIndex(field.Index).IsZero(), field.Name)
		}
	}
}

// The allow list of hosts compares whole names, without case and final dot.
func TestHosts(t *testing.T) {
	t.Parallel()
	g := hook.Guard{Hosts: []string{"hooks.example.com", ".Example.org", "8.8.8.8"}}
	for url, good := range map[string]bool{
		"https://hooks.example.com/":       true,
		"https://HOOKS.EXAMPLE.COM.:8443/": true,
		"https://a.example.org/":           true,
		"https://a.b.example.org/":         true,
		"https://8.8.8.8/":                 true,
		"https://example.org/":             false,
		"https://notexample.org/":          false,
		"https://hooks.example.com.evil/":  false,
		"https://x.hooks.example.com/":     false,
		"https://8.8.4.4/":                 false,
		"https://hooks.example.com@evil/":  false,
	} {
		_, err := g.Check(url)
		assert.Equal(t, good, err == nil, "%s: %v", url, err)
	}
	g.Hosts = []string{"127.0.0.1"}
	_, err := g.Check("https://127.0.0.1/")
	require.ErrorIs(t, err, hook.ErrForbidden, "a host on the list is not a network")
}

func TestSchemes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url   string
		plain bool
		good  bool
	}{
		{"https://example.com/", false, true},
		{"https://example.com/", true, true},
		{"HTTPS://example.com/", false, true},
		{"http://example.com/", false, false},
		{"http://example.com/", true, true},
		{"ftp://example.com/", true, false},
		{"//example.com/", true, false},
		{"https:example.com", true, false},
		{"mailto:a@example.com", true, false},
	} {
		g := hook.Guard{PlainHTTP: tt.plain}
		_, err := g.Check(tt.url)
		assert.Equal(t, tt.good, err == nil, "%s: %v", tt.url, err)
	}
}

// A receiver that knows one of the secrets can verify the message.
func TestSignWithSeveral(t *testing.T) {
	t.Parallel()
	keys := [][]byte{[]byte("the first of them"), []byte("the second of them")}
	at, body := time.Unix(1_700_000_000, 0), []byte(`{"a":1}`)
	sign := func(keys ...[]byte) http.Header {
		h := http.Header{}
		hook.Sign(h, keys, "msg_1", at, body)
		return h
	}
	both := sign(keys...).Get("Webhook-Signature")
	assert.Equal(t, sign(keys[0]).Get("Webhook-Signature")+" "+sign(keys[1]).Get("Webhook-Signature"), both)
	other := http.Header{}
	hook.Sign(other, keys, "msg_2", at, body)
	assert.NotEqual(t, both, other.Get("Webhook-Signature"), "the ID is signed")
	hook.Sign(other, keys, "msg_1", at.Add(time.Second), body)
	assert.NotEqual(t, both, other.Get("Webhook-Signature"), "the time is signed")
	hook.Sign(other, keys, "msg_1", at, []byte(`{"a":2}`))
	assert.NotEqual(t, both, other.Get("Webhook-Signature"), "the body is signed")
}
