package proxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	tr := status(200)
	for name, c := range map[string]struct {
		cfg  proxy.Config
		want []string
	}{
		"no transport":         {proxy.Config{}, []string{"Config.Transport is required"}},
		"scheme":               {proxy.Config{Transport: tr, Target: parse(t, "ftp://up")}, []string{"Config.Target", "scheme"}},
		"no scheme":            {proxy.Config{Transport: tr, Target: parse(t, "up/x")}, []string{"Config.Target", "scheme"}},
		"no host":              {proxy.Config{Transport: tr, Target: parse(t, "http:///x")}, []string{"Config.Target", "no host"}},
		"query":                {proxy.Config{Transport: tr, Target: parse(t, "http://up/?a=1")}, []string{"Config.Target", "only scheme, host and path"}},
		"fragment":             {proxy.Config{Transport: tr, Target: parse(t, "http://up/#a")}, []string{"Config.Target", "only scheme, host and path"}},
		"user":                 {proxy.Config{Transport: tr, Target: parse(t, "http://me:secret@up")}, []string{"Config.Target", "only scheme, host and path"}},
		"user, bad scheme":     {proxy.Config{Transport: tr, Target: parse(t, "ftp://me:secret@up")}, []string{"Config.Target", "scheme"}},
		"user, no host":        {proxy.Config{Transport: tr, Target: &url.URL{Scheme: "http", User: url.UserPassword("me", "secret")}}, []string{"Config.Target", "no host"}},
		"via with a space":     {proxy.Config{Transport: tr, Via: "a b"}, []string{"Config.Via"}},
		"via with a comma":     {proxy.Config{Transport: tr, Via: "a,b"}, []string{"Config.Via"}},
		"via with a line":      {proxy.Config{Transport: tr, Via: "a\r\nb"}, []string{"Config.Via"}},
		"too many attempts":    {proxy.Config{Transport: tr, Retry: proxy.Retry{Attempts: 11}}, []string{"Retry.Attempts: 11"}},
		"ratio":                {proxy.Config{Transport: tr, Retry: proxy.Retry{BudgetRatio: 1.1}}, []string{"Retry.BudgetRatio"}},
		"ratio not a number":   {proxy.Config{Transport: tr, Retry: proxy.Retry{BudgetRatio: math.NaN()}}, []string{"Retry.BudgetRatio"}},
		"reserve not a number": {proxy.Config{Transport: tr, Retry: proxy.Retry{BudgetReserve: math.NaN()}}, []string{"Retry.BudgetReserve"}},
		"status":               {proxy.Config{Transport: tr, Retry: proxy.Retry{Statuses: []int{503, 200, 600}}}, []string{"Retry.Statuses: 200", "Retry.Statuses: 600"}},
		"units": {
			proxy.Config{Transport: tr, Timeouts: proxy.Timeouts{Connect: 5, FirstByte: 6, Idle: 7, Total: 8, Tunnel: 9}},
			[]string{"Timeouts.Connect: 5ns", "Timeouts.FirstByte: 6ns", "Timeouts.Idle: 7ns", "Timeouts.Total: 8ns", "Timeouts.Tunnel: 9ns"},
		},
		"all at once": {
			proxy.Config{Target: parse(t, "ftp://up"), Via: "?", Retry: proxy.Retry{Attempts: 99}, Timeouts: proxy.Timeouts{Idle: 1}},
			[]string{"Config.Transport", "Config.Target", "Config.Via", "Retry.Attempts", "Timeouts.Idle"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := proxy.New(c.cfg)
			require.Nil(t, p)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	p := newProxy(t, proxy.Config{Transport: status(200)})
	require.Equal(t, proxy.Timeouts{Connect: 5 * time.Second, FirstByte: 2 * time.Minute, FirstContent: 5 * time.Minute, Idle: 5 * time.Minute, Stall: time.Minute, Total: time.Hour, Tunnel: time.Hour}, p.Timeouts())
}

func TestTransportFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	empty, missing := file("empty", ""), filepath.Join(dir, "missing")
	for name, c := range map[string]struct {
		cfg  proxy.TransportConfig
		want []string
	}{
		"protocol":    {proxy.TransportConfig{Protocol: "http3"}, []string{`TransportConfig.Protocol "http3"`}},
		"no CA file":  {proxy.TransportConfig{CAFile: missing}, []string{"TransportConfig.CAFile", "no such file"}},
		"empty CA":    {proxy.TransportConfig{CAFile: empty}, []string{"TransportConfig.CAFile", "no certificate in it"}},
		"only a cert": {proxy.TransportConfig{CertFile: empty}, []string{"CertFile and KeyFile go together"}},
		"only a key":  {proxy.TransportConfig{KeyFile: empty}, []string{"CertFile and KeyFile go together"}},
		"bad pair":    {proxy.TransportConfig{CertFile: empty, KeyFile: empty}, []string{"TransportConfig.CertFile, KeyFile"}},
		"no pair":     {proxy.TransportConfig{CertFile: missing, KeyFile: missing}, []string{"TransportConfig.CertFile, KeyFile", "no such file"}},
		"proxy":       {proxy.TransportConfig{Proxy: "ftp://user:secret@host"}, []string{"TransportConfig.Proxy"}},
		"no host":     {proxy.TransportConfig{Proxy: "localhost:3128"}, []string{"TransportConfig.Proxy"}},
		"all":         {proxy.TransportConfig{Protocol: "x", CAFile: missing, CertFile: empty}, []string{"Protocol", "CAFile", "go together"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, err := proxy.NewTransport(c.cfg)
			require.Nil(t, tr)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// TestTransportDefaults: the defaults for a gateway, and the meaning of negative values.
func TestTransportDefaults(t *testing.T) {
	t.Parallel()
	tr := proxy.HTTPTransport(newTransport(t, false))
	require.Equal(t, 512, tr.MaxIdleConnsPerHost)
	require.Zero(t, tr.MaxIdleConns)
	require.Zero(t, tr.MaxConnsPerHost)
	require.Equal(t, 4*time.Second, tr.IdleConnTimeout)
	require.EqualValues(t, 256<<10, tr.MaxResponseHeaderBytes)
	require.True(t, tr.DisableCompression)
	require.EqualValues(t, tls.VersionTLS12, tr.TLSClientConfig.MinVersion)

	made, err := proxy.NewTransport(proxy.TransportConfig{MaxPerHost: -1, IdleTimeout: -1, ConnectTimeout: -1, MaxHeaderBytes: 1 << 10, MaxIdlePerHost: 7})
	require.NoError(t, err)
	tr = proxy.HTTPTransport(made)
	require.Zero(t, tr.MaxConnsPerHost)
	require.Zero(t, tr.IdleConnTimeout)
	require.Zero(t, tr.TLSHandshakeTimeout)
	require.EqualValues(t, 1<<10, tr.MaxResponseHeaderBytes)
	require.Equal(t, 7, tr.MaxIdleConnsPerHost)
}

// authority makes certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	a.key = key
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	require.NoError(a.t, os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// issue writes name.pem and name.key for common, and returns the pair.
func (a *authority) issue(name, common string) tls.Certificate {
	a.t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: common}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{common}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "EC PRIVATE KEY", keyDER)
	pair, err := tls.LoadX509KeyPair(a.path(name+".pem"), a.path(name+".key"))
	require.NoError(a.t, err)
	return pair
}

// startTLS starts an upstream that responds with its client's name and protocol.
func (a *authority) startTLS(h2 bool, ask tls.ClientAuthType) *url.URL {
	a.t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		_, _ = io.WriteString(w, r.Proto+" "+name)
	}))
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue("server", "up.test")}, ClientAuth: ask, ClientCAs: pool}
	s.EnableHTTP2 = h2
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return parse(a.t, s.URL)
}

func TestTransportProtocols(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	both, only1 := a.startTLS(true, tls.NoClientCert), a.startTLS(false, tls.NoClientCert)
	for name, c := range map[string]struct {
		protocol string
		target   *url.URL
		want     string
	}{
		"chosen":           {"", both, "HTTP/2.0 nobody"},
		"chosen, only 1":   {"", only1, "HTTP/1.1 nobody"},
		"http1":            {"http1", both, "HTTP/1.1 nobody"},
		"http2":            {"http2", both, "HTTP/2.0 nobody"},
		"http2, not there": {"http2", only1, "upstream_error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := a.transport(t, proxy.TransportConfig{Protocol: c.protocol})
			r := setup{config: proxy.Config{Target: c.target, Transport: tr, Retry: proxy.Retry{Attempts: 1}}}.start(t)
			require.Contains(t, r.get(t).body, c.want)
		})
	}
}

func (a *authority) transport(t *testing.T, cfg proxy.TransportConfig) *proxy.Transport {
	t.Helper()
	if cfg.CAFile == "" {
		cfg.CAFile = a.path("ca.pem")
	}
	tr, err := proxy.NewTransport(cfg)
	require.NoError(t, err)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func TestTransportH2C(t *testing.T) {
	t.Parallel()
	r := setup{h2c: true, upstream: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }}.start(t)
	require.Equal(t, "HTTP/2.0", r.get(t).body)
}

// TestTransportTrust: only the named authority, and only the right name.
func TestTransportTrust(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	target := a.startTLS(true, tls.NoClientCert)
	for name, c := range map[string]struct {
		ca, serverName string
		ok             bool
	}{
		"its own":      {a.path("ca.pem"), "", true},
		"another CA":   {other.path("ca.pem"), "", false},
		"named":        {a.path("ca.pem"), "up.test", true},
		"another name": {a.path("ca.pem"), "down.test", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := a.transport(t, proxy.TransportConfig{CAFile: c.ca, ServerName: c.serverName})
			r := setup{config: proxy.Config{Target: target, Transport: tr, Retry: proxy.Retry{Attempts: 1}}}.start(t)
			got := r.get(t)
			if c.ok {
				require.Equal(t, "HTTP/2.0 nobody", got.body)
				return
			}
			require.Equal(t, 502, got.status)
			require.NotContains(t, got.body, "x509", "the cause is for the log")
			require.ErrorContains(t, r.events.next(t).Err, "x509")
		})
	}
}

// TestClientCertificate: it is sent on request, and read for each connection, so that it can be
// replaced while the gateway runs.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	target := a.startTLS(false, tls.RequireAndVerifyClientCert)
	a.issue("client", "first")
	tr := a.transport(t, proxy.TransportConfig{CertFile: a.path("client.pem"), KeyFile: a.path("client.key")})
	proxy.HTTPTransport(tr).DisableKeepAlives = true // each request on its own connection
	r := setup{config: proxy.Config{Target: target, Transport: tr, Retry: proxy.Retry{Attempts: 1}}}.start(t)
	require.Equal(t, "HTTP/1.1 first", r.get(t).body)
	a.issue("client", "second")
	require.Equal(t, "HTTP/1.1 second", r.get(t).body)
	require.NoError(t, os.Remove(a.path("client.key")))
	require.Equal(t, 502, r.get(t).status, "a missing certificate is an error")

	none := setup{config: proxy.Config{Target: target, Transport: a.transport(t, proxy.TransportConfig{}), Retry: proxy.Retry{Attempts: 1}}}.start(t)
	require.Equal(t, 502, none.get(t).status)
}
