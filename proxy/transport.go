package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/ginfer/ginfer/internal/connect"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/h1"
	"github.com/ginfer/ginfer/internal/unixsock"
)

// TransportConfig configures connections to upstreams. The zero value suits HTTP/1.1, and
// HTTP/2 over TLS where the server offers it.
type TransportConfig struct {
	// Protocol is "" (HTTP/1.1, over TLS also HTTP/2), "http1" (HTTP/1.1 only), "http2" (HTTP/2
	// only, over TLS), or "h2c" (HTTP/2 without TLS). Default: "".
	Protocol string
	// ConnectTimeout bounds the set-up of TCP and of TLS, each. A shorter Timeouts.Connect of
	// the Proxy applies to the TCP part. Default: 5 s.
	ConnectTimeout time.Duration
	// MaxIdlePerHost is the number of idle connections kept per server. Default: 512.
	MaxIdlePerHost int
	// MaxPerHost bounds the connections per server; further requests wait. Default: 0 or
	// negative, no limit.
	MaxPerHost int
	// IdleTimeout is the time after which an idle connection is closed; negative: never. A shorter
	// one that a server announces (Keep-Alive: timeout=N) is respected for plain HTTP/1.1. Set it
	// below the server's, so that no request meets a connection that is being closed. Default: 4 s,
	// below the 5 s of uvicorn and Node.js.
	IdleTimeout time.Duration
	// MaxAge is the time after which a connection gets no further requests; its responses in
	// progress continue. Each connection has a random part of it, from half to all. New
	// connections find servers that are new behind the same address. Default: 5 min; negative:
	// unlimited.
	MaxAge time.Duration
	// MaxRequests is the number of requests after which a connection gets no further ones. Each
	// connection has a random part of it, from half to all. Default: 10,000; negative: unlimited.
	MaxRequests int
	// Proxy is the URL of a forward proxy for all requests (http, https, socks5 or socks5h, with
	// optional credentials), or "none". Default: "", the environment's HTTP_PROXY, HTTPS_PROXY and
	// NO_PROXY (see http.ProxyFromEnvironment), which never applies to loopback addresses.
	Proxy string
	// MaxHeaderBytes bounds the head of a response, in bytes. Default: 256 KiB, also if
	// negative: there is always a limit.
	MaxHeaderBytes int64
	// CAFile is a PEM file with the certificates that authenticate upstreams. Default: "", the
	// system's.
	CAFile string
	// CertFile and KeyFile are PEM files with the client certificate for upstreams that request
	// one. They are read for each connection, so that they can be replaced. Default: "", none.
	CertFile, KeyFile string
	// ServerName is the name to verify instead of the URL's host. Default: "", the host.
	ServerName string
}

// Transport is an http.RoundTripper for upstreams, made by [NewTransport]. It is safe for
// concurrent use. It keeps the defaults of http.DefaultTransport for proxies and timeouts.
// Short requests over plain HTTP/1.1 are written and read on the calling goroutine; of an
// httptrace they call GotConn and Got1xxResponse only. All others go through an http.Transport.
//
// Connections spread over all addresses of a name. While a name is in use it is looked up every
// 10 s: new addresses get their part of the connections at once.
//
// Connections that a server has closed are discarded within a second. A server may also close
// one just as it is reused. A request that ends this way, before a byte of the response, is sent
// once more, whatever its method, if its body is in memory. Otherwise it returns an error that
// does not count against the upstream.
type Transport struct {
	short *h1.Transport // nil: not used
	rest  *connect.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.short != nil {
		return t.short.RoundTrip(req)
	}
	return t.rest.RoundTrip(req)
}

// CloseIdleConnections closes the idle connections.
func (t *Transport) CloseIdleConnections() {
	if t.short != nil {
		t.short.CloseIdleConnections()
	}
	t.rest.CloseIdleConnections()
}

// NewTransport returns a Transport with settings for a gateway: many idle connections per
// server, no transparent compression, a limit on header bytes, TCP and HTTP/2 liveness checks.
// It reads the files at once and returns an error if one is invalid. Close its idle connections
// when it is no longer needed.
func NewTransport(cfg TransportConfig) (*Transport, error) {
	rest, err := newHTTPTransport(cfg)
	if err != nil {
		return nil, err
	}
	t := &Transport{rest: connect.NewTransport(rest)}
	// A limit on all connections needs a single pool.
	if rest.Protocols.HTTP1() && rest.MaxConnsPerHost == 0 {
		t.short = h1.New(h1.Config{
			Dial: rest.DialContext, Rest: t.rest, Proxy: rest.Proxy, MaxIdle: rest.MaxIdleConnsPerHost,
			IdleTimeout: rest.IdleConnTimeout, MaxHeader: rest.MaxResponseHeaderBytes,
		})
	}
	return t, nil
}

func newHTTPTransport(cfg TransportConfig) (*http.Transport, error) {
	tlsConfig, tlsErr := cfg.tls()
	protocols, protoErr := cfg.protocols()
	forward, proxyErr := cfg.proxy()
	if err := fault.Join(tlsErr, protoErr, proxyErr); err != nil {
		return nil, err
	}
	maxHeader := cfg.MaxHeaderBytes
	if maxHeader <= 0 {
		maxHeader = 256 << 10
	}
	return &http.Transport{
		Proxy:                  unixsock.Proxy(forward),
		DialContext:            unixsock.Dial(cfg.dial()),
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    cfg.connectTimeout(),
		ForceAttemptHTTP2:      protocols.HTTP2(),
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		MaxIdleConnsPerHost:    cmp.Or(cfg.MaxIdlePerHost, 512),
		MaxConnsPerHost:        max(cfg.MaxPerHost, 0),
		IdleConnTimeout:        max(cmp.Or(cfg.IdleTimeout, connect.IdleTimeout), 0),
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // the client's Accept-Encoding goes upstream as it is
	}, nil
}

func (cfg TransportConfig) connectTimeout() time.Duration {
	return max(cmp.Or(cfg.ConnectTimeout, 5*time.Second), 0)
}

// dial opens connections within the connect timeout of the exchange.
func (cfg TransportConfig) dial() func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &connect.Dialer{
		Dialer: net.Dialer{
			Timeout:         cfg.connectTimeout(),
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4},
		},
		Lifetime: connect.Lifetime{
			MaxAge:      max(cmp.Or(cfg.MaxAge, connect.MaxAge), 0),
			MaxRequests: max(cmp.Or(cfg.MaxRequests, connect.MaxRequests), 0),
		},
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if limit := exchange.Current(ctx).ConnectTimeout(); limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		return d.DialContext(ctx, network, address)
	}
}

func (cfg TransportConfig) proxy() (func(*http.Request) (*url.URL, error), error) {
	switch cfg.Proxy {
	case "":
		return http.ProxyFromEnvironment, nil
	case "none":
		return nil, nil //nolint:nilnil // http.Transport's way to use no proxy
	}
	u, err := url.Parse(cfg.Proxy)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return nil, errors.New("proxy: TransportConfig.Proxy: must be \"none\" or an http, https, socks5 or socks5h URL with a host") // without the credentials
	}
	return http.ProxyURL(u), nil
}

func (cfg TransportConfig) protocols() (*http.Protocols, error) {
	p := new(http.Protocols)
	switch cfg.Protocol {
	case "":
		p.SetHTTP1(true)
		p.SetHTTP2(true)
	case "http1":
		p.SetHTTP1(true)
	case "http2":
		p.SetHTTP2(true)
	case "h2c":
		p.SetUnencryptedHTTP2(true)
	default:
		return nil, fmt.Errorf("proxy: TransportConfig.Protocol %q: must be http1, http2, h2c or empty", cfg.Protocol)
	}
	return p, nil
}

func (cfg TransportConfig) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.ServerName}
	if cfg.CertFile == "" { // a resumed session would keep using a replaced certificate
		c.ClientSessionCache = tls.NewLRUClientSessionCache(256)
	}
	var faults []error
	if cfg.CAFile != "" {
		pool, err := readPool(cfg.CAFile)
		faults = append(faults, err)
		c.RootCAs = pool
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		faults = append(faults, errors.New("proxy: TransportConfig.CertFile and KeyFile go together"))
	} else if cfg.CertFile != "" {
		_, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			faults = append(faults, fmt.Errorf("proxy: TransportConfig.CertFile, KeyFile: %w", err))
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
			return &pair, err
		}
	}
	return c, fault.Join(faults...)
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("proxy: TransportConfig.CAFile: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("proxy: TransportConfig.CAFile %s: no certificate in it", file)
	}
	return pool, nil
}
