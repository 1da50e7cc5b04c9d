package balance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

// transport responds by host.
type transport func(req *http.Request) (*http.Response, error)

func (f transport) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func response(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

func fine(*http.Request) (*http.Response, error) { return response(200, "ok"), nil }

var errRefused = errors.New("connection refused")

func endpoints(n int) []balance.Endpoint {
	list := make([]balance.Endpoint, n)
	for i := range list {
		list[i] = balance.Endpoint{Name: fmt.Sprintf("e%02d", i), URL: fmt.Sprintf("http://e%02d.test:8000", i)}
	}
	return list
}

func newPool(tb testing.TB, cfg balance.Config) *balance.Pool {
	tb.Helper()
	if cfg.Transport == nil {
		cfg.Transport = transport(fine)
	}
	p, err := balance.New(cfg)
	require.NoError(tb, err)
	return p
}

func request(tb testing.TB, key string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://any/v1/x?a=1;b", http.NoBody)
	require.NoError(tb, err)
	if key != "" {
		req.Header.Set("X-Key", key)
	}
	return req
}

// send makes a request, reads the response to its end, and returns the host that responded.
func send(tb testing.TB, p http.RoundTripper, req *http.Request) (string, error) {
	tb.Helper()
	res, err := p.RoundTrip(req)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.Header.Get("X-Host"), errors.Join(err, res.Body.Close())
}

// named makes every host return its name.
func named(f transport) transport {
	return func(req *http.Request) (*http.Response, error) {
		res, err := f(req)
		if err == nil {
			res.Header.Set("X-Host", strings.TrimSuffix(req.URL.Hostname(), ".test"))
		}
		return res, err
	}
}

// events collects kinds by endpoint.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) on(_ context.Context, ev balance.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, strings.TrimSpace(ev.Kind.String()+" "+ev.Endpoint))
}

func (e *events) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.list...)
}
