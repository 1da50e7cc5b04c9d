package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clientUpstream is an upstream with the APIs of OpenAI and Anthropic and a stream of events.
// Some of its models cut their streams.
type clientUpstream struct {
	*httptest.Server
	disconnected atomic.Int64 // requests with a disconnected client
}

func newClientUpstream(t *testing.T) *clientUpstream {
	t.Helper()
	s := new(clientUpstream)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", s.chat)
	mux.HandleFunc("POST /v1/messages", s.messages)
	mux.HandleFunc("GET /v1/events", s.events)
	s.Server = newQuietServer(t, mux)
	return s
}

// decodeRequest reads the parameters of a request.
func decodeRequest(r *http.Request) (model string, stream, usage bool) {
	var q struct {
		Model         string
		Stream        bool
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	_ = json.NewDecoder(r.Body).Decode(&q)
	return q.Model, q.Stream, q.StreamOptions.IncludeUsage
}

// writeEvents writes events and flushes after each.
func writeEvents(w http.ResponseWriter, events ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range events {
		_, _ = io.WriteString(w, e+"\n\n")
		_ = http.NewResponseController(w).Flush()
	}
}

func (s *clientUpstream) chat(w http.ResponseWriter, r *http.Request) {
	const chunk = `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{%s},"finish_reason":%s}]}`
	model, stream, usage := decodeRequest(r)
	if !stream {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`)
		return
	}
	writeEvents(w, fmt.Sprintf(chunk, `"role":"assistant","content":""`, "null"), fmt.Sprintf(chunk, `"content":"hel"`, "null"))
	switch model {
	case "cut":
		panic(http.ErrAbortHandler)
	case "slow":
		<-r.Context().Done()
		s.disconnected.Add(1)
		return
	}
	writeEvents(w, fmt.Sprintf(chunk, `"content":"lo"`, "null"), fmt.Sprintf(chunk, ``, `"stop"`))
	if usage {
		writeEvents(w, `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`)
	}
	writeEvents(w, "data: [DONE]")
}

func (s *clientUpstream) messages(w http.ResponseWriter, r *http.Request) {
	model, stream, _ := decodeRequest(r)
	if !stream {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"msg","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}`)
		return
	}
	writeEvents(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":0}}}",
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}")
	if model == "claude-cut" {
		panic(http.ErrAbortHandler)
	}
	writeEvents(w, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}",
		"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}}",
		"event: message_stop\ndata: {\"type\":\"message_stop\"}")
}

// events cuts the stream after two. A reconnect gets the rest, and then 204.
func (*clientUpstream) events(w http.ResponseWriter, r *http.Request) {
	switch r.Header.Get("Last-Event-ID") {
	case "":
		writeEvents(w, "retry: 20\nid: 1\ndata: a", "id: 2\ndata: b")
		panic(http.ErrAbortHandler)
	case "2":
		writeEvents(w, "id: 3\ndata: c")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// needClients skips the test on a machine without Node.js or the clients.
func needClients(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join("clients", "node_modules", "@google", "genai")) // the newest dependency
	}
	if err != nil {
		need.Missing(t, "GINFER_REQUIRE_NODE", "no clients: they need Node.js and `npm ci --prefix internal/e2e/clients`: %v", err)
	}
}

// Common clients work unchanged: the SDKs of OpenAI, Anthropic and Vercel, EventSource,
// undici. A cut stream is an error to each of them, never a short response.
func TestClients(t *testing.T) {
	t.Parallel()
	needClients(t)
	upstream := newClientUpstream(t)
	var routes []string
	for _, m := range []string{"m", "cut", "slow", "claude", "claude-cut"} {
		routes = append(routes, fmt.Sprintf(`{"model": %q, "version": "%[1]s-1", "upstream": "a"}`, m))
	}
	p := start(t, fmt.Sprintf(`{%s, "upstreams": {"a": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "routing": {"table": {"routes": [%s]}}}, {"path": "/v1/events", "upstream": "a"}]}`, ports, upstream.URL, strings.Join(routes, ", ")))
	cmd := exec.Command("node", "run.mjs")
	cmd.Dir = "clients"
	cmd.Env = append(os.Environ(), "BASE="+p.public, "TOKEN="+p.token)
	stderr := &lockedBuffer{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var got map[string]any
	require.NoError(t, json.Unmarshal(out, &got), "%s", out)
	models := []any{"m", "cut", "slow", "claude", "claude-cut"}
	for name, want := range map[string]any{
		"openai":           "hello",
		"openaiStream":     map[string]any{"text": "hello", "usage": nil},
		"openaiUsage":      map[string]any{"text": "hello", "usage": 5.0},
		"openaiModels":     models,
		"openaiUnknown":    map[string]any{"name": "NotFoundError", "status": 404.0, "code": "model_not_found"},
		"openaiToken":      map[string]any{"name": "AuthenticationError", "status": 401.0, "code": "invalid_api_key"},
		"openaiAbort":      "left",
		"anthropic":        "hello",
		"anthropicStream":  map[string]any{"text": "hello", "tokens": 2.0, "stop": "end_turn"},
		"anthropicModels":  models,
		"anthropicUnknown": map[string]any{"name": "NotFoundError", "status": 404.0, "code": "not_found_error"},
		"ai":               "hello",
		"aiStream":         map[string]any{"text": "hello", "tokens": 5.0, "finish": "stop"},
		"events":           []any{"1:a", "2:b", "3:c"},
		"undici":           map[string]any{"status": 200.0, "ended": true},
		"openaiCut":        map[string]any{"name": "APIError", "status": nil, "code": "upstream_error"},
		"anthropicCut":     map[string]any{"name": "APIError", "status": nil, "code": "api_error"},
		"aiCut":            map[string]any{"error": "The upstream server broke the connection or sent an invalid response."},
	} {
		assert.Equal(t, want, got[name], name)
	}
	assert.Eventually(t, func() bool { return upstream.disconnected.Load() == 1 }, 5*time.Second, 10*time.Millisecond, "a disconnect cancels the request upstream")
}
