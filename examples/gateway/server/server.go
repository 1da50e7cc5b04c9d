package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// port is a listening server.
type port struct {
	server   *http.Server
	listener net.Listener
	scheme   string
}

func (p *port) url() string { return p.scheme + "://" + p.listener.Addr().String() }

// ports are the two of them. Failed gets the error of one that stops by itself.
type ports struct {
	public, private *port
	failed          chan error
}

// listen opens both ports.
func (g *gateway) listen() (*ports, error) {
	cfg := g.current.Load().cfg
	public, err := g.publicPort(&cfg.Public)
	if err != nil {
		return nil, err
	}
	private, err := newPort("private.address", cfg.Private.Address)
	if err != nil {
		_ = public.listener.Close()
		return nil, err
	}
	g.openAdmin()
	private.server = &http.Server{Handler: http.HandlerFunc(g.serveAdmin), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: g.errorLog()}
	if files := cfg.Private.TLS; files != nil {
		if _, err := privateTLS(files); err != nil {
			return nil, errors.Join(fmt.Errorf("private.tls: %w", err), public.listener.Close(), private.listener.Close())
		}
		private.scheme = "https"
		private.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return privateTLS(files) }}
	}
	return &ports{public: public, private: private, failed: make(chan error, 2)}, nil
}

// privateTLS reads the files for each connection of an operator, so that they may change.
func privateTLS(files *TLS) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	if files.ClientCA != "" {
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		cfg.ClientCAs, err = authorities(files.ClientCA)
	}
	return cfg, err
}

func newPort(field, address string) (*port, error) {
	ln, err := net.Listen("tcp", address) //nolint:noctx // at start there is nothing to cancel it
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return &port{listener: ln, scheme: "http"}, nil
}

// publicPort sets the limits that keep slow and greedy clients from taking
// the server down; a request body has its own (see package proxy).
func (g *gateway) publicPort(cfg *Public) (*port, error) {
	p, err := newPort("public.address", cfg.Address)
	if err != nil {
		return nil, err
	}
	p.listener = netutil.LimitListener(p.listener, orDefault(cfg.MaxConnections, 20000))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(cfg.H2C)
	p.server = &http.Server{
		Handler:           g,
		Protocols:         protocols,
		ReadHeaderTimeout: time.Duration(orDefault(cfg.HeaderTimeout, Duration(10*time.Second))),
		IdleTimeout:       time.Duration(orDefault(cfg.IdleTimeout, Duration(2*time.Minute))),
		MaxHeaderBytes:    orDefault(cfg.MaxHeaderBytes, 64<<10),
		ErrorLog:          g.errorLog(),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          orDefault(cfg.MaxStreams, 100),
			MaxReceiveBufferPerStream:     64 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              30 * time.Second,
		},
	}
	if cfg.TLS != nil {
		p.scheme = "https"
		p.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: g.certificate, GetConfigForClient: g.clientConfig}
	}
	return p, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// certificate is the latest good one; see watch.go.
func (g *gateway) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := g.cert.Load(); cert != nil {
		return cert, nil
	}
	return nil, errors.New("no certificate: public.tls was removed; restart to serve without TLS")
}

// clientConfig asks for a client certificate when the configuration in force names
// who signs them; see watch.go. One that is not given is for the auth stage to miss.
func (g *gateway) clientConfig(*tls.ClientHelloInfo) (*tls.Config, error) {
	authorities := g.clientCAs.Load()
	if authorities == nil {
		return nil, nil //nolint:nilnil // the server's own
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: g.certificate, NextProtos: []string{"h2", "http/1.1"},
		ClientCAs: authorities, ClientAuth: tls.VerifyClientCertIfGiven,
	}, nil
}

// errorLog takes net/http's own messages: broken handshakes and the like.
func (g *gateway) errorLog() *log.Logger { //nolint:forbidigo // what http.Server takes
	return slog.NewLogLogger(g.log.Handler(), slog.LevelDebug)
}

func (p *ports) serve() {
	for _, one := range []*port{p.public, p.private} {
		go func() {
			if err := one.serve(); !errors.Is(err, http.ErrServerClosed) {
				p.failed <- err
			}
		}()
	}
}

func (p *port) serve() error {
	if p.scheme == "https" {
		return p.server.ServeTLS(p.listener, "", "") // the certificate comes from TLSConfig
	}
	return p.server.Serve(p.listener)
}
