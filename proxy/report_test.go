package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ownEngine is a custom transport for a server with errors of its own.
type ownEngine struct{ next http.RoundTripper }

func (e ownEngine) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := e.next.RoundTrip(req)
	if err == nil && res.Header.Get("X-Engine") == "warming up" {
		proxy.Report(req.Context(), proxy.Verdict{
			Outcome: proxy.Failure, Blame: proxy.BlameEndpoint, Repeatable: true, Err: errors.New("the engine is warming up"),
		})
	}
	return res, err
}

func ExampleReport() {
	calls := 0
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls == 1 {
			w.Header().Set("X-Engine", "warming up")
			return
		}
		_, _ = io.WriteString(w, "hello")
	}))
	defer model.Close()
	target, _ := url.Parse(model.URL)
	// ownEngine is a RoundTripper that calls proxy.Report when its server responds, with status
	// 200, that it is warming up.
	gateway, err := proxy.New(proxy.Config{
		Target: target, Transport: ownEngine{model.Client().Transport},
		OnEvent: func(_ context.Context, e proxy.Event) {
			if e.Kind == proxy.AttemptEnded {
				fmt.Println(e.Attempt, e.Outcome)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.GET("/", gateway.Handler())
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, w.Body)
	// Output:
	// 1 failure
	// 2 success
	// 200 hello
}

// Circuits count what a RoundTripper reports, whatever the response says.
func TestReport(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status  int
		verdict proxy.Verdict
		open    bool
		outcome proxy.Outcome
	}{
		"an endpoint's 200":   {200, proxy.Verdict{Outcome: proxy.Failure, Blame: proxy.BlameEndpoint}, true, proxy.Failure},
		"a 500 without blame": {500, proxy.Verdict{Outcome: proxy.Failure}, false, proxy.Failure},
		"a request's 500":     {500, proxy.Verdict{Outcome: proxy.Failure, Blame: proxy.BlameRequest}, false, proxy.Failure},
		"a success's 500":     {500, proxy.Verdict{}, false, proxy.Success},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			circuits, err := breaker.New(breaker.Config{Settings: breaker.Settings{Consecutive: 3}})
			require.NoError(t, err)
			t.Cleanup(circuits.Close)
			ev := newEvents()
			p := newProxy(t, proxy.Config{OnEvent: ev.on, Target: parse(t, "http://up"), Retry: proxy.Retry{Attempts: -1}, Transport: circuits.Transport(transport(func(req *http.Request) (*http.Response, error) {
				assert.True(t, proxy.Report(req.Context(), tt.verdict))
				assert.False(t, proxy.Report(req.Context(), proxy.Verdict{}), "the first one stands")
				return newResponse(tt.status, "x"), nil
			}))})
			for range 3 {
				serve(p, request(t, http.MethodGet, nil))
				assert.Equal(t, tt.outcome, ev.next(t).Outcome)
			}
			want := breaker.Closed
			if tt.open {
				want = breaker.Open
			}
			assert.Equal(t, want, circuits.Status()[0].State)
		})
	}
}

func TestReportOfNoAttempt(t *testing.T) {
	t.Parallel()
	assert.False(t, proxy.Report(t.Context(), proxy.Verdict{}))
	a, req := exchange.Start(httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x")))
	defer a.Finish(io.EOF)
	for _, bad := range []proxy.Verdict{{Outcome: proxy.Refused}, {Outcome: -1}, {Blame: 77}} {
		assert.False(t, proxy.Report(req.Context(), bad))
	}
	assert.True(t, proxy.Report(req.Context(), proxy.Verdict{Blame: proxy.BlameGateway}))
}
