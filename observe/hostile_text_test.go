package observe_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// newRaw returns a logger that escapes nothing, as a custom handler may.
func newRaw(out *lines) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		return slog.Any(a.Key, unquoted(a.Value.String()))
	}}))
}

// unquoted is text that is written without quotes or escapes.
type unquoted string

func (u unquoted) MarshalText() ([]byte, error) { return []byte(u), nil }

// hostile are texts that start lines, move cursors, change the direction of text, or are
// invalid UTF-8.
var hostile = []string{
	"a\nlevel=ERROR msg=forged", "a\r\nforged", "a\u2028forged", "a\u2029forged", "a\u0085forged", "a\x00b", "a\x1b[2Jb", "a\u009b31mb",
	"a\u202eb", "a\u2066b", "a\ufeffb", "a\x7fb", "\xff\xfe\xfd", strings.Repeat("long", 10_000), `a" forged="yes`, "a\tb",
}

// everywhere puts a text into everything that a client, an upstream or an identity provider
// can choose.
func everywhere(text string) gin.HandlerFunc {
	h := events.Hooks{}
	return func(c *gin.Context) {
		ctx := c.Request.Context()
		h.Auth(ctx, auth.Event{Identity: &auth.Identity{Subject: text, Tenant: text, Method: text, Issuer: text}})
		h.Routing(ctx, routing.Event{Kind: routing.Decided, Model: text, Version: text})
		h.Routing(ctx, routing.Event{Kind: routing.FellBack, From: text, Version: text, Err: errors.New(text)})
		h.Limit(text)(ctx, ratelimit.Event{Kind: ratelimit.Refused, Limit: text, Key: text, Err: errors.New(text)})
		h.Usage(ctx, stream.Usage{Model: text, Endpoint: text, Outcome: stream.Failed, Err: errors.New(text)})
		h.Stream(ctx, stream.Event{Err: errors.New(text)})
		c.Writer.Header()["X-Request-Id"] = []string{text}
		h.Proxy(ctx, proxy.Event{Kind: proxy.Finished, Endpoint: text, Outcome: proxy.Failure, Err: errors.New(text)})
		apierror.Abort(c, &apierror.Error{Status: 502, Code: text, Message: text})
	}
}

func TestNoForgedLines(t *testing.T) {
	t.Parallel()
	for _, text := range hostile {
		t.Run(fmt.Sprintf("%.20q", text), func(t *testing.T) {
			t.Parallel()
			out := new(lines)
			access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: newRaw(out), Path: true})
			require.NoError(t, err)
			req := post("X-Request-Id", text, "Traceparent", text, "Tracestate", text, "User-Agent", text, "Host", text, "X-Forwarded-For", text)
			req.Method = text
			req.URL.Path = "/" + text
			ask(req, access.Middleware(), everywhere(text))
			got := out.String()
			assert.Equal(t, 1, strings.Count(got, "\n"), got)
			assert.True(t, strings.HasSuffix(got, "\n"))
			assert.Less(t, len(got), 5000)
			for _, r := range strings.TrimSuffix(got, "\n") {
				if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0x202e || r == 0x2066 || r == 0xfeff {
					t.Fatalf("%q in %q", r, got)
				}
			}
		})
	}
}

// Lines of changes contain no hostile text either.
func TestNoForgedChanges(t *testing.T) {
	t.Parallel()
	for _, text := range hostile {
		out := new(lines)
		h := events.Hooks{Logger: newRaw(out)}
		h.Limit(text)(t.Context(), ratelimit.Event{Kind: ratelimit.StoreDown, Err: errors.New(text)})
		h.Keys(text)(t.Context(), auth.KeysEvent{Err: errors.New(text)})
		assert.Equal(t, 2, strings.Count(out.String(), "\n"), "%q", text)
		assert.NotContains(t, out.String(), "\x1b")
	}
}

const secret = "sk-TOPSECRETTOPSECRET"

// leaky are errors that a custom RoundTripper may return.
var leaky = []string{
	`Post "http://h/v1?api_key=` + secret + `": refused`,
	`Get "https://user:` + secret + `@host/path": refused`,
	"bad header Authorization: Bearer " + secret,
	"bad header x-api-key: " + secret,
	"Cookie: session=" + secret,
	"Incorrect API key provided: " + secret,
	"basic " + secret,
}

// Credentials and requests of clients appear nowhere.
func TestNoSecrets(t *testing.T) {
	t.Parallel()
	for _, text := range leaky {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			out := new(lines)
			spans := tracetest.NewInMemoryExporter()
			reader := sdkmetric.NewManualReader()
			access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: slog.New(slog.NewJSONHandler(out, nil)), Path: true})
			require.NoError(t, err)
			tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), Path: true})
			require.NoError(t, err)
			metrics, err := observe.NewMetrics(observe.MetricsConfig{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
			require.NoError(t, err)
			recent, err := observe.NewRecent(observe.RecentConfig{})
			require.NoError(t, err)
			h := events.Hooks{Metrics: metrics, Tracing: tracing, Logger: slog.New(slog.NewJSONHandler(out, nil))}
			failing := tracing.Transport(failing{errors.New(text)})

			req := post("Authorization", "Bearer "+secret, "X-Api-Key", secret, "Cookie", "session="+secret, "Proxy-Authorization", "Basic "+secret)
			req.URL.RawQuery = "api_key=" + secret
			ask(req, access.Middleware(), tracing.Middleware(), metrics.Middleware(), recent.Middleware(), func(c *gin.Context) {
				ctx := c.Request.Context()
				_, err := failing.RoundTrip(c.Request) //nolint:bodyclose // there is none
				h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 2, Outcome: proxy.Failure, Err: err})
				h.Auth(ctx, auth.Event{Err: err})
				h.Limit("l")(ctx, ratelimit.Event{Kind: ratelimit.StoreDown, Err: err})
				h.Proxy(ctx, proxy.Event{Kind: proxy.Finished, Outcome: proxy.Failure, Err: err})
				apierror.Abort(c, &apierror.Error{Status: 502, Err: err})
			})
			everything := out.String() + fmt.Sprintf("%+v", spans.GetSpans()) + fmt.Sprintf("%+v", collect(t, reader)) +
				show(recent, "").Body.String() + show(recent, "format=json").Body.String()
			assert.NotContains(t, everything, "TOPSECRET")
			assert.NotContains(t, everything, "the prompt")
			assert.NotContains(t, everything, "api_key")
			assert.Contains(t, out.String(), "failure")
		})
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// 10,000 unknown models share one label value, as do models beyond the bound that an
// upstream responded for.
func TestLabelsBounded(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	metrics, err := observe.NewMetrics(observe.MetricsConfig{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Models: []string{"known"}, MaxModels: 5,
	})
	require.NoError(t, err)
	h := events.Hooks{Metrics: metrics}
	attempt := func(model, verb string, u stream.Usage) {
		req := post()
		req.Method = verb
		ask(req, metrics.Middleware(), func(c *gin.Context) {
			ctx := c.Request.Context()
			h.Routing(ctx, routing.Event{Kind: routing.Decided, Model: model, Version: "v1"})
			u.Model, u.Total = model, time.Second
			h.Usage(ctx, u)
			apierror.Abort(c, &apierror.Error{Status: 404, Code: "code-" + model})
		})
	}
	for i := range 10_000 {
		attempt(fmt.Sprintf("made-up-%d", i), fmt.Sprintf("VERB%d", i), stream.Usage{Outcome: stream.Failed, Status: 404})
	}
	models := values(collect(t, reader), "gen_ai.request.model")
	assert.Equal(t, map[string]bool{"other": true}, models)
	attempt("known", "POST", stream.Usage{Outcome: stream.Failed, Status: 500})
	for i := range 100 {
		attempt(fmt.Sprintf("served-%d", i), "POST", stream.Usage{Outcome: stream.Complete, Status: 200})
	}
	all := collect(t, reader)
	models = values(all, "gen_ai.request.model")
	assert.Len(t, models, 7) // known, five, other
	assert.True(t, models["known"])
	assert.True(t, models["served-0"])
	assert.LessOrEqual(t, len(values(all, "http.request.method")), 2)
	assert.LessOrEqual(t, len(values(all, "error.type")), 2001)
	for _, name := range []string{"a\nb", strings.Repeat("x", 129), "\xff"} {
		attempt(name, "POST", stream.Usage{Outcome: stream.Complete, Status: 200})
	}
	assert.Len(t, values(collect(t, reader), "gen_ai.request.model"), 7)
}
