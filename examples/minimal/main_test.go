package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// hystrix never ends them; see package breaker.
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*metricExchange).Monitor"),
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*poolMetrics).Monitor"),
	)
}

const secret = "0123456789abcdef0123456789abcdef"

// server is a model server that responds with its name, as JSON or as a stream.
func server(t *testing.T, name string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Stream bool `json:"stream"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		w.Header().Set("X-Upstream-Authorization", r.Header.Get("Authorization"))
		if !body.Stream {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant","content":%q},"finish_reason":"stop"}]}`, name)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range []string{`{"choices":[{"delta":{"content":"` + name + `"}}]}`, `{"choices":[{"delta":{},"finish_reason":"stop"}]}`, `[DONE]`} {
			_, _ = fmt.Fprintf(w, "data: %s\n\n", event)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// start runs a gateway, and returns its URL and what shuts it down.
func start(t *testing.T, cfg config) (url string, shutdown func() error) {
	t.Helper()
	cfg.issuer, cfg.audience, cfg.secret = "login", "inference", secret
	g, err := newGateway(cfg)
	require.NoError(t, err)
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.serve(ctx, ln) }()
	shutdown = sync.OnceValue(func() error {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		return <-done
	})
	t.Cleanup(func() { assert.NoError(t, shutdown()) })
	return "http://" + ln.Addr().String(), shutdown
}

func token(t *testing.T, subject string) string {
	t.Helper()
	return signed(t, subject, secret)
}

func signed(t *testing.T, subject, secret string) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": subject, "iss": "login", "aud": "inference", "exp": time.Now().Add(time.Minute).Unix()}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	require.NoError(t, err)
	return token
}

type result struct {
	status  int
	header  http.Header
	content string
}

// ask sends a chat request; headers are pairs of name and value.
func ask(t *testing.T, url, bearer, body string, headers ...string) result {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/chat/completions", strings.NewReader(body))
	require.NoError(t, err)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return result{res.StatusCode, res.Header, string(content)}
}

const question = `{"model":"chat","messages":[{"role":"user","content":"hello"}]}`

func TestGateway(t *testing.T) {
	url, _ := start(t, config{v1: server(t, "one").URL, v2: server(t, "two").URL, upstreamKey: "operator"})

	t.Run("refuses a request without a token", func(t *testing.T) {
		res := ask(t, url, "", question)
		require.Equal(t, http.StatusUnauthorized, res.status)
		require.NotEmpty(t, res.header.Get("WWW-Authenticate"))
	})
	t.Run("refuses a token signed with another secret", func(t *testing.T) {
		require.Equal(t, http.StatusUnauthorized, ask(t, url, signed(t, "ann", strings.Repeat("x", 32)), question).status)
	})
	t.Run("keeps a user at one version", func(t *testing.T) {
		bearer := token(t, "ann")
		first := ask(t, url, bearer, question)
		require.Equal(t, http.StatusOK, first.status)
		require.Contains(t, []string{"v1", "v2"}, first.header.Get("X-Model-Version"))
		require.Equal(t, first.header.Get("X-Model-Version"), ask(t, url, bearer, question).header.Get("X-Model-Version"))
	})
	t.Run("sends beta users to v2", func(t *testing.T) {
		res := ask(t, url, token(t, "beth"), question, "X-Beta", "true")
		require.Equal(t, http.StatusOK, res.status)
		assert.Equal(t, "v2", res.header.Get("X-Model-Version"))
		assert.Contains(t, res.content, `"two"`)
	})
	t.Run("replaces the caller's token by the operator's key", func(t *testing.T) {
		require.Equal(t, "Bearer operator", ask(t, url, token(t, "cid"), question).header.Get("X-Upstream-Authorization"))
	})
	t.Run("refuses a model that is not in the table", func(t *testing.T) {
		require.Equal(t, http.StatusNotFound, ask(t, url, token(t, "cid"), `{"model":"other"}`).status)
	})
	t.Run("streams events up to the last", func(t *testing.T) {
		res := ask(t, url, token(t, "dan"), strings.Replace(question, "{", `{"stream":true,`, 1), "X-Beta", "true")
		require.Equal(t, http.StatusOK, res.status)
		assert.Equal(t, "text/event-stream", res.header.Get("Content-Type"))
		assert.Contains(t, res.content, `"two"`)
		assert.True(t, strings.HasSuffix(res.content, "data: [DONE]\n\n"))
	})
	t.Run("limits one user, and no other", func(t *testing.T) {
		var last result
		for range 11 {
			last = ask(t, url, token(t, "eve"), question)
		}
		require.Equal(t, http.StatusTooManyRequests, last.status)
		assert.NotEmpty(t, last.header.Get("Retry-After"))
		require.Equal(t, http.StatusOK, ask(t, url, token(t, "fay"), question).status)
	})
}

func TestServerDown(t *testing.T) {
	const down = "http://127.0.0.1:1" // the port of a closed server would be another test's soon

	t.Run("another server of the version responds", func(t *testing.T) {
		url, _ := start(t, config{v1: server(t, "one").URL, v2: down + "," + server(t, "two").URL})
		for range 5 {
			res := ask(t, url, token(t, "ann"), question, "X-Beta", "true")
			require.Equal(t, http.StatusOK, res.status)
			require.Equal(t, "v2", res.header.Get("X-Model-Version"))
			require.Contains(t, res.content, `"two"`)
		}
	})
	t.Run("the other version responds", func(t *testing.T) {
		url, _ := start(t, config{v1: server(t, "one").URL, v2: down})
		res := ask(t, url, token(t, "ann"), question, "X-Beta", "true")
		require.Equal(t, http.StatusOK, res.status)
		require.Equal(t, "v1", res.header.Get("X-Model-Version"))
		require.Equal(t, "v2", res.header.Get("X-Fallback-From"))
	})
}

func TestShutdown(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return // a health check
		}
		close(begun)
		<-release
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"late"},"finish_reason":"stop"}]}`)
	}))
	t.Cleanup(slow.Close)
	url, shutdown := start(t, config{v1: slow.URL, v2: slow.URL})
	ended := make(chan error, 1)
	go func() {
		<-begun
		ended <- shutdown()
	}()
	go func() {
		<-begun
		for { // until the gateway no longer listens
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				close(release)
				return
			}
			_ = conn.Close()
		}
	}()
	res := ask(t, url, token(t, "ann"), question)
	require.Equal(t, http.StatusOK, res.status)
	require.Contains(t, res.content, "late")
	require.NoError(t, <-ended)
}

func TestBadConfig(t *testing.T) {
	_, err := newGateway(config{secret: "short"})
	require.ErrorContains(t, err, "JWT_SECRET: ")
	_, err = newGateway(config{issuer: "login", audience: "inference", secret: secret, v1: "nonsense", v2: "http://127.0.0.1:1"})
	require.ErrorContains(t, err, "-v1: ")
}
