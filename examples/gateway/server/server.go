// Package server listens on the two ports of the gateway, reloads what changes in its files, and
// ends without losing requests.
package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"golang.org/x/net/netutil"
)

// Server listens on the public and the private port.
type Server struct {
	g               *live.Gateway
	public, private *port
	failed          chan error
}

// port is a listening server.
type port struct {
	server   *http.Server
	listener net.Listener
	scheme   string
}

// url returns the port's address, or the arguments of curl for a Unix socket.
func (p *port) url() string {
	if at := p.listener.Addr(); at.Network() == "unix" {
		return "--unix-socket " + at.String() + " " + p.scheme + "://localhost"
	}
	return p.scheme + "://" + p.listener.Addr().String()
}

// Listen opens both ports of a gateway that has loaded its configuration.
func Listen(g *live.Gateway, admin http.Handler) (*Server, error) {
	cfg := g.Current().Config
	public, err := publicPort(g, &cfg.Public)
	if err != nil {
		return nil, err
	}
	private, err := newPort("private.address", cfg.Private.Address, cfg.Private.SocketMode)
	if err != nil {
		_ = public.listener.Close()
		return nil, err
	}
	private.server = &http.Server{Handler: admin, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: errorLog(g), HTTP2: &http.HTTP2Config{MaxReadFrameSize: 16 << 10}}
	if files := cfg.Private.TLS; files != nil {
		if _, err := privateTLS(files); err != nil {
			return nil, errors.Join(fmt.Errorf("private.tls: %w", err), public.listener.Close(), private.listener.Close())
		}
		private.scheme = "https"
		private.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return privateTLS(files) }}
	}
	return &Server{g: g, public: public, private: private, failed: make(chan error, 2)}, nil
}

// privateTLS reads the files for each connection of an operator, so that they may change.
func privateTLS(files *config.TLS) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	if files.ClientCA != "" {
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		cfg.ClientCAs, err = live.Authorities(files.ClientCA)
	}
	return cfg, err
}

func newPort(field, address, mode string) (*port, error) {
	ln, err := listen(address, mode)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return &port{listener: ln, scheme: "http"}, nil
}

// publicPort sets the limits that keep slow and greedy clients from taking
// the server down; a request body has its own (see package proxy).
func publicPort(g *live.Gateway, cfg *config.Public) (*port, error) {
	p, err := newPort("public.address", cfg.Address, cfg.SocketMode)
	if err != nil {
		return nil, err
	}
	p.listener = netutil.LimitListener(p.listener, cmp.Or(cfg.MaxConnections, 20000))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(cfg.H2C)
	p.server = &http.Server{
		Handler:           g,
		Protocols:         protocols,
		ReadHeaderTimeout: cmp.Or(time.Duration(cfg.HeaderTimeout), 10*time.Second),
		IdleTimeout:       cmp.Or(time.Duration(cfg.IdleTimeout), 2*time.Minute),
		MaxHeaderBytes:    cmp.Or(cfg.MaxHeaderBytes, 64<<10),
		ErrorLog:          errorLog(g),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          cmp.Or(cfg.MaxStreams, 100),
			MaxReceiveBufferPerStream:     64 << 10,
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              30 * time.Second,
		},
	}
	if cfg.TLS != nil {
		p.scheme = "https"
		p.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: g.Certificate, GetConfigForClient: g.ClientConfig}
	}
	return p, nil
}

// errorLog logs net/http's own messages: broken handshakes and the like.
func errorLog(g *live.Gateway) *log.Logger { //nolint:forbidigo // what http.Server takes
	return slog.NewLogLogger(g.Log().Handler(), slog.LevelDebug)
}

// Serve serves both ports in the background. From now on the gateway is ready.
func (s *Server) Serve() {
	for _, p := range []*port{s.public, s.private} {
		go func() {
			if err := p.serve(); !errors.Is(err, http.ErrServerClosed) {
				s.failed <- err
			}
		}()
	}
	s.g.SetReady(true)
}

func (p *port) serve() error {
	if p.scheme == "https" {
		return p.server.ServeTLS(p.listener, "", "") // the certificate comes from TLSConfig
	}
	return p.server.Serve(p.listener)
}

// Failed receives the error of a port that fails.
func (s *Server) Failed() <-chan error { return s.failed }

// URLs returns the addresses of the ports.
func (s *Server) URLs() (public, private string) { return s.public.url(), s.private.url() }
