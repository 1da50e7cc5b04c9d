package auth

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"time"
)

// MTLSConfig describes a verifier of client certificates.
type MTLSConfig struct {
	// Identity makes an identity of a certificate that the server has verified; an
	// error is [ErrInvalid], unless it is [ErrUnavailable]. Default: the first URI
	// (as SPIFFE has it), else the common name.
	Identity func(*x509.Certificate) (*Identity, error)
}

// MTLS is a [Verifier] for client certificates. It believes only what the server
// verified: tls.Config needs ClientCAs, and ClientAuth VerifyClientCertIfGiven or
// RequireAndVerifyClientCert. It is safe for concurrent use.
type MTLS struct{ cfg MTLSConfig }

// NewMTLS returns a verifier. There is nothing in cfg that could be wrong.
func NewMTLS(cfg MTLSConfig) (*MTLS, error) {
	if cfg.Identity == nil {
		cfg.Identity = certificateIdentity
	}
	return &MTLS{cfg: cfg}, nil
}

// Verify implements Verifier.
func (v *MTLS) Verify(r *http.Request) (*Identity, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
		return nil, fmt.Errorf("%w: no verified certificate", ErrNoCredential)
	}
	cert := r.TLS.VerifiedChains[0][0]
	if time.Now().After(cert.NotAfter) { // a connection may live longer
		return nil, fmt.Errorf("%w: the certificate has expired", ErrInvalid)
	}
	id, err := v.cfg.Identity(cert)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate: %w", ErrInvalid, err)
	}
	if err := id.check(); err != nil {
		return nil, err
	}
	out := *id
	out.Method, out.Expires = "mtls", cert.NotAfter
	return &out, nil
}

func certificateIdentity(cert *x509.Certificate) (*Identity, error) {
	id := &Identity{Subject: cert.Subject.CommonName, Issuer: cert.Issuer.String()}
	if len(cert.URIs) > 0 {
		id.Subject = cert.URIs[0].String()
	}
	return id, nil
}
