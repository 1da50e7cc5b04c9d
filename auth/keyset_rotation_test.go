package auth_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// responses returns the response for a request.
type responses func(r *http.Request) (status int, location, body string)

func (a responses) RoundTrip(r *http.Request) (*http.Response, error) {
	status, location, body := a(r)
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	h := http.Header{}
	if location != "" {
		h.Set("Location", location)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// A new key is accepted within 5 s, right after a flood of made-up key IDs and during it.
func TestKeySetRotationAfterFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		p.set(200, setOf(t, jwkOf(t, "a")))
		k := newKeySet(t, p, nil)
		defer run(k)()
		before := p.count()
		for range 300 {
			assert.Zero(t, count(t, k, "bogus"))
		}
		assert.LessOrEqual(t, p.count()-before, 5)
		p.set(200, setOf(t, jwkOf(t, "b")))
		start := time.Now()
		for count(t, k, "b") == 0 {
			time.Sleep(100 * time.Millisecond)
			assert.Zero(t, count(t, k, "bogus"), "the flood continues")
		}
		assert.LessOrEqual(t, time.Since(start), 5*time.Second)
	})
}

// A withdrawn key is refused within a minute, even if no token has an unknown key.
func TestKeySetWithdrawal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		a, b := jwkOf(t, "a"), jwkOf(t, "b")
		p.set(200, setOf(t, a, b))
		k := newKeySet(t, p, nil)
		defer run(k)()
		require.Equal(t, 1, count(t, k, "a"))
		time.Sleep(29 * time.Second)
		p.set(200, setOf(t, b))
		start := time.Now()
		for {
			keys, err := k.Keys(t.Context(), "a", "ES256")
			require.NoError(t, err)
			if len(keys) == 0 {
				break
			}
			time.Sleep(time.Second)
		}
		assert.LessOrEqual(t, time.Since(start), time.Minute)
	})
}

// Concurrent requests for a new key share one fetch.
func TestKeySetSharedFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		p.set(200, setOf(t, jwkOf(t, "a")))
		slow := trip(func(r *http.Request) (*http.Response, error) {
			res, err := p.RoundTrip(r) // the state at the start of the fetch
			time.Sleep(time.Second)
			return res, err
		})
		k, err := auth.NewKeySet(auth.KeySetConfig{URL: "https://op.example/keys", Client: &http.Client{Transport: slow}})
		require.NoError(t, err)
		defer run(k)()
		assert.Equal(t, 1, count(t, k, "a"), "requests wait for the first keys")
		p.set(200, setOf(t, jwkOf(t, "b")))
		found := make(chan int)
		for range 50 {
			go func() {
				keys, _ := k.Keys(t.Context(), "b", "ES256")
				found <- len(keys)
			}()
			time.Sleep(10 * time.Millisecond)
		}
		for range 50 {
			assert.Equal(t, 1, <-found)
		}
		assert.LessOrEqual(t, p.count(), 3)
	})
}

func TestKeySetSlowProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		text := setOf(t, jwkOf(t, "a"))
		var stuck atomic.Bool
		k, err := auth.NewKeySet(auth.KeySetConfig{URL: "https://op.example/keys", Client: &http.Client{Transport: responses(func(*http.Request) (int, string, string) {
			if stuck.Load() {
				return 0, "", ""
			}
			return 200, "", text
		})}})
		require.NoError(t, err)
		defer run(k)()
		require.Equal(t, 1, count(t, k, "a"))
		stuck.Store(true)
		start := time.Now()
		assert.Zero(t, count(t, k, "bogus"))
		assert.LessOrEqual(t, time.Since(start), 5*time.Second, "bounded, also with a client that has no timeout")
		start = time.Now()
		assert.Equal(t, 1, count(t, k, "a"))
		assert.Zero(t, time.Since(start), "known keys need no fetch")
		stuck.Store(false)
		time.Sleep(30 * time.Second)
		stuck.Store(true)
		slow := time.Now()
		go func() { _, _ = k.Keys(t.Context(), "bogus", "ES256") }()
		time.Sleep(4500 * time.Millisecond) // another fetch is due before this one has failed
		_, _ = k.Keys(t.Context(), "bogus", "ES256")
		assert.LessOrEqual(t, time.Since(slow), 5*time.Second, "no request waits for two fetches")
		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = k.Keys(ctx, "bogus", "ES256")
		assert.LessOrEqual(t, time.Since(start), time.Second, "a request waits until its own deadline")
	})
}

// A provider, or an impostor, must not redirect the gateway elsewhere.
func TestKeySetRedirects(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		location string
		want     bool
	}{
		"the same server": {"/keys2", true},
		"another server":  {"https://evil.example/keys2", false},
		"another port":    {"https://op.example:8443/keys2", false},
		"in the clear":    {"http://op.example/keys2", false},
		"this machine":    {"http://127.0.0.1/keys2", false},
		"a file":          {"file:///etc/passwd", false},
		"in circles":      {"/keys", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				text := setOf(t, jwkOf(t, "a"))
				var fetches atomic.Int32
				k, err := auth.NewKeySet(auth.KeySetConfig{URL: "https://op.example/keys?key=hidden", Client: &http.Client{Transport: responses(func(r *http.Request) (int, string, string) {
					fetches.Add(1)
					if r.URL.Path == "/keys" {
						return 302, tt.location, ""
					}
					return 200, "", text
				})}, OnEvent: func(_ context.Context, e auth.KeysEvent) {
					if e.Err != nil {
						assert.NotContains(t, e.Err.Error(), "hidden")
					}
				}})
				require.NoError(t, err)
				stop := run(k)
				keys, _ := k.Keys(t.Context(), "a", "ES256")
				assert.Equal(t, tt.want, len(keys) == 1)
				stop()
				assert.LessOrEqual(t, fetches.Load(), int32(4))
			})
		})
	}
}

func TestKeySetForgedDiscovery(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		document string
		want     string // of the error; "" for none
	}{
		"true":             {`{"issuer":"https://op.example","jwks_uri":"https://keys.example/k"}`, ""},
		"another issuer":   {`{"issuer":"https://evil.example","jwks_uri":"https://keys.example/k"}`, "its issuer is"},
		"another spelling": {`{"issuer":"https://op.example/","jwks_uri":"https://keys.example/k"}`, "its issuer is"},
		"no issuer":        {`{"jwks_uri":"https://keys.example/k"}`, "its issuer is"},
		"no keys":          {`{"issuer":"https://op.example"}`, "jwks_uri"},
		"in the clear":     {`{"issuer":"https://op.example","jwks_uri":"http://keys.example/k"}`, "must be https"},
		"this machine":     {`{"issuer":"https://op.example","jwks_uri":"http://127.0.0.1/k"}`, "must be https"},
		"a file":           {`{"issuer":"https://op.example","jwks_uri":"file:///etc/keys"}`, "not a plain URL"},
		"with a password":  {`{"issuer":"https://op.example","jwks_uri":"https://u:p@keys.example/k"}`, "not a plain URL"},
		"garbage":          {`<html>`, "invalid character"},
		"endless":          {`{"issuer":"` + strings.Repeat("x", 2<<20), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				text := setOf(t, jwkOf(t, "a"))
				var last atomic.Pointer[error]
				k, err := auth.NewKeySet(auth.KeySetConfig{
					Issuer:  "https://op.example",
					OnEvent: func(_ context.Context, e auth.KeysEvent) { last.Store(&e.Err) },
					Client: &http.Client{Transport: responses(func(r *http.Request) (int, string, string) {
						if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
							return 200, "", tt.document
						}
						return 200, "", text
					})},
				})
				require.NoError(t, err)
				defer run(k)()
				_, err = k.Keys(t.Context(), "a", "ES256")
				if tt.want == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, auth.ErrUnavailable)
				require.ErrorContains(t, *last.Load(), tt.want)
			})
		})
	}
}

// A provider that was down from the start is found within 5 s of its recovery.
func TestKeySetDownForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		k := newKeySet(t, p, nil)
		defer run(k)()
		time.Sleep(time.Hour)
		start := time.Now()
		for range 100 {
			_, err := k.Keys(t.Context(), "a", "ES256")
			require.ErrorIs(t, err, auth.ErrUnavailable)
		}
		assert.Zero(t, time.Since(start), "no request waits")
		p.set(200, setOf(t, jwkOf(t, "a")))
		time.Sleep(5 * time.Second)
		assert.Equal(t, 1, count(t, k, "a"))
	})
}

// Waiters return when the set stops running.
func TestKeySetStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, err := auth.NewKeySet(auth.KeySetConfig{URL: "https://op.example/keys", Client: &http.Client{Transport: responses(func(*http.Request) (int, string, string) { return 0, "", "" })}})
		require.NoError(t, err)
		stop := run(k)
		failed := make(chan error)
		go func() {
			_, err := k.Keys(context.Background(), "a", "ES256")
			failed <- err
		}()
		synctest.Wait()
		stop()
		require.ErrorIs(t, <-failed, auth.ErrUnavailable)
	})
}
