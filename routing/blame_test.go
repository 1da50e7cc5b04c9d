package routing_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// errs responds with an error in JSON.
func errs(status int, body string) routetest.Upstream {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}, "X-Own": {"1"}}
		return &http.Response{StatusCode: status, Header: h, ContentLength: -1, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

const (
	tooLong    = `{"error":{"message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}`
	tooLongTGI = `{"error":"Input validation error: inputs must have less than 4096 tokens. Given: 5000","error_type":"validation"}`
	tooLongCPP = `{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error"}}`
	noQuota    = `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`
	badKey     = `{"error":{"message":"Incorrect API key provided: sk-1","type":"invalid_request_error","code":"invalid_api_key"}}`
	badRequest = `{"error":{"message":"bad tool","type":"invalid_request_error"}}`
)

// When an upstream counts more tokens than the gateway did, a version with a larger context
// is called instead.
func TestContextErrorLeadsToMoreRoom(t *testing.T) {
	t.Parallel()
	const small, large = `{"context":4096}`, `{"context":131072}`
	for name, tt := range map[string]struct {
		abc    [3]string
		error  string
		called string
		events string
	}{
		"more room":                {[3]string{small, large, ""}, tooLong, "a b", "a>b"},
		"TGI":                      {[3]string{small, large, ""}, tooLongTGI, "a b", "a>b"},
		"llama.cpp":                {[3]string{small, large, ""}, tooLongCPP, "a b", "a>b"},
		"undeclared":               {[3]string{small, "", large}, tooLong, "a b", "a>b"},
		"the same room":            {[3]string{small, small, large}, tooLong, "a c", "m:b!context a>c"},
		"less room":                {[3]string{small, `{"context":2048}`, small}, tooLong, "a", ""},
		"none declared":            {[3]string{}, tooLong, "a", ""},
		"declared for others only": {[3]string{"", "", large}, tooLong, "a c", "m:b!context a>c"},
		"another error":            {[3]string{small, large, ""}, badRequest, "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var called, events []string
			ups := map[string]http.RoundTripper{}
			for _, v := range []string{"a", "b", "c"} {
				ups[v] = routetest.Upstream(func(r *http.Request) (*http.Response, error) {
					called = append(called, v)
					if v == "a" {
						return errs(400, tt.error)(r)
					}
					return routetest.Serves(v, 200)(r)
				})
			}
			r := routetest.New(t, routing.Config{Upstreams: ups, Table: routetest.Table(t, chainOf(tt.abc)), OnEvent: collect(&events)})
			got, err := roundTrip(t, r, routetest.Post(needsNothing))
			require.NoError(t, err)
			assert.Equal(t, tt.called, strings.Join(called, " "))
			assert.Equal(t, tt.events, strings.Join(events, " "))
			if tt.called == "a" {
				assert.Equal(t, result{400, "a", tt.error}, got, "the upstream's error reaches the client")
			}
		})
	}
}

// collect records skipped versions and fallbacks.
func collect(to *[]string) func(context.Context, routing.Event) {
	return func(_ context.Context, e routing.Event) {
		switch e.Kind {
		case routing.Skipped:
			*to = append(*to, e.Model+":"+e.Version+"!"+e.Lacks)
		case routing.FellBack:
			*to = append(*to, e.From+">"+e.Version)
		case routing.Decided, routing.Swapped, routing.Mirrored, routing.MirrorFull:
		}
	}
}

// chainOf returns a table of three versions, each a fallback of those before.
func chainOf(capabilities [3]string) string {
	text := `{"routes":[{"model":"m","version":"a","fallback":["b","c"]A},{"model":"n","version":"b"B},{"model":"o","version":"c"C}]}`
	for i, c := range capabilities {
		if c != "" {
			c = `,"capabilities":` + c
		}
		text = strings.Replace(text, string("ABC"[i])+"}", c+"}", 1)
	}
	return text
}

// A refused credential of the operator leads to a fallback, as another version may have
// another one. An error about the client's own credential reaches the client.
func TestFallbackByCredential(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		a        routetest.Upstream
		operator bool
		fell     bool
	}{
		"401 of the operator":          {errs(401, badKey), true, true},
		"402 of the operator":          {errs(402, `{}`), true, true},
		"403 of the operator":          {errs(403, `{}`), true, true},
		"404 of the operator":          {errs(404, `{"error":{"message":"no such deployment"}}`), true, true},
		"429 of the operator":          {errs(429, `{}`), true, true},
		"quota of the operator":        {errs(429, noQuota), true, true},
		"400 of the operator":          {errs(400, badRequest), true, false},
		"401 of the client":            {errs(401, badKey), false, false},
		"402 of the client":            {errs(402, `{}`), false, false},
		"404 of the client":            {errs(404, `{}`), false, false},
		"429 of the client":            {errs(429, `{}`), false, true},
		"500 for the request's fault":  {errs(500, badRequest), false, false},
		"500":                          {errs(500, `{}`), false, true},
		"413":                          {errs(413, `{}`), false, false},
		"an empty response":            {errs(200, ``), false, true},
		"an error event before a text": {event(`{"error":{"message":"busy","type":"server_error"}}`), false, true},
		"quota as the first event":     {event(`{"error":{"message":"x","code":"insufficient_quota"}}`), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ends := 0
			x := &exchange.Exchange{Known: true, Credentials: "sk-client\x00", Limits: exchange.Limits{Prefetch: true}}
			x.OnEnd(func(*exchange.Attempt, *exchange.End) { ends++ })
			r := routetest.New(t, routing.Config{
				Table:     routetest.Table(t, `{"routes":[{"model":"m","version":"a","fallback":["b"]},{"version":"b"}]}`),
				Upstreams: map[string]http.RoundTripper{"a": tt.a, "b": routetest.Serves("b", 200)},
			})
			key := "sk-client"
			if tt.operator {
				key = "sk-operator"
			}
			a, req := x.Begin(routetest.Post(`{"model":"m"}`, "Authorization", key))
			got, err := roundTrip(t, r, req)
			require.NoError(t, err)
			assert.Equal(t, tt.fell, got.version == "b", got)
			assert.Equal(t, x.Attempts(), ends, "each attempt ends")
			assert.Equal(t, tt.fell, x.Final())
			assert.Equal(t, !tt.fell, a.Latest() == a)
		})
	}
}

// The last version's response reaches the client unchanged.
func TestLastResponseIsItsOwn(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{
		Table:     routetest.Table(t, `{"routes":[{"model":"m","version":"a","fallback":["b"]},{"version":"b"}]}`),
		Upstreams: map[string]http.RoundTripper{"a": routetest.Serves("a", 503), "b": errs(429, noQuota)},
	})
	got := relayed(t, r, routetest.Post(`{"model":"m"}`))
	assert.Equal(t, result{429, "b", noQuota}, got.result)
	assert.Equal(t, "1", got.Get("X-Own"))
}

// The patience of a version that refused the request does not apply to the next version.
func TestRefusalLeavesNoPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := routetest.New(t, routing.Config{
			Table: routetest.Table(t, `{"routes":[{"version":"a","fallback":["b"],"fallback_after":"5s"}]}`),
			Upstreams: map[string]http.RoundTripper{
				"a": routetest.Upstream(func(r *http.Request) (*http.Response, error) {
					exchange.Current(r.Context()).Use("of a")
					return nil, &exchange.NotSentError{}
				}),
				"b": routetest.Upstream(func(r *http.Request) (*http.Response, error) {
					if err := context.Cause(r.Context()); err != nil {
						return nil, err
					}
					assert.Empty(t, exchange.Current(r.Context()).Endpoint())
					select {
					case <-time.After(time.Minute):
						return routetest.Serves("b", 200)(r)
					case <-r.Context().Done():
						return nil, context.Cause(r.Context())
					}
				}),
			},
		})
		x := new(exchange.Exchange)
		_, req := x.Begin(httptest.NewRequest(http.MethodPost, "/", nil))
		got, err := roundTrip(t, r, req)
		require.NoError(t, err)
		assert.Equal(t, "b", got.version)
		assert.Equal(t, 1, x.Attempts(), "a refusal is no attempt")
	})
}

// The event of a fallback has the cause.
func TestFallbackEventHasTheCause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		for name, tt := range map[string]struct {
			a      routetest.Upstream
			status int
			err    error
		}{
			"an error": {fails(broken), 0, broken},
			"a status": {routetest.Serves("a", 503), 503, nil},
			"too slow": {routetest.Upstream(hangs), 0, exchange.ErrTimeout},
			"not sent": {fails(&exchange.NotSentError{}), 0, &exchange.NotSentError{}},
			"empty":    {errs(200, ""), 200, exchange.ErrEmpty},
		} {
			var reported []routing.Event
			r := routetest.New(t, routing.Config{
				Table:     routetest.Table(t, `{"routes":[{"model":"m","version":"a","fallback":["b"],"fallback_after":"5s"},{"version":"b"}]}`),
				Upstreams: map[string]http.RoundTripper{"a": tt.a, "b": routetest.Serves("b", 200)},
				OnEvent: func(_ context.Context, e routing.Event) {
					if e.Kind == routing.FellBack {
						reported = append(reported, e)
					}
				},
			})
			x := &exchange.Exchange{Limits: exchange.Limits{Prefetch: true}}
			_, req := x.Begin(routetest.Post(`{"model":"m"}`))
			_, err := roundTrip(t, r, req)
			require.NoError(t, err, name)
			require.Len(t, reported, 1, name)
			assert.Equal(t, tt.status, reported[0].Status, name)
			if tt.err == nil {
				assert.NoError(t, reported[0].Err, name)
			} else if !exchange.IsRefused(tt.err) {
				assert.ErrorIs(t, reported[0].Err, tt.err, name)
			}
		}
	})
}
