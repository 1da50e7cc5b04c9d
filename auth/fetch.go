package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"github.com/ginfer/ginfer/internal/jwk"
)

// maxDocument bounds what a provider may send.
const maxDocument = 1 << 20

// fetch gets a document of bounded length.
func fetch(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("auth: fetch: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("auth: fetch %s: status %d", address, res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("auth: fetch %s: %w", address, err)
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("auth: fetch %s: more than %d bytes", address, maxDocument)
	}
	return text, nil
}

// discover finds the address of an OpenID provider's keys (OpenID Connect
// Discovery 1.0 §4).
func discover(ctx context.Context, client *http.Client, issuer string) (string, error) {
	text, err := fetch(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	var doc struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return "", fmt.Errorf("auth: discovery of %s: %w", issuer, err)
	}
	if doc.Issuer != issuer {
		return "", fmt.Errorf("auth: discovery of %s: the document is of issuer %q", issuer, doc.Issuer)
	}
	if err := checkAddress(doc.Keys); err != nil {
		return "", fmt.Errorf("auth: discovery of %s: jwks_uri: %w", issuer, err)
	}
	return doc.Keys, nil
}

// parseKeys reads a JWK set or PEM.
func parseKeys(text []byte) ([]jwk.Key, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return jwk.ParseSet(text)
	}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		return jwk.ParsePEM(text)
	}
	return nil, errors.New("auth: neither a JWK set nor PEM")
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
