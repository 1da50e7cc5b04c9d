package hold_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Errors that anybody would answer with: who sends such requests must not have them
// repeated everywhere, nor endpoints taken for broken.
func TestFaultsOfRequestsPass(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data   string
		passes bool
	}{
		"TGI, too long":             {`{"error":"Input validation error: inputs must have less than 1024 tokens","error_type":"validation"}`, true},
		"TGI, overloaded":           {`{"error":"Model is overloaded","error_type":"overloaded"}`, false},
		"TGI, a status":             {`{"error":{"message":"inputs too long","http_status_code":422}}`, true},
		"TGI, a status of its own":  {`{"error":{"message":"oops","http_status_code":500}}`, false},
		"a code in quotes":          {`{"error":{"message":"too long","code":"400"}}`, true},
		"429 in quotes":             {`{"error":{"message":"later","code":"429"}}`, false},
		"a content filter":          {`{"error":{"message":"filtered","type":null,"code":"content_filter"}}`, true},
		"too long, by name":         {`{"error":{"message":"too long","type":"error","code":"context_length_exceeded"}}`, true},
		"llama.cpp, too long":       {`{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}`, true},
		"Gemini, unfit":             {`{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}`, true},
		"Gemini, busy":              {`{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}`, false},
		"Anthropic, busy":           {`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, false},
		"Anthropic, unfit":          {`{"type":"error","error":{"type":"invalid_request_error","message":"no"}}`, true},
		"responses API, busy":       {`{"type":"error","code":"server_error","message":"oops"}`, false},
		"responses API, unfit":      {`{"type":"error","code":"invalid_prompt","message":"no"}`, true},
		"responses API, failed":     {`{"type":"response.failed","response":{"error":{"code":"server_error","message":"no"}}}`, false},
		"responses API, bad prompt": {`{"type":"response.failed","response":{"error":{"code":"invalid_prompt","message":"no"}}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.passes, passes(t, events, io.EOF, "data: "+c.data+"\n\n"))
		})
	}
}

// Events of other vendors, and of tools at work, are content: their streams are not held
// any longer.
func TestContentOfAllKindsPasses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"Gemini":            `{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}`,
		"TGI":               `{"index":1,"token":{"id":1,"text":"a"},"generated_text":null}`,
		"Cohere":            `{"type":"content-delta","delta":{"message":{"content":{"text":"a"}}}}`,
		"Ollama":            `{"message":{"content":"a"},"done":false}`,
		"reasoning":         `{"choices":[{"delta":{"reasoning_content":"a"}}]}`,
		"reasoning, named":  `{"choices":[{"delta":{"reasoning":"a"}}]}`,
		"thinking":          `{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"a"}}`,
		"summary":           `{"type":"response.reasoning_summary_text.delta","delta":"a"}`,
		"a search":          `{"type":"response.web_search_call.searching","item_id":"x"}`,
		"an image":          `{"type":"response.image_generation_call.partial_image","partial_image_b64":"aaaa"}`,
		"a tool elsewhere":  `{"type":"response.mcp_call.in_progress","item_id":"x"}`,
		"sound":             `{"choices":[{"delta":{"audio":{"data":"aaaa"}}}]}`,
		"its words":         `{"choices":[{"delta":{"audio":{"transcript":"a"}}}]}`,
		"images":            `{"choices":[{"delta":{"images":[{"image_url":{"url":"data:a"}}]}}]}`,
		"a refusal":         `{"choices":[{"delta":{"refusal":"no"}}]}`,
		"reasoning details": `{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]}}]}`,
		"a finish":          `{"choices":[{"delta":{},"finish_reason":"content_filter"}]}`,
		"a tool's call":     `{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}]}`,
		"JSON-RPC":          `{"jsonrpc":"2.0","method":"notifications/progress"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// It breaks off: only what was content passes.
			assert.True(t, passes(t, events, io.ErrUnexpectedEOF, "data: "+text+"\n\n"))
		})
	}
}

// What says nothing yet is still held.
func TestBeginningsAreHeld(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"type":"response.created","response":{"status":"in_progress","error":null}}`, `{"type":"response.in_progress","response":{}}`, `{"type":"response.queued","response":{}}`,
		`{"type":"response.output_item.added","item":{"type":"message","content":[]}}`, `{"type":"response.content_part.added","part":{"type":"output_text","text":""}}`,
		`{"type":"message_start","message":{}}`, `{"type":"ping"}`, `{"type":"content_block_start","content_block":{"type":"text","text":""}}`,
		`{"choices":[{"delta":{"role":"assistant"}}]}`, `{"choices":[{"delta":{"role":"assistant","content":null,"refusal":null,"tool_calls":null},"finish_reason":null,"logprobs":null}]}`, `{"choices":[],"prompt_filter_results":[]}`,
	} {
		assert.False(t, passes(t, events, io.ErrUnexpectedEOF, "data: "+text+"\n\n"), text)
	}
}
