package e2e_test

import (
	"strings"
	"testing"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/stretchr/testify/assert"
)

// A finished response is whole without the marker; only known dialects require an end.
// Circuits stay closed after any number of them.
func TestDialectStreamWithoutMarkerIsWhole(t *testing.T) {
	t.Parallel()
	chat, message, recording := openAIChat(), anthropicMessages(), transcription()
	tests := map[string]struct {
		path, body, response string
	}{
		"finish_reason without [DONE]":            {chatPath, chat.shapes[1].body, strings.TrimSuffix(chat.shapes[1].whole(), doneEvent)},
		"finish_reason with the last text":        {chatPath, chat.shapes[1].body, chatWords("", "Hello") + dataEvents(chatChunk(`"delta":{"content":"!"},"finish_reason":"stop"`, ""))},
		"usage behind finish_reason":              {chatPath, chat.shapes[0].body, strings.TrimSuffix(chat.shapes[0].whole(), doneEvent)},
		"finish_reason of another spelling":       {chatPath, chat.shapes[1].body, chatWords("", "Hello") + dataEvents(chatChunk(`"delta":{},"finish_reason":"eos_token"`, ""))},
		"a comment behind finish_reason":          {chatPath, chat.shapes[1].body, strings.TrimSuffix(chat.shapes[1].whole(), doneEvent) + ": bye\n\n"},
		"no blank line behind the last event":     {chatPath, chat.shapes[1].body, strings.TrimSuffix(strings.TrimSuffix(chat.shapes[1].whole(), doneEvent), "\n")},
		"two choices, both finished":              {chatPath, chat.shapes[6].body, strings.TrimSuffix(chat.shapes[6].whole(), doneEvent)},
		"stop_reason without message_stop":        {"/v1/messages", message.shapes[0].body, strings.TrimSuffix(message.shapes[0].whole(), message.shapes[0].marker)},
		"stop_reason behind a gateway's path":     {"/anthropic/v1/messages", message.shapes[0].body, strings.TrimSuffix(message.shapes[0].whole(), message.shapes[0].marker)},
		"transcript.text.done":                    {"/v1/audio/transcriptions", `{"model":"m","stream":true}`, strings.TrimSuffix(recording.shapes[0].whole(), doneEvent)},
		"image_edit.completed":                    {"/v1/images/edits", `{"model":"gpt-image-1","stream":true}`, typedOf(`{"type":"image_edit.partial_image","b64_json":"iVBO"}`, `{"type":"image_edit.completed","b64_json":"iVBORw"}`)},
		"events of a type that is new":            {"/v1/videos", `{"model":"m","stream":true}`, typedOf(`{"type":"video.part","part":1}`, `{"type":"video.part","part":2}`)},
		"events of an unknown API":                {"/v1/agents/run", `{"task":"t"}`, dataEvents(`{"step":1,"text":"a"}`, `{"step":2,"text":"b"}`)},
		"an unknown API with content and a delta": {"/v1/agents/run", `{"task":"t"}`, dataEvents(`{"delta":{"text":"a"}}`, `{"content":"b"}`)},
		"events that are no JSON":                 {"/v1/agents/run", `{"task":"t"}`, dataEvents("one", "two")},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			g, plan := oneUpstream(t, faulty.Chunked(eventMedia, tt.response))
			for range dialectRepeats {
				got := g.send(t, dialectRequest{path: tt.path, body: tt.body})
				assert.Empty(v, isWhole(got, "200", tt.response))
				assert.Equal(v, "success", got.outcome)
			}
			assert.Len(v, plan.Calls(), dialectRepeats)
			assert.Equal(v, breaker.Closed, g.state("a"))
		})
	}
}

// A response of a known dialect that has not finished is cut.
func TestDialectStreamThatDidNotFinishIsCut(t *testing.T) {
	t.Parallel()
	chat, message := openAIChat(), anthropicMessages()
	tests := map[string]struct{ path, body, response string }{
		"chat":                              {chatPath, chat.shapes[1].body, chat.shapes[1].opening + chat.shapes[1].content},
		"chat, one of two choices finished": {chatPath, chat.shapes[6].body, chat.shapes[6].opening + chat.shapes[6].content + dataEvents(chatChunk(`"delta":{},"finish_reason":"stop"`, ""))},
		"chat, a usage and no finish":       {chatPath, chat.shapes[0].body, chat.shapes[0].opening + chatWords("", "Hello") + dataEvents(chatUsageChunk())},
		"message, a block that ended":       {"/v1/messages", message.shapes[0].body, message.shapes[0].opening + message.shapes[0].content + typedOf(`{"type":"content_block_stop","index":0}`)},
		"message, a null stop_reason":       {"/v1/messages", message.shapes[0].body, message.shapes[0].opening + message.shapes[0].content + typedOf(`{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":3}}`)},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			g, _ := oneUpstream(t, faulty.Chunked(eventMedia, tt.response))
			got := g.send(t, dialectRequest{path: tt.path, body: tt.body})
			assert.True(v, strings.HasPrefix(got.body, tt.response), "the received part passes")
			v.broken(got)
			assert.Equal(v, "failure", got.outcome)
		})
	}
}

// An empty response is a failure only where the API requires content.
func TestDialectEmptyResponse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		dialectRequest
		steps  faulty.Response
		status int
	}{
		"no bytes for a chat":          {chatOf("m", ""), faulty.Plain("200 OK", "Content-Type: application/json\r\n", ""), 502},
		"no bytes for a stream":        {chatOf("m", `"stream":true,`), faulty.Plain("200 OK", "Content-Type: text/event-stream\r\n", ""), 502},
		"no bytes, no type":            {chatOf("m", ""), faulty.Plain("200 OK", "", ""), 502},
		"white space for a chat":       {chatOf("m", ""), faulty.Plain("200 OK", "Content-Type: application/json\r\n", " \r\n\t\n"), 502},
		"blank lines for a stream":     {chatOf("m", `"stream":true,`), faulty.Chunked(eventMedia, "\n\n", "\n\n"), 502},
		"comments for a stream":        {chatOf("m", `"stream":true,`), faulty.Chunked(eventMedia, ": ping\n\n", ": ping\n\n"), 502},
		"[DONE] alone":                 {chatOf("m", `"stream":true,`), faulty.Chunked(eventMedia, doneEvent), 502},
		"a byte order mark":            {chatOf("m", ""), faulty.Plain("200 OK", "Content-Type: application/json\r\n", "\ufeff"), 502},
		"no bytes for a message":       {anthropicRequest(""), faulty.Plain("200 OK", "Content-Type: application/json\r\n", ""), 502},
		"no bytes of an API not known": {dialectRequest{path: "/v1/agents/run", body: `{"task":"t"}`}, faulty.Plain("200 OK", "Content-Type: application/json\r\n", ""), 200},
		"a deletion":                   {dialectRequest{method: "DELETE", path: "/v1/files/file-1"}, faulty.Plain("200 OK", "", ""), 200},
		"204":                          {chatOf("m", ""), faulty.Response{faulty.Say("HTTP/1.1 204 No Content\r\n\r\n")}, 204},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			g, plan := oneUpstream(t, tt.steps)
			got := g.send(t, tt.dialectRequest)
			assert.Equal(v, tt.status, got.status)
			v.noError(got.err)
			if tt.status != 502 {
				assert.Equal(v, "success", got.outcome)
				assert.Len(v, plan.Calls(), 1)
				return
			}
			assert.Equal(v, "failure", got.outcome)
			assert.Contains(v, got.body, `"error"`)
			assert.Len(v, plan.Calls(), 2, "it is retried")
			assert.Zero(v, g.charged())
		})
	}
}
