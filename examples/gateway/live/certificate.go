package live

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/ginfer/ginfer/examples/gateway/config"
)

// Certificate returns the latest valid certificate of the public port.
func (g *Gateway) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := g.cert.Load(); cert != nil {
		return cert, nil
	}
	return nil, errors.New("no certificate: public.tls was removed; restart to serve without TLS")
}

// ClientConfig requests a client certificate when the configuration in force names the
// authorities. A missing certificate is refused by the stage auth.
func (g *Gateway) ClientConfig(*tls.ClientHelloInfo) (*tls.Config, error) {
	authorities := g.clientCAs.Load()
	if authorities == nil {
		return nil, nil //nolint:nilnil // the server's own
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: g.Certificate, NextProtos: []string{"h2", "http/1.1"},
		ClientCAs: authorities, ClientAuth: tls.VerifyClientCertIfGiven,
	}, nil
}

// RenewCertificate reads the certificate and the authorities of clients again; invalid files
// are refused together.
func (g *Gateway) RenewCertificate() {
	files := g.current.Load().Config.Public.TLS
	if files == nil {
		return
	}
	faults := new(config.Faults)
	cert, clientCAs := certificate(files, faults), authorities(files, faults)
	if !faults.Empty() {
		g.log.Error("certificate refused; the one before stays", "error", faults.First())
		return
	}
	g.cert.Store(cert)
	g.clientCAs.Store(clientCAs)
	g.log.Info("certificate renewed")
}

func certificate(files *config.TLS, faults *config.Faults) *tls.Certificate {
	if files == nil {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		faults.Add("public.tls", "%v", err)
		return nil
	}
	return &cert
}

// authorities returns the authorities of client certificates; nil: none are requested.
func authorities(files *config.TLS, faults *config.Faults) *x509.CertPool {
	if files == nil || files.ClientCA == "" {
		return nil
	}
	pool, err := Authorities(files.ClientCA)
	if err != nil {
		faults.Add("public.tls.client_ca", "%v", err)
	}
	return pool
}

// Authorities reads a PEM file of certificates; without a file it returns nil, which means the
// system's.
func Authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is the system's
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return pool, nil
}
