package auth_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tokenServer is an introspection endpoint with a response for each token.
type tokenServer struct {
	mu        sync.Mutex
	responses map[string]string // by token; "down": no response
	calls     int
	last      *http.Request
	delay     time.Duration
}

func (s *tokenServer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	time.Sleep(s.delay)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.last = r
	status, response := http.StatusOK, s.responses[form.Get("token")]
	if response == "" {
		status = http.StatusInternalServerError
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(response))}, nil
}

func newIntrospection(tb testing.TB, s *tokenServer, change func(*auth.IntrospectionConfig)) *auth.Introspection {
	tb.Helper()
	cfg := auth.IntrospectionConfig{URL: "https://op.example/introspect", ClientID: "gate way", ClientSecret: "s:1", Client: &http.Client{Transport: s}}
	if change != nil {
		change(&cfg)
	}
	v, err := auth.NewIntrospection(cfg)
	require.NoError(tb, err)
	return v
}

func bearer(ctx context.Context, token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		token, response, audience string
		want                      *auth.Identity
		err                       error
	}{
		"active":           {"t", `{"active":true,"sub":"u","iss":"i","tenant":"n","scope":"a b","tags":["x"],"models":["m"]}`, "", &auth.Identity{Subject: "u", Issuer: "i", Tenant: "n", Scopes: []string{"a", "b"}, Tags: []string{"x"}, Models: []string{"m"}, Method: "introspection"}, nil},
		"a machine":        {"t", `{"active":true,"client_id":"c"}`, "", &auth.Identity{Subject: "c", Issuer: "https://op.example/introspect", Method: "introspection"}, nil},
		"audience":         {"t", `{"active":true,"sub":"u","aud":["x","api"]}`, "api", &auth.Identity{Subject: "u", Issuer: "https://op.example/introspect", Method: "introspection"}, nil},
		"one audience":     {"t", `{"active":true,"sub":"u","aud":"api"}`, "api", &auth.Identity{Subject: "u", Issuer: "https://op.example/introspect", Method: "introspection"}, nil},
		"other audience":   {"t", `{"active":true,"sub":"u","aud":"x"}`, "api", nil, auth.ErrInvalid},
		"no audience":      {"t", `{"active":true,"sub":"u"}`, "api", nil, auth.ErrInvalid},
		"inactive":         {"t", `{"active":false,"sub":"u"}`, "", nil, auth.ErrInvalid},
		"active as text":   {"t", `{"active":"true","sub":"u"}`, "", nil, auth.ErrUnavailable},
		"no subject":       {"t", `{"active":true}`, "", nil, auth.ErrInvalid},
		"expired":          {"t", `{"active":true,"sub":"u","exp":1}`, "", nil, auth.ErrInvalid},
		"not yet":          {"t", `{"active":true,"sub":"u","nbf":99999999999}`, "", nil, auth.ErrInvalid},
		"down":             {"t", ``, "", nil, auth.ErrUnavailable},
		"garbage":          {"t", `<html>`, "", nil, auth.ErrUnavailable},
		"no credential":    {"", ``, "", nil, auth.ErrNoCredential},
		"too long a token": {strings.Repeat("x", 9000), ``, "", nil, auth.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &tokenServer{responses: map[string]string{"t": tt.response}}
			v := newIntrospection(t, s, func(c *auth.IntrospectionConfig) { c.Audience = tt.audience })
			id, err := v.Verify(bearer(t.Context(), tt.token))
			require.ErrorIs(t, err, tt.err)
			assert.Equal(t, tt.want, id)
			if s.last != nil {
				user, password, _ := s.last.BasicAuth()
				assert.Equal(t, "gate+way s%3A1", user+" "+password, "RFC 6749 §2.3.1")
			}
		})
	}
}

func TestIntrospectionCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		exp := time.Now().Add(10 * time.Second).Unix()
		s := &tokenServer{delay: time.Second, responses: map[string]string{
			"t": `{"active":true,"sub":"u"}`, "bad": `{"active":false}`,
			"short": `{"active":true,"sub":"u","exp":` + strconv.FormatInt(exp, 10) + `}`,
		}}
		v := newIntrospection(t, s, nil)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := v.Verify(bearer(t.Context(), "t")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		assert.Equal(t, 1, s.calls, "one call for all requests")
		calls := func(token string) int {
			before := s.calls
			_, _ = v.Verify(bearer(t.Context(), token))
			return s.calls - before
		}
		assert.Zero(t, calls("t"))
		time.Sleep(30 * time.Second)
		assert.Equal(t, 1, calls("t"))
		assert.Equal(t, 1, calls("bad"))
		assert.Zero(t, calls("bad"), "an inactive token is cached too, for a while")
		time.Sleep(5 * time.Second)
		assert.Equal(t, 1, calls("bad"))
		assert.Equal(t, 1, calls("down"))
		assert.Equal(t, 1, calls("down"), "a server failure is not cached")
		_, err := newIntrospection(t, s, nil).Verify(bearer(t.Context(), "short"))
		require.ErrorIs(t, err, auth.ErrInvalid, "it has expired")
	})
}

// The look-up continues for the other waiters when one request is canceled.
func TestIntrospectionCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &tokenServer{delay: time.Second, responses: map[string]string{"t": `{"active":true,"sub":"u"}`}}
		v := newIntrospection(t, s, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, err := v.Verify(bearer(ctx, "t"))
			assert.ErrorIs(t, err, auth.ErrUnavailable)
		}()
		synctest.Wait()
		cancel()
		_, err := v.Verify(bearer(t.Context(), "t"))
		require.NoError(t, err)
		assert.Equal(t, 1, s.calls)
	})
}

func TestIntrospectionConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]auth.IntrospectionConfig{
		"URL: must be https": {URL: "http://a.example", ClientID: "c", ClientSecret: "hidden"},
		"needs ClientID":     {URL: "https://a.example", ClientSecret: "hidden"},
		"CacheSize":          {URL: "https://a.example", ClientID: "c", ClientSecret: "hidden", CacheSize: -1},
	} {
		_, err := auth.NewIntrospection(cfg)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "hidden")
	}
}
