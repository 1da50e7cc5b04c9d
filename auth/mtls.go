package auth

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"time"
)

// MTLSConfig configures an MTLS. The zero value is valid.
type MTLSConfig struct {
	// Identity returns the identity of a certificate that the server has verified. An error
	// counts as [ErrInvalid] unless it is [ErrUnavailable]. Default: the subject is the
	// first URI (as in SPIFFE), else the common name.
	Identity func(*x509.Certificate) (*Identity, error)
}

// MTLS is a [Verifier] of client certificates. It trusts only chains that the server
// verified: tls.Config needs ClientCAs, and ClientAuth VerifyClientCertIfGiven or
// RequireAndVerifyClientCert. It is safe for concurrent use.
type MTLS struct{ cfg MTLSConfig }

// NewMTLS returns an MTLS. No Config is invalid: the error is always nil.
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
	if time.Now().After(cert.NotAfter) { // a connection may outlive its certificate
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
