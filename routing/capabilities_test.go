package routing_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Requests by what they need.
const (
	needsNothing = `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`
	needsTools   = `{"model":"m","tools":[{"type":"function","function":{"name":"f"}}]}`
	needsSchema  = `{"model":"m","response_format":{"type":"json_schema","json_schema":{}}}`
	needsVision  = `{"model":"m","messages":[{"content":[{"type":"image_url","image_url":{"url":"https://x"}}]}]}`
	needsAll     = `{"model":"m","tools":[{"name":"f"}],"text":{"format":{"type":"json_schema"}},"input":[{"content":[{"type":"input_image","image_url":"https://x"}]}]}`
)

// walked sends a request through a router. It returns the versions called, and the events
// after the decision.
func walked(t *testing.T, capabilities [3]string, failing string, req *http.Request) (called, events string) {
	t.Helper()
	var a, e []string
	upstreams := make(map[string]http.RoundTripper)
	for _, name := range []string{"a", "b", "c"} {
		upstreams[name] = routetest.Upstream(func(r *http.Request) (*http.Response, error) {
			a = append(a, name)
			if strings.Contains(failing, name) {
				return routetest.Serves(name, 503)(r)
			}
			return routetest.Serves(name, 200)(r)
		})
	}
	text := `{"routes":[{"model":"m","version":"a","fallback":["b","c"]%s},{"model":"n","version":"b"%s},{"model":"o","version":"c"%s}]}`
	var said []any
	for _, c := range capabilities {
		if c != "" {
			c = `,"capabilities":` + c
		}
		said = append(said, c)
	}
	r := routetest.New(t, routing.Config{
		Table: routetest.Table(t, fmt.Sprintf(text, said...)), Upstreams: upstreams,
		OnEvent: func(_ context.Context, ev routing.Event) {
			switch ev.Kind {
			case routing.Skipped:
				e = append(e, ev.Model+":"+ev.Version+"!"+ev.Lacks)
			case routing.FellBack:
				e = append(e, ev.From+">"+ev.Version)
			case routing.Decided, routing.Swapped, routing.Mirrored, routing.MirrorFull:
			}
		},
	})
	_, err := roundTrip(t, r, req)
	require.NoError(t, err)
	return strings.Join(a, " "), strings.Join(e, " ")
}

// Versions that lack what a request needs are skipped.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	const plain, all = `{}`, `{"tools":true,"json_schema":true,"vision":true}`
	tests := []struct {
		name           string
		abc            [3]string
		failing, body  string
		called, events string
	}{
		{"nothing declared", [3]string{}, "", needsAll, "a", ""},
		{"nothing is needed", [3]string{plain, all, all}, "", needsNothing, "a", ""},
		{"the first can", [3]string{all, plain, plain}, "", needsAll, "a", ""},
		{"tools", [3]string{`{"json_schema":true,"vision":true}`, all, all}, "", needsTools, "b", "m:a!tools"},
		{"schema", [3]string{`{"tools":true,"vision":true}`, all, all}, "", needsSchema, "b", "m:a!json_schema"},
		{"vision", [3]string{`{"json_schema":true,"tools":true}`, all, all}, "", needsVision, "b", "m:a!vision"},
		{"all", [3]string{`{"tools":true}`, `{"tools":true,"json_schema":true}`, all}, "", needsAll, "c", "m:a!json_schema m:b!vision"},
		{"the last is undeclared", [3]string{plain, plain, ""}, "", needsAll, "c", "m:a!tools m:b!tools"},
		{"the first is undeclared", [3]string{"", plain, plain}, "", needsAll, "a", ""},
		{"all lack it", [3]string{plain, plain, plain}, "", needsTools, "a", ""},
		{"all lack it, and the first fails", [3]string{plain, plain, plain}, "a", needsTools, "a", ""},
		{"one within the chain", [3]string{all, plain, all}, "a", needsTools, "a c", "m:b!tools a>c"},
		{"one behind the version that serves", [3]string{all, plain, all}, "", needsTools, "a", ""},
		{"one at the end", [3]string{all, all, plain}, "ab", needsTools, "a b", "a>b"},
		{"one at the beginning", [3]string{plain, all, all}, "b", needsTools, "b c", "m:a!tools b>c"},
		{"nothing is needed, all fail", [3]string{plain, all, plain}, "abc", needsNothing, "a b c", "a>b b>c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			called, events := walked(t, tt.abc, tt.failing, routetest.Post(tt.body))
			assert.Equal(t, tt.called, called)
			assert.Equal(t, tt.events, events)
		})
	}
}

// A token is four bytes of input, rounded up, or one token of output.
func TestContext(t *testing.T) {
	t.Parallel()
	text := func(more string, letters int) *http.Request {
		return routetest.Post(`{"model":"m"` + more + `,"prompt":"` + strings.Repeat("x", letters) + `"}`)
	}
	for name, tt := range map[string]struct {
		req    *http.Request
		called string
	}{
		"fits":             {text("", 400), "a"},
		"one byte more":    {text("", 401), "b"},
		"with output":      {text(`,"max_tokens":50`, 200), "a"},
		"with more output": {text(`,"max_tokens":51`, 200), "b"},
		"several choices":  {text(`,"max_tokens":50,"n":9`, 200), "a"},
		"no bound":         {text("", 801), "c"},
		"an image":         {routetest.Post(needsVision), "c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			called, _ := walked(t, [3]string{`{"vision":true,"context":100}`, `{"vision":true,"context":200}`, `{"vision":true}`}, "", tt.req)
			assert.Equal(t, tt.called, called)
		})
	}
}

// A body of an unknown kind, or one that streams through, has no needs.
func TestNeedsOfUnknownBodies(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a","capabilities":{"context":1},"fallback":["b"]}]}`), Upstreams: routetest.Upstreams("a", "b")})
	broken := needsTools[:len(needsTools)-1]
	for _, body := range []string{"", strings.Repeat("x", 1000), broken, `["tools"]`} {
		req := routetest.Decided(t, r, routetest.Post(""))
		bodies.Set(req, []byte(body))
		got, err := sent(r, req)
		require.NoError(t, err)
		assert.Equal(t, result{200, "a", "a:" + body}, got.result, body)
	}
	// as a stream: the table names no model, so the body was not read
	assert.Equal(t, "a", relayed(t, r, routetest.Post(needsTools)).version)

	req := routetest.Decided(t, r, routetest.Post(""))
	bodies.Set(req, []byte(needsTools))
	got, err := sent(r, req)
	require.NoError(t, err)
	assert.Equal(t, result{200, "b", "b:" + needsTools}, got.result)
}

// The body is parsed and the event reported once for all attempts of the proxy.
func TestNeedsOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	skipped := 0
	r := routetest.New(t, routing.Config{
		Table:     routetest.Table(t, `{"routes":[{"model":"m","version":"a","capabilities":{},"fallback":["b"]}]}`),
		Upstreams: map[string]http.RoundTripper{"a": routetest.Serves("a", 200), "b": routetest.Serves("b", 503)},
		OnEvent: func(_ context.Context, e routing.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == routing.Skipped {
				skipped++
			}
		},
	})
	req := routetest.Decided(t, r, routetest.Post(needsTools))
	x := new(exchange.Exchange)
	var wg sync.WaitGroup
	for range 3 { // concurrent attempts, as hedges are
		wg.Go(func() {
			_, out := x.Begin(req)
			bodies.Set(out, []byte(needsTools))
			got, err := sent(r, out)
			assert.Equal(t, "b", got.version, err)
		})
	}
	wg.Wait()
	assert.Equal(t, 1, skipped)

	d, ok := routing.FromContext(req.Context())
	require.True(t, ok)
	assert.Equal(t, "a", d.Version, "the decision stays")
	assert.Equal(t, &routing.Capabilities{}, d.Capabilities)
}

// The cost of a request after the decision, with and without capabilities.
func BenchmarkWalk(b *testing.B) {
	good := routetest.Upstream(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}, nil
	})
	for name, capabilities := range map[string]string{"undeclared": "", "declared": `,"capabilities":{"tools":true}`} {
		b.Run(name, func(b *testing.B) {
			r := routetest.New(b, routing.Config{
				Table:     routetest.Table(b, `{"routes":[{"model":"m","version":"a","fallback":["b"]`+capabilities+`},{"model":"m","version":"b","conditions":{"path":"/x"}}]}`),
				Upstreams: map[string]http.RoundTripper{"a": good, "b": good},
			})
			middleware, transport := r.Middleware(), r.Transport()
			req := routetest.Post(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("word ", 200) + `"}]}`)
			c, _ := gin.CreateTestContext(httptest.NewRecorder())
			b.ReportAllocs()
			for b.Loop() {
				c.Request = req
				middleware(c)
				res, err := transport.RoundTrip(c.Request)
				if err != nil {
					b.Fatal(err)
				}
				_ = res.Body.Close()
			}
		})
	}
}
