package auth_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func introspectBy(t *testing.T, rt http.RoundTripper) *auth.Introspection {
	t.Helper()
	v, err := auth.NewIntrospection(auth.IntrospectionConfig{URL: "https://op.example/introspect?key=hidden", ClientID: "c", ClientSecret: "s3cret", Client: &http.Client{Transport: rt}})
	require.NoError(t, err)
	return v
}

// Ambiguous responses of a server yield no identity.
func TestIntrospectionResponses(t *testing.T) {
	t.Parallel()
	for response, want := range map[string]error{
		`{"active":true,"sub":"u","exp":4e9,"nbf":1.5,"token_type":"bearer"}`: nil,
		`{"active":true,"sub":"u","exp":0}`:                                   auth.ErrInvalid,
		`{"active":true,"sub":"u","exp":-5}`:                                  auth.ErrInvalid,
		`{"active":true,"sub":"u","exp":1e300}`:                               auth.ErrUnavailable,
		`{"active":true,"sub":"u","exp":"4000000000"}`:                        auth.ErrUnavailable,
		`{"active":true,"sub":"u","nbf":1e300}`:                               auth.ErrUnavailable,
		`{"active":true,"sub":"u","models":null}`:                             auth.ErrUnavailable,
		`{"active":true,"sub":7}`:                                             auth.ErrUnavailable,
		`{"active":1,"sub":"u"}`:                                              auth.ErrUnavailable,
		`{"Active":true,"sub":"u"}`:                                           auth.ErrUnavailable,
		`{"active":false,"active":true,"sub":"u"}`:                            auth.ErrUnavailable,
		`{"active":true,"sub":"u"}{}`:                                         auth.ErrUnavailable,
		`[{"active":true,"sub":"u"}]`:                                         auth.ErrUnavailable,
		`null`:                                                                auth.ErrUnavailable,
		`{"active":true,"sub":"u","token_type":"DPoP"}`:                       auth.ErrInvalid,
		`{"active":true,"sub":"u","token_type":"refresh_token"}`:              auth.ErrInvalid,
		`{"active":true,"sub":"u\nroot"}`:                                     auth.ErrInvalid,
		`{"active":true,"sub":"u","x":"` + strings.Repeat("x", 2<<20) + `"}`:  auth.ErrUnavailable,
	} {
		v := introspectBy(t, responses(func(*http.Request) (int, string, string) { return 200, "", response }))
		id, err := v.Verify(bearer(t.Context(), "t0ken"))
		name := response[:min(len(response), 80)]
		require.ErrorIs(t, err, want, name)
		assert.Equal(t, want == nil, id != nil, name)
	}
}

func TestIntrospectionRedirect(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"https://evil.example/", "http://op.example/introspect"} {
		calls := 0
		v := introspectBy(t, responses(func(*http.Request) (int, string, string) {
			calls++
			return 307, location, ""
		}))
		_, err := v.Verify(bearer(t.Context(), "t0ken"))
		require.ErrorIs(t, err, auth.ErrUnavailable)
		assert.Equal(t, 1, calls, "the token is sent nowhere else")
		for _, secret := range []string{"t0ken", "s3cret", "hidden"} {
			assert.NotContains(t, err.Error(), secret)
		}
	}
}

// A client's panic ends neither the process nor later look-ups.
func TestIntrospectionPanic(t *testing.T) {
	t.Parallel()
	broken := true
	v := introspectBy(t, trip(func(r *http.Request) (*http.Response, error) {
		if broken {
			panic("with the token: t0ken")
		}
		return responses(func(*http.Request) (int, string, string) { return 200, "", `{"active":true,"sub":"u"}` }).RoundTrip(r)
	}))
	for range 200 { // more than the limit of concurrent look-ups
		_, err := v.Verify(bearer(t.Context(), "t0ken"))
		require.ErrorIs(t, err, auth.ErrUnavailable)
		assert.NotContains(t, err.Error(), "t0ken")
	}
	broken = false
	_, err := v.Verify(bearer(t.Context(), "t0ken"))
	require.NoError(t, err)
}

// A flood of made-up tokens opens at most 64 connections; the rest wait for at most 5 s.
func TestIntrospectionFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		open, most := 0, 0
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			open += n
			most = max(most, open)
		}
		v := introspectBy(t, trip(func(r *http.Request) (*http.Response, error) {
			count(1)
			defer count(-1)
			<-r.Context().Done() // a server that never responds
			return nil, r.Context().Err()
		}))
		start := time.Now()
		failed := make(chan error)
		for i := range 500 {
			go func() {
				_, err := v.Verify(bearer(t.Context(), "t"+strconv.Itoa(i)))
				failed <- err
			}()
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		synctest.Wait()
		go func() {
			_, err := v.Verify(bearer(ctx, "leaves"))
			gone <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-gone, auth.ErrUnavailable)
		assert.Zero(t, time.Since(start), "a canceled request returns at once")
		for range 500 {
			require.ErrorIs(t, <-failed, auth.ErrUnavailable)
		}
		assert.LessOrEqual(t, time.Since(start), 11*time.Second)
		assert.Equal(t, 64, most)
	})
}

// Made-up tokens evict no active ones from the cache.
func TestIntrospectionBoundedCache(t *testing.T) {
	t.Parallel()
	s := &tokenServer{responses: map[string]string{"good": `{"active":true,"sub":"u"}`}}
	v := newIntrospection(t, s, func(c *auth.IntrospectionConfig) { c.CacheSize = 16 })
	_, err := v.Verify(bearer(t.Context(), "good"))
	require.NoError(t, err)
	for i := range 500 {
		s.responses[strconv.Itoa(i)] = `{"active":false}`
		_, err := v.Verify(bearer(t.Context(), strconv.Itoa(i)))
		require.ErrorIs(t, err, auth.ErrInvalid)
	}
	before := s.calls
	_, err = v.Verify(bearer(t.Context(), "good"))
	require.NoError(t, err)
	assert.Equal(t, before, s.calls)
}

// While the server is down, callers that can't be checked get a 503 with Retry-After.
func TestIntrospectionDown(t *testing.T) {
	t.Parallel()
	v := introspectBy(t, trip(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }))
	id, w := through(bearer(t.Context(), "t0ken"), auth.Middleware(auth.Config{Verifiers: []auth.Verifier{v}, Optional: true}))
	assert.Nil(t, id)
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Equal(t, "1", w.Header().Get("Retry-After"))
	assert.Empty(t, w.Header().Get("WWW-Authenticate"))
	assert.NotContains(t, w.Body.String(), "refused")
}

// A server that closes connections as they are reused makes no token unknown.
func TestIntrospectionOnClosedConnections(t *testing.T) {
	t.Parallel()
	type nth struct{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(nth{}).(*atomic.Int64).Add(1)%2 == 0 {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, `{"active":true,"sub":"`+r.PostFormValue("token")+`"}`)
	}))
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, nth{}, new(atomic.Int64))
	}
	s.Start()
	t.Cleanup(s.Close)
	v, err := auth.NewIntrospection(auth.IntrospectionConfig{URL: s.URL, ClientID: "c", ClientSecret: "s3cret", Client: s.Client()})
	require.NoError(t, err)
	for i := range 20 {
		token := "t" + strconv.Itoa(i)
		id, err := v.Verify(bearer(t.Context(), token))
		require.NoError(t, err)
		assert.Equal(t, token, id.Subject)
	}
}
