package llm_test

import (
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An error event is read as an error of its status, and ends the stream where clients
// expect an end.
func TestErrorEventsAreReadAsErrors(t *testing.T) {
	t.Parallel()
	kinds := map[int]llm.Kind{400: llm.BadRequest, 401: llm.Auth, 403: llm.Auth, 429: llm.Rate, 500: llm.ServerFault}
	for api := llm.Unknown; api <= llm.Free; api++ {
		for status, kind := range kinds {
			contentType := streamType
			if api == llm.Ollama {
				contentType = linesType
			}
			got := findAll(api, contentType, string(llm.ErrorEvent(api, llm.ErrorFields{Status: status, Message: "No."})))
			require.True(t, got.failed, "%s %d", api, status)
			assert.Equal(t, llm.Failed, got.opening, "%s %d", api, status)
			assert.Equal(t, "No.", got.message, "%s %d", api, status)
			assert.Equal(t, api == llm.Responses, got.ended)
			if api != llm.Ollama { // which has a message only
				assert.Equal(t, kind.String(), got.kind.String(), "%s %d", api, status)
			}
			if whole := llm.ErrorBody(api, llm.ErrorFields{Status: status, Message: "No."}); whole != nil {
				err := readError(status, http.Header{"Content-Type": {jsonType}}, whole)
				assert.Equal(t, "No.", err.Message)
			}
		}
	}
}

func TestErrorEvents(t *testing.T) {
	t.Parallel()
	e := llm.ErrorFields{Status: 429, Code: "tpm", Message: "a\nb", Place: llm.Place{Sequence: 7}}
	for api, want := range map[llm.API]string{
		llm.Chat:      "event: error\n" + `data: {"type":"error","error":{"message":"a\nb","type":"rate_limit_error","param":null,"code":"tpm"}}` + "\n\n",
		llm.Messages:  "event: error\n" + `data: {"type":"error","error":{"type":"rate_limit_error","message":"a\nb"}}` + "\n\n",
		llm.Responses: "event: response.failed\n" + `data: {"type":"response.failed","sequence_number":7,"response":{"id":"","object":"response","status":"failed","error":{"code":"tpm","message":"a\nb"},"incomplete_details":null,"output":[],"usage":null}}` + "\n\n",
		llm.Gemini:    `data: {"error":{"code":429,"message":"a\nb","status":"RESOURCE_EXHAUSTED"}}` + "\n\n",
		llm.Ollama:    `{"error":"a\nb"}` + "\n",
	} {
		assert.Equal(t, want, string(llm.ErrorEvent(api, e)), api)
	}
}
