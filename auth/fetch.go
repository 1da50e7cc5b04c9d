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
	"net/url"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/jwk"
)

const (
	// maxDocument is the largest document accepted from a provider, in bytes.
	maxDocument = 1 << 20
	// fetchTimeout bounds a fetch, with any client.
	fetchTimeout = 5 * time.Second
	// accept names the media types of documents (RFC 7517 §8.5.2, OpenID Connect Discovery 1.0
	// §4.2, RFC 7662 §2.2). The parsers decide, whatever type the response has.
	accept = "application/json, application/jwk-set+json, */*;q=0.5"
	// maxRedirects is the largest number of redirects followed.
	maxRedirects = 3
)

// careful returns a client that follows no redirect to another server: a provider must not
// make the gateway send requests, with its credentials, to servers that only the gateway
// can reach. A client with its own CheckRedirect keeps it.
func careful(client *http.Client) *http.Client {
	out := http.Client{}
	if client != nil {
		out = *client
	}
	if out.CheckRedirect == nil {
		out.CheckRedirect = sameServer
	}
	return &out
}

func sameServer(to *http.Request, via []*http.Request) error {
	from := via[0].URL
	if to.URL.Scheme != from.Scheme || to.URL.Host != from.Host {
		return errors.New("redirected to another server")
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	return nil
}

// fetch returns a document.
func fetch(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, errors.New("auth: fetch: not a URL")
	}
	text, err := document(client, req)
	if err != nil {
		return nil, fmt.Errorf("auth: fetch %s%s: %w", req.URL.Host, req.URL.Path, err)
	}
	return text, nil
}

// document sends a request and returns the response's body, within bounds of size and time.
// The error omits the URL's query, which may contain a secret.
func document(client *http.Client, req *http.Request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(req.Context(), fetchTimeout)
	defer cancel()
	req.Header.Set("Accept", accept)
	res, err := client.Do(req.WithContext(ctx))
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("more than %d bytes", maxDocument)
	}
	return withoutMark(text), nil
}

// withoutMark removes a byte order mark, which parsers of JSON may ignore (RFC 8259 §8.1).
func withoutMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) }

// discover returns the address of an OpenID provider's keys (OpenID Connect Discovery 1.0
// §4).
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
		return "", fmt.Errorf("auth: discovery of %s: its issuer is %q", issuer, doc.Issuer)
	}
	err = checkAddress(doc.Keys)
	if err == nil && strings.HasPrefix(issuer, "https:") && !strings.HasPrefix(doc.Keys, "https:") {
		err = errors.New("must be https") // on loopback too: the provider chose the address
	}
	if err != nil {
		return "", fmt.Errorf("auth: discovery of %s: jwks_uri: %w", issuer, err)
	}
	return doc.Keys, nil
}

// parseKeys parses a JWK set or PEM.
func parseKeys(text []byte) ([]jwk.Key, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return jwk.ParseSet(text)
	}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		return jwk.ParsePEM(text)
	}
	return nil, errors.New("auth: neither a JWK set nor PEM")
}

// checkAddress requires https, or a loopback address.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("not a plain URL with a host")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("must be https")
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
