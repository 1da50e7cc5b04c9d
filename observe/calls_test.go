package observe_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/observe"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
)

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("reset") }

// The outcome of a call, by its body.
func TestCallOutcomes(t *testing.T) {
	t.Parallel()
	leave := func(cancel context.CancelFunc, _ *http.Response) { cancel() }
	tests := map[string]struct {
		up      http.RoundTripper
		use     func(context.CancelFunc, *http.Response)
		outcome string
		code    codes.Code
	}{
		"whole":             {responding("x"), func(_ context.CancelFunc, r *http.Response) { _, _ = io.Copy(io.Discard, r.Body) }, "success", codes.Unset},
		"closed early":      {responding("x"), func(context.CancelFunc, *http.Response) {}, "canceled", codes.Unset},
		"client disconnect": {responding("x"), leave, "canceled", codes.Unset},
		"broken":            {&upstream{status: 200, body: broken{}}, func(_ context.CancelFunc, r *http.Response) { _, _ = r.Body.Read(make([]byte, 1)) }, "failure", codes.Error},
		"upstream's 503":    {&upstream{status: 503, body: strings.NewReader("")}, func(_ context.CancelFunc, r *http.Response) { _, _ = r.Body.Read(make([]byte, 1)) }, "failure", codes.Error},
		"upstream's 404":    {&upstream{status: 404, body: strings.NewReader("")}, func(_ context.CancelFunc, r *http.Response) { _, _ = r.Body.Read(make([]byte, 1)) }, "refused", codes.Error},
		"a 503 not read":    {&upstream{status: 503, body: strings.NewReader("x")}, func(context.CancelFunc, *http.Response) {}, "failure", codes.Error},
		"nothing was sent":  {failing{&exchange.NotSentError{}}, nil, "failure", codes.Error},
		"nothing came":      {failing{errors.New("refused")}, nil, "failure", codes.Error},
		"closed twice":      {responding("x"), func(_ context.CancelFunc, r *http.Response) { _ = r.Body.Close() }, "canceled", codes.Unset},
		"without a body":    {bare{}, func(_ context.CancelFunc, r *http.Response) { _, _ = io.Copy(io.Discard, r.Body) }, "success", codes.Unset},
		"with an upgrade":   {upgrade{}, func(_ context.CancelFunc, r *http.Response) { _, _ = r.Body.(io.Writer).Write(nil) }, "success", codes.Unset},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracing, out := newTracing(t, observe.TracingConfig{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			res, err := tracing.Transport(tt.up).RoundTrip(post().WithContext(ctx))
			if err == nil {
				tt.use(cancel, res)
				require.NoError(t, res.Body.Close())
			}
			spans := out.GetSpans()
			require.Len(t, spans, 1)
			assert.Equal(t, tt.outcome, attrs(spans[0].Attributes)["gateway.outcome"])
			assert.Equal(t, tt.code, spans[0].Status.Code)
		})
	}
}

type bare struct{}

func (bare) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusNoContent}, nil
}

type upgrade struct{}

type duplex struct {
	io.ReadCloser
	io.Writer
}

func (upgrade) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: duplex{http.NoBody, io.Discard}}, nil
}

// The span of a request has its outcome.
func TestServerStatus(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handler gin.HandlerFunc
		code    codes.Code
		outcome string
	}{
		"success": {func(c *gin.Context) { c.Status(http.StatusOK) }, codes.Unset, "success"},
		"refused": {func(c *gin.Context) { c.Status(http.StatusTooManyRequests) }, codes.Unset, "refused"},
		"failure": {func(c *gin.Context) { c.Status(http.StatusBadGateway) }, codes.Error, "failure"},
		"panic":   {func(*gin.Context) { panic("x") }, codes.Error, "failure"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracing, out := newTracing(t, observe.TracingConfig{Path: true})
			ask(post(), apierror.Recovery(func(*gin.Context, any, []byte) {}), tracing.Middleware(), tt.handler)
			span := out.GetSpans()[0]
			assert.Equal(t, tt.code, span.Status.Code)
			assert.Equal(t, tt.outcome, attrs(span.Attributes)["gateway.outcome"])
			assert.Equal(t, "/v1/chat/completions", attrs(span.Attributes)["url.path"])
		})
	}
}

// The span has the blame, and a panic ends it.
func TestCallBlame(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		up    http.RoundTripper
		blame any
	}{
		"endpoint": {&upstream{status: 503, body: strings.NewReader("")}, "endpoint"},
		"request":  {&upstream{status: 400, body: strings.NewReader("")}, "request"},
		"rate":     {&upstream{status: 429, body: strings.NewReader("")}, "credential"},
		"no blame": {responding("x"), nil},
		"panic":    {panicking{}, "gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracing, out := newTracing(t, observe.TracingConfig{})
			func() {
				defer func() { _ = recover() }()
				relay(t, tracing.Transport(tt.up))(&gin.Context{Request: post()})
			}()
			require.Len(t, out.GetSpans(), 1)
			assert.Equal(t, tt.blame, attrs(out.GetSpans()[0].Attributes)["gateway.blame"])
		})
	}
}

type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) { panic("boom") }

// A plain client's call is traced too.
func TestPlainClient(t *testing.T) {
	t.Parallel()
	tracing, out := newTracing(t, observe.TracingConfig{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Traceparent")) }))
	defer s.Close()
	inner := new(http.Transport)
	defer inner.CloseIdleConnections()
	res, err := (&http.Client{Transport: tracing.Transport(inner)}).Get(s.URL)
	require.NoError(t, err)
	got, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	span := out.GetSpans()[0]
	assert.Contains(t, string(got), span.SpanContext.SpanID().String())
	assert.Equal(t, "127.0.0.1", attrs(span.Attributes)["server.address"])
}
