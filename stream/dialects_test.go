package stream_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// house is the API of an unknown server.
func house() stream.Dialect {
	return stream.Dialect{
		Paths: []string{"/v1/invoke"}, Text: []string{"outputs[].text"}, Reasoning: []string{"outputs[].thought"},
		Prompt:      []string{"question"},
		InputTokens: "stats.read", OutputTokens: "stats.wrote", Finish: "outputs[].why", Terminal: []string{"end"},
		Error: "fault", OwesEnd: true,
	}
}

func ExampleNewDialects() {
	dialects, err := stream.NewDialects(stream.Dialect{
		Paths:       []string{"/v1/invoke"},
		Text:        []string{"outputs[].text"},
		InputTokens: "stats.read", OutputTokens: "stats.wrote",
		Terminal: []string{"end"},
		OwesEnd:  true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"outputs\":[{\"text\":\"hello\"}]}\n\ndata: {\"type\":\"end\",\"stats\":{\"read\":9,\"wrote\":2}}\n\n")
	}))
	defer model.Close()
	meter, err := stream.NewMeter(stream.MeterConfig{OnUsage: func(_ context.Context, u stream.Usage) {
		fmt.Println(u.Input, u.Output, u.Estimated)
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	target, _ := url.Parse(model.URL)
	gateway, err := proxy.New(proxy.Config{Target: target, Transport: meter.Transport(model.Client().Transport)})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.POST("/v1/invoke", dialects.Middleware(), gateway.Handler())
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/invoke", strings.NewReader(`{"question":"who?"}`)))
	fmt.Println(w.Code)
	// Output:
	// 9 2 false
	// 200
}

// A described dialect is read like the known ones.
func TestDialects(t *testing.T) {
	t.Parallel()
	const content = "data: {\"outputs\":[{\"text\":\"hello\"}]}\n\n"
	for name, tt := range map[string]struct {
		path, sent string
		unknown    bool // no middleware
		outcome    proxy.Outcome
		status     int
		body       string // its end
		tokens     string
	}{
		"by a type":       {sent: content + "data: {\"type\":\"end\",\"stats\":{\"read\":9,\"wrote\":2}}\n\n", status: 200, body: "2}}\n\n", tokens: "9 2 false"},
		"by an event":     {sent: content + "event: end\ndata: {}\n\n", status: 200, body: "data: {}\n\n"},
		"by a reason":     {sent: "data: {\"outputs\":[{\"text\":\"hi\",\"why\":\"stop\"}]}\n\n", status: 200, body: "}\n\n"},
		"by [DONE]":       {sent: content + "data: [DONE]\n\n", status: 200, body: "[DONE]\n\n"},
		"cut":             {sent: content, outcome: proxy.Failure, status: 200, body: "\"code\":\"upstream_error\"}}\n\n"},
		"cut, not known":  {sent: content, unknown: true, status: 200, body: content},
		"empty":           {sent: ": no\n\n", outcome: proxy.Failure, status: 502, body: "}"},
		"an error first":  {sent: "data: {\"fault\":{\"message\":\"no\",\"code\":\"server_error\"}}\n\n", outcome: proxy.Failure, status: 200, body: "}\n\n"},
		"of a prefix":     {path: "/team/a/v1/invoke", sent: content, outcome: proxy.Failure, status: 200, body: "}}\n\n"},
		"of another path": {path: "/v1/invoked", sent: content, status: 200, body: content},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, tt.sent)
			}))
			t.Cleanup(up.Close)
			target, err := url.Parse(up.URL)
			require.NoError(t, err)
			var used string
			meter, err := stream.NewMeter(stream.MeterConfig{OnUsage: func(_ context.Context, u stream.Usage) {
				used = fmt.Sprint(u.Input, u.Output, u.Estimated)
			}})
			require.NoError(t, err)
			var outcome proxy.Outcome
			gateway, err := proxy.New(proxy.Config{
				Target: target, Transport: meter.Transport(up.Client().Transport), Retry: proxy.Retry{Attempts: -1},
				OnEvent: func(_ context.Context, e proxy.Event) { outcome = e.Outcome },
			})
			require.NoError(t, err)
			dialects, err := stream.NewDialects(house())
			require.NoError(t, err)
			r := gin.New()
			if !tt.unknown {
				r.Use(dialects.Middleware())
			}
			r.POST("/*path", gateway.Handler())
			if tt.path == "" {
				tt.path = "/v1/invoke"
			}
			w := httptest.NewRecorder()
			r.ServeHTTP(w, httptest.NewRequest(http.MethodPost, tt.path, strings.NewReader(`{"question":"who?"}`)))
			assert.Equal(t, tt.status, w.Code)
			assert.True(t, strings.HasSuffix(w.Body.String(), tt.body), "%q", w.Body)
			assert.Equal(t, tt.outcome, outcome)
			if tt.tokens != "" {
				assert.Equal(t, tt.tokens, used)
			}
		})
	}
}

func TestBadDialects(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]stream.Dialect{
		"no path":        {Text: []string{"a"}},
		"no slash":       {Paths: []string{"a"}},
		"a slash alone":  {Paths: []string{"/"}},
		"an empty part":  {Paths: []string{"/a"}, Text: []string{"a..b"}},
		"half a bracket": {Paths: []string{"/a"}, Finish: "a[.b"},
		"an index":       {Paths: []string{"/a"}, Error: "a[0]"},
	} {
		_, err := stream.NewDialects(house(), d)
		assert.ErrorContains(t, err, "stream: dialect 1: ", name)
	}
}
