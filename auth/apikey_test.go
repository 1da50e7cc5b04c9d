package auth_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func keyFile(tb testing.TB, text string) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "keys.json")
	require.NoError(tb, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func presenting(authorization, apiKey string) *http.Request {
	r := request()
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if apiKey != "" {
		r.Header.Set("X-Api-Key", apiKey)
	}
	return r
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	key, hash := auth.NewKey("gk_")
	old, oldHash := auth.NewKey("gk_")
	off, offHash := auth.NewKey("gk_")
	k, err := auth.NewAPIKeys(auth.APIKeysConfig{File: keyFile(t, fmt.Sprintf(`{"keys":[
		{"hash":%q,"subject":"team-a","tenant":"acme","scopes":["chat"],"tags":["staff"],"models":["small-*"]},
		{"hash":%q,"subject":"team-b","expires":"2020-01-01T00:00:00Z"},
		{"hash":%q,"subject":"team-c","disabled":true}]}`, hash, oldHash, offHash))})
	require.NoError(t, err)
	want := &auth.Identity{Subject: "team-a", Issuer: "apikey", Tenant: "acme", Scopes: []string{"chat"}, Tags: []string{"staff"}, Models: []string{"small-*"}, Method: "apikey"}
	for name, tt := range map[string]struct {
		authorization, apiKey string
		err                   error
	}{
		"Bearer":             {"Bearer " + key, "", nil},
		"X-Api-Key":          {"", key, nil},
		"both, the same":     {"Bearer " + key, key, nil},
		"a JWT and a key":    {"Bearer a.b.c", key, nil},
		"both, different":    {"Bearer " + key, old, auth.ErrInvalid},
		"none":               {"", "", auth.ErrNoCredential},
		"another kind":       {"Bearer a.b.c", "", auth.ErrNoCredential},
		"unknown":            {"Bearer gk_unknown", "", auth.ErrInvalid},
		"only a prefix":      {"", "gk_", auth.ErrInvalid},
		"the hash":           {"", hash, auth.ErrNoCredential},
		"the hash as a key":  {"", "gk_" + hash, auth.ErrInvalid},
		"a letter off":       {"", key[:len(key)-1], auth.ErrInvalid},
		"a space after":      {"", key + " ", auth.ErrInvalid},
		"another case":       {"", strings.ToUpper(key), auth.ErrNoCredential},
		"very long":          {"", key + strings.Repeat("x", 1000), auth.ErrInvalid},
		"expired":            {"", old, auth.ErrInvalid},
		"disabled":           {"", off, auth.ErrInvalid},
		"a malformed Bearer": {"Bearer a b", key, auth.ErrInvalid},
	} {
		id, err := k.Verify(presenting(tt.authorization, tt.apiKey))
		require.ErrorIs(t, err, tt.err, name)
		if tt.err == nil {
			assert.Equal(t, want, id, name)
			continue
		}
		assert.NotContains(t, err.Error(), "gk_", name)
	}
	two := presenting("", key)
	two.Header.Add("X-Api-Key", old)
	_, err = k.Verify(two)
	require.ErrorIs(t, err, auth.ErrInvalid)
}

func TestAPIKeyLookup(t *testing.T) {
	t.Parallel()
	key, hash := auth.NewKey("x-")
	found := &auth.Identity{Subject: "a", Issuer: "apikey", Method: "apikey"}
	for name, tt := range map[string]struct {
		id, want *auth.Identity
		got      error
		err      error
	}{
		"found":                  {&auth.Identity{Subject: "a"}, found, nil, nil},
		"another issuer":         {&auth.Identity{Subject: "a", Issuer: "us", Method: "x"}, &auth.Identity{Subject: "a", Issuer: "us", Method: "apikey"}, nil, nil},
		"unknown":                {nil, nil, fmt.Errorf("%w: no", auth.ErrInvalid), auth.ErrInvalid},
		"no identity":            {nil, nil, nil, auth.ErrInvalid},
		"without a name":         {&auth.Identity{}, nil, nil, auth.ErrInvalid},
		"a line break in a name": {&auth.Identity{Subject: "a\nb"}, nil, nil, auth.ErrInvalid},
		"expired":                {&auth.Identity{Subject: "a", Expires: time.Now().Add(-1)}, nil, nil, auth.ErrInvalid},
		"down":                   {nil, nil, errors.New("database"), auth.ErrUnavailable},
	} {
		k, err := auth.NewAPIKeys(auth.APIKeysConfig{Prefix: "x-", Lookup: func(_ context.Context, h string) (*auth.Identity, error) {
			assert.Equal(t, hash, h)
			return tt.id, tt.got
		}})
		require.NoError(t, err)
		id, err := k.Verify(presenting("", key))
		require.ErrorIs(t, err, tt.err, name)
		assert.Equal(t, tt.want, id)
	}
}

func TestKeyFileFaults(t *testing.T) {
	t.Parallel()
	_, hash := auth.NewKey("")
	for text, want := range map[string]string{
		``:              "unexpected EOF",
		`[]`:            "cannot unmarshal",
		`{"key":[]}`:    "unknown field",
		`{}`:            "keys: must be a list",
		`{"keys":null}`: "keys: must be a list",
		`{"keys":[{"hash":"` + hash + `","subject":"a","mod\u0065ls":null}]}`: "keys[0]: models: must not be null",
		`{"keys":[{"hash":"` + hash + `","subject":"a\nb"}]}`:                 "control character",
		`{"keys":[]}x`: "more than one value",
		`{"keys":[{"hash":"abc","subject":"a"}]}`:                                                            "keys[0]: hash",
		`{"keys":[{"hash":"` + strings.ToUpper(hash) + `x","subject":"a"}]}`:                                 "keys[0]: hash",
		`{"keys":[{"hash":"` + hash + `"}]}`:                                                                 "keys[0]: subject: is missing",
		`{"keys":[{"hash":"` + hash + `","subject":"a","scope":[]}]}`:                                        "keys[0]: json: unknown field",
		`{"keys":[{"hash":"` + hash + `","subject":"a","Subject":"b"}]}`:                                     "keys[0]: duplicate member",
		`{"keys":[{"hash":"` + hash + `","subject":"a","models":null}]}`:                                     "keys[0]: models: must not be null",
		`{"keys":[{"hash":"` + hash + `","subject":"a","expires":"soon"}]}`:                                  "keys[0]: ",
		`{"keys":[{"hash":"` + hash + `","subject":"a"},{"hash":"` + hash + `","subject":"b"},{"hash":""}]}`: "keys[1]: hash: is a duplicate of keys[0]",
	} {
		_, err := auth.NewAPIKeys(auth.APIKeysConfig{File: keyFile(t, text)})
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, "keys.json")
	}
	_, err := auth.NewAPIKeys(auth.APIKeysConfig{})
	require.ErrorContains(t, err, "exactly one")
	_, err = auth.NewAPIKeys(auth.APIKeysConfig{File: "/nope"})
	require.ErrorContains(t, err, "/nope")
}

// A string that looks like a member is not one.
func TestKeyFileWords(t *testing.T) {
	t.Parallel()
	key, hash := auth.NewKey("gk_")
	k, err := auth.NewAPIKeys(auth.APIKeysConfig{File: keyFile(t, `{"keys":[{"hash":"`+hash+`","subject":"models","tags":["models"]}]}`)})
	require.NoError(t, err)
	_, err = k.Verify(presenting("", key))
	require.NoError(t, err)
}

func TestKeyFileReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key, hash := auth.NewKey("gk_")
		file := keyFile(t, `{"keys":[]}`)
		var events []auth.KeysEvent
		k, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file, OnEvent: func(_ context.Context, e auth.KeysEvent) { events = append(events, e) }})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		time.Sleep(11 * time.Second)
		_, err = k.Verify(presenting("", key))
		require.ErrorIs(t, err, auth.ErrInvalid)
		require.NoError(t, os.WriteFile(file, []byte(`{"keys":[{"hash":"`+hash+`","subject":"a"}]}`), 0o600))
		time.Sleep(5 * time.Second)
		_, err = k.Verify(presenting("", key))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, []byte(`{"keys":[`), 0o600))
		time.Sleep(time.Minute)
		_, err = k.Verify(presenting("", key))
		require.NoError(t, err, "a bad file changes nothing")
		cancel()
		require.NoError(t, <-done)
		require.Len(t, events, 2, "one event for each change")
		assert.Equal(t, auth.KeysEvent{Keys: 1}, events[0])
		assert.Error(t, events[1].Err)
	})
}

func as(r *http.Request, id *auth.Identity) *http.Request {
	return r.WithContext(auth.NewContext(r.Context(), id))
}

func TestRequire(t *testing.T) {
	t.Parallel()
	h := auth.Require("read", "write")
	_, w := through(request(), h)
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	_, w = through(as(request(), &auth.Identity{Subject: "a", Scopes: []string{"read"}}), h)
	assert.Equal(t, http.StatusForbidden, w.Code)
	assert.Equal(t, `Bearer realm="gateway", error="insufficient_scope", scope="read write"`, w.Header().Get("WWW-Authenticate"))
	_, w = through(as(request(), &auth.Identity{Subject: "a", Scopes: []string{"write", "x", "read"}}), h)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Panics(t, func() { auth.Require() })
	assert.Panics(t, func() { auth.Require("a b") })
}

func TestRequireModel(t *testing.T) {
	t.Parallel()
	bodies, err := proxy.NewBodies(proxy.BodiesConfig{Limit: 100})
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		models []string
		body   string
		want   int
		code   string
	}{
		"no list":          {nil, `{"model":"large"}`, 200, ""},
		"no list, no body": {nil, ``, 200, ""},
		"an empty list":    {[]string{}, `{"model":"small"}`, 403, "model_not_allowed"},
		"named":            {[]string{"small"}, `{"model":"small"}`, 200, ""},
		"by its prefix":    {[]string{"large", "small-*"}, `{"model":"small-2"}`, 200, ""},
		"another":          {[]string{"small"}, `{"model":"small-2"}`, 403, "model_not_allowed"},
		"another case":     {[]string{"small"}, `{"model":"Small"}`, 403, "model_not_allowed"},
		"none":             {[]string{"small"}, `{}`, 400, "model_unclear"},
		"twice":            {[]string{"small"}, `{"model":"small","model":"large"}`, 400, "model_unclear"},
		"in two cases":     {[]string{"small"}, `{"model":"small","Model":"large"}`, 400, "model_unclear"},
		"not a string":     {[]string{"small"}, `{"model":["small"]}`, 400, "model_unclear"},
		"not JSON":         {[]string{"small"}, `model=small`, 400, "model_unclear"},
		"no body":          {[]string{"small"}, ``, 400, "model_unclear"},
		"too large":        {[]string{"small"}, `{"model":"small","x":"` + strings.Repeat("x", 200) + `"}`, 413, "request_too_large"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(tt.body))
		require.NoError(t, err)
		_, w := through(as(r, &auth.Identity{Subject: "a", Models: tt.models}), bodies.Middleware(), auth.RequireModel(auth.RequireModelConfig{}))
		assert.Equal(t, tt.want, w.Code, name)
		assert.Contains(t, w.Body.String(), tt.code, name)
	}
	_, w := through(request(), auth.RequireModel(auth.RequireModelConfig{}))
	assert.Equal(t, http.StatusUnauthorized, w.Code)
}

// The model may be elsewhere than in a JSON body. If it can't be determined, a restricted
// key is refused.
func TestRequireModelElsewhere(t *testing.T) {
	t.Parallel()
	form := func(model string) string {
		return "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n" + model + "\r\n--x--\r\n"
	}
	for name, tt := range map[string]struct {
		method, url, body string
		header            [2]string
		want              int
	}{
		"a form":                     {"POST", "/v1/audio/transcriptions", form("small-1"), [2]string{"Content-Type", "multipart/form-data; boundary=x"}, 200},
		"a form, another model":      {"POST", "/v1/audio/transcriptions", form("big-1"), [2]string{"Content-Type", "multipart/form-data; boundary=x"}, 403},
		"a deployment":               {"POST", "/openai/deployments/small-1/chat/completions", `{}`, [2]string{}, 200},
		"another deployment":         {"POST", "/openai/deployments/big-1/chat/completions", `{"model":"small-1"}`, [2]string{}, 403},
		"a deployment, another body": {"POST", "/openai/deployments/small-1/chat/completions", `{"model":"big-1"}`, [2]string{}, 403},
		"Gemini":                     {"POST", "/v1beta/models/big-1:generateContent", `{"contents":[]}`, [2]string{}, 403},
		"an upgrade":                 {"GET", "/v1/realtime?model=small-1", ``, [2]string{"Upgrade", "websocket"}, 200},
		"an upgrade, another model":  {"GET", "/v1/realtime?model=big-1", ``, [2]string{"Upgrade", "websocket"}, 403},
		"an upgrade, both":           {"GET", "/v1/realtime?model=small-1&model=big-1", ``, [2]string{"Upgrade", "websocket"}, 400},
		"an upgrade without a model": {"GET", "/v1/realtime", ``, [2]string{"Upgrade", "websocket"}, 400},
		"a list":                     {"GET", "/v1/models", ``, [2]string{}, 200},
		"a list, offering h2c":       {"GET", "/v1/models", ``, [2]string{"Upgrade", "h2c"}, 200},
		"another in the query":       {"POST", "/v1/chat/completions?model=big-1", `{"model":"small-1"}`, [2]string{}, 403},
		"unknown encoding":           {"POST", "/v1/chat/completions", `xyz`, [2]string{"Content-Encoding", "br"}, 415},
		"gRPC":                       {"POST", "/v1/chat/completions", `xyz`, [2]string{"Content-Type", "application/grpc"}, 400},
	} {
		r := httptest.NewRequest(tt.method, tt.url, strings.NewReader(tt.body))
		if tt.header[0] != "" {
			r.Header.Set("Connection", tt.header[0]) // for Upgrade
			r.Header.Set(tt.header[0], tt.header[1])
		}
		_, w := through(as(r, &auth.Identity{Subject: "a", Models: []string{"small-*"}}), auth.RequireModel(auth.RequireModelConfig{}))
		assert.Equal(t, tt.want, w.Code, "%s: %s", name, w.Body)
	}
}

func TestMTLS(t *testing.T) {
	t.Parallel()
	spiffe, err := url.Parse("spiffe://acme/agent")
	require.NoError(t, err)
	until := time.Now().Add(time.Hour)
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "agent"}, Issuer: pkix.Name{CommonName: "ca"}, NotAfter: until}
	withURI := &x509.Certificate{Subject: cert.Subject, Issuer: cert.Issuer, NotAfter: until, URIs: []*url.URL{spiffe}}
	verified := func(c *x509.Certificate) *tls.ConnectionState {
		return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{c}}}
	}
	v, err := auth.NewMTLS(auth.MTLSConfig{})
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		state *tls.ConnectionState
		want  string
		err   error
	}{
		"common name":              {verified(cert), "agent", nil},
		"SPIFFE":                   {verified(withURI), "spiffe://acme/agent", nil},
		"no name":                  {verified(&x509.Certificate{NotAfter: until}), "", auth.ErrInvalid},
		"a line break in the name": {verified(&x509.Certificate{Subject: pkix.Name{CommonName: "a\nroot"}, NotAfter: until}), "", auth.ErrInvalid},
		"no TLS":                   {nil, "", auth.ErrNoCredential},
		"no certificate":           {&tls.ConnectionState{}, "", auth.ErrNoCredential},
		"an unverified one":        {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}, "", auth.ErrNoCredential},
	} {
		r := request()
		r.TLS = tt.state
		id, err := v.Verify(r)
		require.ErrorIs(t, err, tt.err, name)
		if tt.err == nil {
			assert.Equal(t, &auth.Identity{Subject: tt.want, Issuer: "CN=ca", Method: "mtls", Expires: until}, id, name)
		}
	}
	old := *cert
	old.NotAfter = time.Now().Add(-time.Second)
	late := request()
	late.TLS = verified(&old)
	_, err = v.Verify(late)
	require.ErrorIs(t, err, auth.ErrInvalid, "a connection outlives its certificate")
	own, err := auth.NewMTLS(auth.MTLSConfig{Identity: func(*x509.Certificate) (*auth.Identity, error) { return nil, errors.New("revoked") }})
	require.NoError(t, err)
	r := request()
	r.TLS = verified(cert)
	_, err = own.Verify(r)
	assert.ErrorIs(t, err, auth.ErrInvalid)
}

func TestMayUse(t *testing.T) {
	t.Parallel()
	use := func(id *auth.Identity) []bool {
		may := []bool{}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		require.NoError(t, err)
		if id != nil {
			r = as(r, id)
		}
		through(r, func(c *gin.Context) {
			for _, model := range []string{"small-2", "large"} {
				may = append(may, auth.MayUse(c.Request.Context(), model))
			}
		})
		return may
	}
	assert.Equal(t, []bool{true, true}, use(&auth.Identity{Subject: "a"}))
	assert.Equal(t, []bool{true, false}, use(&auth.Identity{Subject: "a", Models: []string{"small-*"}}))
	assert.Equal(t, []bool{false, false}, use(&auth.Identity{Subject: "a", Models: []string{}}))
	assert.Equal(t, []bool{false, false}, use(nil))
}
