package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Credentials of the provider's only client; see oidc/server.js.
const (
	oidcClient = "agent"
	oidcSecret = "agent secret"
)

// provider is a real OpenID provider.
type provider struct {
	t      *testing.T
	cmd    *exec.Cmd
	issuer string
	client *http.Client
}

// startProvider starts a provider at a port with new keys of that name.
func startProvider(t *testing.T, client *http.Client, port, keys string) *provider {
	t.Helper()
	p := &provider{t: t, client: client}
	p.cmd = exec.Command("node", "server.js", port, keys)
	p.cmd.Dir = "oidc"
	stderr := &lockedBuffer{}
	p.cmd.Stderr = stderr
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(p.stop)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "http://") {
			p.issuer = lines.Text()
			return p
		}
	}
	t.Fatalf("the provider did not start: %s", stderr)
	return nil
}

func (p *provider) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.client.CloseIdleConnections()
}

func (p *provider) port() string {
	u, err := url.Parse(p.issuer)
	require.NoError(p.t, err)
	return u.Port()
}

// post sends a form as the client and returns the response.
func (p *provider) post(path string, form url.Values) map[string]any {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.issuer+path, strings.NewReader(form.Encode()))
	require.NoError(p.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(oidcClient), url.QueryEscape(oidcSecret))
	res, err := p.client.Do(req)
	require.NoError(p.t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(p.t, http.StatusOK, res.StatusCode, path)
	var response map[string]any
	_ = json.NewDecoder(res.Body).Decode(&response) // a revocation has no body
	return response
}

func (p *provider) token(resource string) string {
	p.t.Helper()
	token, _ := p.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"chat"}, "resource": {resource}})["access_token"].(string)
	require.NotEmpty(p.t, token)
	return token
}

// oidcGateway is a Gin server that trusts the provider for an audience.
func oidcGateway(t *testing.T, p *provider, keys *auth.KeySet, audience string) *httptest.Server {
	t.Helper()
	tokens, err := auth.NewJWT(auth.JWTConfig{Keys: keys, Algorithms: []string{"ES256", "RS256"}, Issuer: p.issuer, Audience: audience, Type: "at+jwt"})
	require.NoError(t, err)
	opaque, err := auth.NewIntrospection(auth.IntrospectionConfig{
		URL: p.issuer + "/token/introspection", ClientID: oidcClient, ClientSecret: oidcSecret,
		Audience: "urn:opaque", Client: p.client, CacheTTL: -1,
	})
	require.NoError(t, err)
	authn, err := auth.New(auth.Config{Verifiers: []auth.Verifier{tokens, opaque}})
	require.NoError(t, err)
	e := gin.New()
	e.GET("/", authn.Middleware(), auth.Require("chat"), func(c *gin.Context) {
		id, _ := auth.FromContext(c.Request.Context())
		c.String(http.StatusOK, "%s %s %s", id.Subject, id.Method, id.Issuer)
	})
	srv := newServer(t, e)
	return srv
}

// status sends a request with a token to the gateway.
func (p *provider) status(srv *httptest.Server, token string) (status int, challenge string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, srv.URL, http.NoBody)
	require.NoError(p.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := p.client.Do(req)
	require.NoError(p.t, err)
	_ = res.Body.Close()
	return res.StatusCode, res.Header.Get("WWW-Authenticate")
}

// needOIDC skips the test on a machine without Node.js or the provider.
func needOIDC(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join("oidc", "node_modules", "oidc-provider"))
	}
	if err != nil {
		need.Missing(t, "GINFER_REQUIRE_NODE", "no OpenID provider: it needs Node.js and `npm ci --prefix internal/e2e/oidc`: %v", err)
	}
}

// Tokens of a certified OpenID provider: JWTs with keys found by discovery, opaque tokens by
// introspection, and a key rotation while the gateway runs.
func TestOIDC(t *testing.T) {
	t.Parallel()
	needOIDC(t)
	client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	p := startProvider(t, client, "0", "first")
	keys, err := auth.NewKeySet(auth.KeySetConfig{Issuer: p.issuer, Client: client})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-done)
	})
	gateway, rsa := oidcGateway(t, p, keys, "urn:gateway"), oidcGateway(t, p, keys, "urn:gateway:rsa")

	token, opaque := p.token("urn:gateway"), p.token("urn:opaque")
	const invalid = `Bearer realm="gateway", error="invalid_token"`
	check := func(name string, srv *httptest.Server, token string, want int) {
		t.Helper()
		status, challenge := p.status(srv, token)
		assert.Equal(t, want, status, name)
		if want == http.StatusUnauthorized {
			assert.Equal(t, invalid, challenge, name)
		}
	}
	check("a JWT", gateway, token, http.StatusOK)
	check("a JWT, cached", gateway, token, http.StatusOK)
	check("of RSA", rsa, p.token("urn:gateway:rsa"), http.StatusOK)
	check("for another gateway", rsa, token, http.StatusUnauthorized)
	check("for another server", gateway, p.token("urn:other"), http.StatusUnauthorized)
	middle := len(token) / 2
	check("tampered", gateway, token[:middle]+strings.ToUpper(token[middle:middle+9])+token[middle+9:]+"A", http.StatusUnauthorized)
	check("an opaque one", gateway, opaque, http.StatusOK)
	check("unknown", gateway, opaque[1:], http.StatusUnauthorized)
	p.post("/token/revocation", url.Values{"token": {opaque}})
	check("revoked", gateway, opaque, http.StatusUnauthorized)

	port := p.port()
	p.stop()
	check("a JWT, provider down", gateway, token, http.StatusOK)
	status, _ := p.status(gateway, p.issuer+"-opaque")
	assert.Equal(t, http.StatusServiceUnavailable, status, "introspection fails closed")

	p = startProvider(t, client, port, "second")
	check("of the new key, at once", gateway, p.token("urn:gateway"), http.StatusOK)
	check("of the withdrawn key", gateway, token, http.StatusUnauthorized)
	check("opaque again", gateway, p.token("urn:opaque"), http.StatusOK)
}
