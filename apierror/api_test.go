package apierror_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	responsesEvent = "event: response.failed\n" + `data: {"type":"response.failed","sequence_number":0,"response":{"id":"","object":"response","status":"failed","error":{"code":"upstream","message":"No."},"incomplete_details":null,"output":[],"usage":null}}` + "\n\n"
	geminiError    = `{"error":{"code":502,"message":"No.","status":"UNAVAILABLE"}}`
	ollamaError    = `{"error":"No."}`
	messagesError  = `{"type":"error","error":{"type":"api_error","message":"No."}}`
	problemError   = `{"type":"about:blank","title":"Bad Gateway","status":502,"detail":"No.","code":"upstream","error":{"message":"No.","type":"server_error","param":null,"code":"upstream"}}`
)

// Clients of an API receive its own errors, before a response and in its stream.
func TestAbortRespondsInTheAPIsForm(t *testing.T) {
	t.Parallel()
	const events, lines = "text/event-stream", "application/x-ndjson"
	for _, tt := range []struct {
		name, method, path, streamType, body, event string
	}{
		{"chat", http.MethodPost, "/v1/chat/completions", events, problemError, streamEvent},
		{"unknown", http.MethodPost, "/anything", events, problemError, streamEvent},
		{"messages", http.MethodPost, "/v1/messages", events, messagesError, anthropicEvent},
		{"messages behind a prefix", http.MethodPost, "/anthropic/v1/messages", events, messagesError, anthropicEvent},
		{"a list of messages", http.MethodGet, "/v1/messages", events, problemError, streamEvent},
		{"responses", http.MethodPost, "/v1/responses", events, problemError, responsesEvent},
		{"Gemini", http.MethodPost, "/v1beta/models/g:streamGenerateContent", events, geminiError, "data: " + geminiError + "\n\n"},
		{"Ollama", http.MethodPost, "/api/chat", lines, ollamaError, ollamaError + "\n"},
		{"Ollama as events", http.MethodPost, "/api/chat", events, ollamaError, streamEvent},
		{"other lines", http.MethodPost, "/v1/chat/completions", lines, problemError, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := &apierror.Error{Status: 502, Code: "upstream", Message: "No.", Err: errors.New("secret")}
			for _, committed := range []bool{false, true} {
				w := httptest.NewRecorder()
				c, _ := gin.CreateTestContext(w)
				c.Request = httptest.NewRequest(tt.method, tt.path, http.NoBody)
				want := tt.body
				if committed {
					c.Header("Content-Type", tt.streamType)
					c.Writer.WriteHeaderNow()
					want = tt.event
				}
				apierror.Abort(c, err)
				assert.Equal(t, want, w.Body.String())
				require.Len(t, c.Errors, 1)
				if tt.streamType == events {
					assert.Equal(t, tt.event, string(apierror.EventFor(c.Request, err)))
				}
			}
		})
	}
}

// Handlers of one shape ignore the API.
func TestFixedForms(t *testing.T) {
	t.Parallel()
	for name, abort := range handlers() {
		if name == "Abort" {
			continue
		}
		here, there := httptest.NewRecorder(), httptest.NewRecorder()
		for w, path := range map[*httptest.ResponseRecorder]string{here: "/v1/messages", there: "/"} {
			c, _ := gin.CreateTestContext(w)
			c.Request = httptest.NewRequest(http.MethodPost, path, http.NoBody)
			abort(c, &apierror.Error{Status: 429, Message: "Slow down."})
		}
		assert.Equal(t, there.Body.String(), here.Body.String(), name)
	}
}
