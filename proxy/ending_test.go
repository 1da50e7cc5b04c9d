package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A stream that breaks off after content ends with the error event of its own API.
func TestErrorEventOfTheAPI(t *testing.T) {
	t.Parallel()
	const events, lines = "text/event-stream", "application/x-ndjson"
	for name, tt := range map[string]struct {
		path, contentType, sent, want string
	}{
		"chat": {
			"/v1/chat/completions", events, "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n",
			"event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":",
		},
		"Messages": {
			"/v1/messages", events, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n",
			"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",",
		},
		"Responses": {
			"/v1/responses", events,
			"data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\"}}\n\n" +
				"data: {\"type\":\"response.output_text.delta\",\"sequence_number\":7,\"delta\":\"hi\"}\n\n",
			"event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":8,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"failed\",",
		},
		"Responses without numbers": {
			"/v1/responses", events, "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n",
			"event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":0,\"response\":{\"id\":\"\",",
		},
		"Gemini": {
			"/v1beta/models/g:streamGenerateContent", events, "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]}}]}\n\n",
			"data: {\"error\":{\"code\":502,\"message\":",
		},
		"Ollama": {
			"/api/chat", lines, "{\"message\":{\"content\":\"hi\"},\"done\":false}\n",
			"{\"error\":\"The upstream server broke the connection",
		},
		"within an event": {"/v1/chat/completions", events, "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: {", ""},
		"within a line":   {"/api/chat", lines, "{\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"me", ""},
		"lines of another API": {
			"/v1/lines", lines, "{\"a\":1}\n", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup{upstream: func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", tt.contentType)
				_, _ = io.WriteString(w, tt.sent)
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}}.start(t)
			res, err := r.client.Post(r.URL+tt.path, "application/json", strings.NewReader(`{"model":"m","stream":true}`))
			require.NoError(t, err)
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			rest, ok := strings.CutPrefix(string(body), tt.sent)
			require.True(t, ok, "%q", body)
			if tt.want == "" {
				assert.Empty(t, rest)
				return
			}
			assert.True(t, strings.HasPrefix(rest, tt.want), "%q", rest)
			assert.True(t, strings.HasSuffix(rest, "}\n") || strings.HasSuffix(rest, "}\n\n"), "%q", rest)
			assert.Equal(t, proxy.Failure, r.events.next(t).Outcome)
		})
	}
}

// A client that leaves right after the end of a stream has received all of it, even if the
// upstream has not ended the response yet.
func TestClientLeavesAfterTheEnd(t *testing.T) {
	t.Parallel()
	const whole = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
	r := setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, whole)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}}.start(t)
	res, err := r.client.Post(r.URL+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","stream":true}`))
	require.NoError(t, err)
	_, err = io.ReadFull(res.Body, make([]byte, len(whole)))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	got := r.events.next(t)
	require.NoError(t, got.Err)
	assert.Equal(t, proxy.Success, got.Outcome)
	assert.Equal(t, proxy.Success, r.events.attempts()[0].Outcome)
}
