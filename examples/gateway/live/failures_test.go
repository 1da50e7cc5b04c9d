package live_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	eventsMedia = "text/event-stream"
	jsonMedia   = "application/json"
	someText    = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
	finished    = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
)

// failing is the behaviour of an upstream.
type failing struct {
	status      int // 0: it breaks the connection
	media, body string
	operator    bool // the gateway's key goes upstream
	cut         bool // the connection breaks after the body
}

func (f *failing) serve(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if f.status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", f.media)
	w.WriteHeader(f.status)
	_, _ = io.WriteString(w, f.body)
	if f.cut {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// The rows of docs/failures.md, through two servers of one upstream.
func TestFailuresAsTheGuideHasThem(t *testing.T) {
	t.Parallel()
	said := func(typ string) string { return fmt.Sprintf(`{"error":{"type":%q,"message":"sk-secret"}}`, typ) }
	event := func(typ string) string { return "data: " + said(typ) + "\n\n" }
	for name, tt := range map[string]struct {
		does  failing
		calls int32
		want  int
		text  string // in the body
	}{
		"broken connection":            {failing{}, 2, 502, "upstream_error"},
		"500":                          {failing{status: 500, media: jsonMedia, body: said("server_error")}, 2, 500, "server_error"},
		"500 of its own fault":         {failing{status: 500, media: jsonMedia, body: said("invalid_request_error")}, 1, 500, "invalid_request_error"},
		"501":                          {failing{status: 501, media: jsonMedia, body: said("x")}, 1, 501, "x"},
		"400":                          {failing{status: 400, media: jsonMedia, body: said("invalid_request_error")}, 1, 400, "invalid_request_error"},
		"429":                          {failing{status: 429, media: jsonMedia, body: said("rate_limit_error")}, 2, 429, "rate_limit_error"},
		"spent quota":                  {failing{status: 429, media: jsonMedia, body: said("insufficient_quota"), operator: true}, 1, 429, "insufficient_quota"},
		"402 of the operator's":        {failing{status: 402, media: jsonMedia, body: said("billing"), operator: true}, 1, 502, "upstream_credential"},
		"401":                          {failing{status: 401, media: jsonMedia, body: said("authentication_error")}, 1, 401, "authentication_error"},
		"401 of the operator's":        {failing{status: 401, media: jsonMedia, body: said("authentication_error"), operator: true}, 1, 502, "upstream_credential"},
		"404 of the operator's":        {failing{status: 404, media: jsonMedia, body: said("not_found_error"), operator: true}, 1, 502, "upstream_credential"},
		"404 for a model":              {failing{status: 404, media: jsonMedia, body: said("model_not_found"), operator: true}, 1, 404, "model_not_found"},
		"context length":               {failing{status: 400, media: jsonMedia, body: said("context_length_exceeded")}, 1, 400, "context_length_exceeded"},
		"error event first":            {failing{status: 200, media: eventsMedia, body: event("overloaded_error")}, 2, 200, "overloaded_error"},
		"error event of another kind":  {failing{status: 200, media: eventsMedia, body: event("strange")}, 2, 200, "strange"},
		"error event of the request's": {failing{status: 200, media: eventsMedia, body: event("invalid_request_error")}, 1, 200, "invalid_request_error"},
		"error event late":             {failing{status: 200, media: eventsMedia, body: someText + event("overloaded_error")}, 1, 200, "overloaded_error"},
		"nothing":                      {failing{status: 200, media: jsonMedia}, 2, 502, "upstream_error"},
		"no JSON":                      {failing{status: 200, media: jsonMedia, body: "<html>"}, 2, 502, "upstream_error"},
		"cut before content":           {failing{status: 200, media: eventsMedia, body: ": hi\n\n", cut: true}, 2, 502, "upstream_error"},
		"cut after content":            {failing{status: 200, media: eventsMedia, body: someText, cut: true}, 1, 200, "upstream_error"},
		"no end":                       {failing{status: 200, media: eventsMedia, body: someText}, 1, 200, "upstream_error"},
		"finished without a marker":    {failing{status: 200, media: eventsMedia, body: someText + finished}, 1, 200, "finish_reason"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			urls := make([]string, 2)
			for i := range urls {
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					calls.Add(1)
					tt.does.serve(w, r)
				}))
				t.Cleanup(s.Close)
				urls[i] = fmt.Sprintf(`{"url": %q}`, s.URL)
			}
			headers := ""
			if tt.does.operator {
				headers = `, "headers": {"Authorization": "Bearer sk-secret"}`
			}
			g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", fmt.Sprintf(`{"upstreams": {"a": {"endpoints": [%s], "no_inject": true%s}},
				"groups": [{"path": "/", "stages": [], "upstream": "a", "proxy": {"retry_posts": true, "attempts": 2}}]}`, strings.Join(urls, ", "), headers)))
			require.NoError(t, err)
			front := httptest.NewServer(g)
			t.Cleanup(front.Close)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL+"/v1/chat/completions", strings.NewReader(`{"model":"m","stream":true,"messages":[]}`))
			require.NoError(t, err)
			req.Header.Set("Content-Type", jsonMedia)
			if !tt.does.operator {
				req.Header.Set("Authorization", "Bearer client")
			}
			res, err := front.Client().Do(req)
			require.NoError(t, err)
			body, readErr := io.ReadAll(res.Body)
			require.NoError(t, res.Body.Close())
			assert.Equal(t, tt.want, res.StatusCode, "%s", body)
			assert.Contains(t, string(body), tt.text)
			assert.Equal(t, tt.calls, calls.Load(), "upstream calls")
			assert.Equal(t, strings.HasPrefix(name, "cut after") || name == "no end", readErr != nil, "a broken stream never looks whole: %v", readErr)
			if tt.text == "upstream_credential" {
				assert.NotContains(t, string(body), "sk-secret")
			}
		})
	}
}
