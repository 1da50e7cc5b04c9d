package llm_test

import (
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// passes reads a response that has ended and reports whether it is content, or an error of
// the request: anything else may be retried at another endpoint.
func passes(contentType string, pieces ...string) bool {
	var s llm.Scanner
	reset(&s, llm.Unknown, contentType)
	for _, p := range pieces {
		_, _ = s.Write([]byte(p))
	}
	if s.NotJSON() || s.Opening() == llm.Silent && !s.Empty() && !s.Stream() || s.Cut() && !s.Stream() {
		return false
	}
	if s.Stream() && s.Opening() == llm.Silent {
		return false
	}
	if s.Opening() != llm.Failed {
		return true
	}
	switch s.Failure().Kind {
	case llm.BadRequest, llm.ContextLength, llm.Auth, llm.Quota:
		return true
	case llm.UnknownKind:
		return !s.Stream()
	case llm.Rate, llm.Overloaded, llm.ServerFault:
	}
	return false
}

// cuts calls f with the whole text, split in two at every position, and in single bytes.
func cuts(text string, f func(pieces ...string)) {
	f(text)
	for i := 1; i < len(text); i++ {
		f(text[:i], text[i:])
	}
	f(strings.Split(text, "")...)
}

// Events of models.
const (
	role    = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
	hello   = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n"
	done    = "data: [DONE]\n\n"
	ping    = ": ping\n\n"
	busy    = "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"code\":500}}\n\n"
	unfit   = "data: {\"error\":{\"message\":\"too long\",\"type\":\"invalid_request_error\",\"code\":null}}\n\n"
	started = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n"
	created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null,\"output\":[]}}\n\n"
)

// The opening is the same wherever the stream is split.
func TestStreamOpenings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stream string
		passes bool
	}{
		"content":                   {role + hello + done, true},
		"an error after content":    {hello + busy, true},
		"reasoning":                 {"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n", true},
		"the call of a tool":        {"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n", true},
		"Anthropic":                 {started + "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"hi\"}}\n\n", true},
		"responses":                 {created + "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n", true},
		"nothing to say":            {role + done, true},
		"Anthropic without content": {started + "data: {\"type\":\"message_stop\"}\n\n", true},
		"an empty error":            {strings.Replace(hello, "{", "{\"error\":\"\",", 1), true},
		"a null error":              {strings.Replace(hello, "{", "{\"error\":null,", 1), true},
		"CRLF":                      {strings.ReplaceAll(role+hello, "\n", "\r\n"), true},
		"CR":                        {strings.ReplaceAll(role+hello, "\n", "\r"), true},
		"a byte order mark":         {"\ufeff" + hello, true},
		"data on two lines":         {"data: {\"choices\":[\ndata: {\"delta\":{\"content\":\"a\"}}]}\n\n", true},

		"other events":         {"data: news\n\n", true},
		"other JSON":           {"event: x\ndata: {\"a\":1}\n\n", true},
		"an array":             {"data: [1]\n\n", true},
		"JSON-RPC":             {"event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n", true},
		"an error of JSON-RPC": {"data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,\"message\":\"no such method\"}}\n\n", true},
		"own fault":            {role + unfit, true},
		"own fault, Anthropic": {"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"x\"}}\n\n", true},
		"own fault, vLLM":      {"data: {\"object\":\"error\",\"message\":\"too long\",\"type\":\"BadRequestError\",\"code\":400}\n\n", true},
		"own fault, over CR":   {strings.ReplaceAll(unfit, "\n", "\r"), true},

		"an error":                    {busy, false},
		"an error after the role":     {ping + role + busy, false},
		"an error and then content":   {busy + hello, false},
		"an error over CR":            {strings.ReplaceAll(busy, "\n", "\r"), false},
		"an error, Anthropic":         {started + "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n", false},
		"an error, vLLM":              {"data: {\"object\":\"error\",\"message\":\"dead\",\"code\":500}\n\n", false},
		"an error, responses":         {created + "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\"}}}\n\n", false},
		"an error that is a string":   {"data: {\"error\":\"out of memory\"}\n\n", false},
		"an error that is no JSON":    {"event: error\ndata: out of memory\n\n", false},
		"too many requests":           {"data: {\"error\":{\"message\":\"x\",\"code\":429}}\n\n", false},
		"empty":                       {"", false},
		"only a role":                 {role, false},
		"only pings":                  {ping + ping, false},
		"only the end":                {done, false},
		"content that did not arrive": {role + strings.TrimSuffix(hello, "\n"), false},
		"no events":                   {"<html>502 Bad Gateway</html>\n\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cuts(c.stream, func(pieces ...string) {
				require.Equal(t, c.passes, passes(streamType, pieces...), "%q", pieces)
			})
		})
	}
}

// A stream that breaks fails if it has no content yet.
func TestBrokenStreams(t *testing.T) {
	t.Parallel()
	const stream = ping + role + hello
	for i := range len(stream) {
		require.False(t, passes(streamType, stream[:i]), i)
	}
	cuts(stream, func(pieces ...string) {
		require.True(t, passes(streamType, pieces...), "%q", pieces)
	})
}

func TestJSONOpenings(t *testing.T) {
	t.Parallel()
	const whole = `{"choices":[{"message":{"content":"hello"}}]}`
	for name, c := range map[string]struct {
		body   string
		passes bool
	}{
		"a response":           {whole, true},
		"with white space":     {"\r\n " + whole + "\n", true},
		"with a mark":          {"\ufeff" + whole, true},
		"of any kind":          {`{"a":[1,{"b":null}]}`, true},
		"an array":             {`[1,2]`, true},
		"a string":             {`"a"`, true},
		"many":                 {"{\"a\":1}\n{\"a\":2}\n", true},
		"as Python writes it":  {`{"logprob":NaN,"choices":[]}`, true},
		"nothing":              {"", true},
		"white space":          {" \n", true},
		"a null error":         {`{"error":null,"output":[]}`, true},
		"an empty error":       {`{"error":"","object":"list"}`, true},
		"its text fails":       {`{"error":"no such dog","dogs":[]}`, true},
		"own fault":            {`{"error":{"message":"too long","type":"invalid_request_error"}}`, true},
		"own fault by code":    {`{"error":{"message":"too long","code":400}}`, true},
		"an error of JSON-RPC": {`{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}`, true},
		"an error and text":    {`{"choices":[{"message":{"content":"hel"}}],"error":{"message":"x","code":500}}`, true},

		"an error":            {`{"error":{"message":"out of memory","type":"server_error","code":500}}`, false},
		"an error, Anthropic": {`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, false},
		"an error, vLLM":      {`{"object":"error","message":"dead","type":"InternalServerError","code":500}`, false},
		"HTML":                {"<html>502 Bad Gateway</html>", false},
		"garbage":             {"\x00\x01\xff\xfe", false},
		"cut":                 {whole[:len(whole)-3], false},
		"an array, cut":       {"[1,", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cuts(c.body, func(pieces ...string) {
				require.Equal(t, c.passes, passes(jsonType, pieces...), "%q", pieces)
			})
		})
	}
}

// Errors that every endpoint would respond with: such requests must not be repeated, nor
// count against endpoints.
func TestRequestErrorsPass(t *testing.T) {
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
			assert.Equal(t, c.passes, passes(streamType, "data: "+c.data+"\n\n"))
		})
	}
}

// Events of other vendors, and of running tools, are content: their streams are not
// buffered any longer.
func TestAllKindsOfContentPass(t *testing.T) {
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
			// It breaks off: only content passes.
			assert.True(t, passes(streamType, "data: "+text+"\n\n"))
		})
	}
}

// Streams without content are still buffered.
func TestStreamsWithoutContentAreBuffered(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"type":"response.created","response":{"status":"in_progress","error":null}}`, `{"type":"response.in_progress","response":{}}`, `{"type":"response.queued","response":{}}`,
		`{"type":"response.output_item.added","item":{"type":"message","content":[]}}`, `{"type":"response.content_part.added","part":{"type":"output_text","text":""}}`,
		`{"type":"message_start","message":{}}`, `{"type":"ping"}`, `{"type":"content_block_start","content_block":{"type":"text","text":""}}`,
		`{"choices":[{"delta":{"role":"assistant"}}]}`, `{"choices":[{"delta":{"role":"assistant","content":null,"refusal":null,"tool_calls":null},"finish_reason":null,"logprobs":null}]}`, `{"choices":[],"prompt_filter_results":[]}`,
	} {
		assert.False(t, passes(streamType, "data: "+text+"\n\n"), text)
	}
}
