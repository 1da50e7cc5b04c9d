package llm_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// typedOf writes events named after their type.
func typedOf(all ...string) string {
	var b strings.Builder
	for _, one := range all {
		var e struct{ Type string }
		_ = json.Unmarshal([]byte(one), &e)
		b.WriteString("event: " + e.Type + "\ndata: " + one + "\n\n")
	}
	return b.String()
}

func TestOf(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]llm.API{
		"/v1/chat/completions": llm.Chat, "/api/v1/chat/completions/": llm.Chat, "/v1/completions": llm.Completions,
		"/v1/embeddings": llm.Embeddings, "/v1/responses": llm.Responses, "/v1/messages": llm.Messages,
		"/v1/messages/count_tokens": llm.Free, "/v1/rerank": llm.Unknown, "": llm.Unknown,
	} {
		assert.Equal(t, want, llm.Of("POST", path), path)
	}
	assert.True(t, llm.Chat.Converts())
	assert.False(t, llm.Responses.Converts())
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const (
		chunk = `{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`
		stop  = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	)
	for name, tt := range map[string]struct {
		api    llm.API
		stream bool
		body   string
		want   error
	}{
		"chat":                            {llm.Chat, false, `{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}`, nil},
		"chat cut by max_tokens":          {llm.Chat, false, `{"choices":[{"message":{"content":"a"},"finish_reason":"length"}]}`, nil},
		"chat with an end of two":         {llm.Chat, false, `{"choices":[{"finish_reason":"stop"},{"finish_reason":null}]}`, llm.ErrIncomplete},
		"chat without choices":            {llm.Chat, false, `{"choices":[]}`, llm.ErrIncomplete},
		"chat that is an error":           {llm.Chat, false, `{"error":{"message":"x"}}`, llm.ErrFailed},
		"chat that was filtered":          {llm.Chat, false, `{"choices":[{"finish_reason":"content_filter"}]}`, llm.ErrFiltered},
		"chat that was refused":           {llm.Chat, false, `{"choices":[{"message":{"refusal":"no"},"finish_reason":"stop"}]}`, llm.ErrFiltered},
		"chat that was aborted":           {llm.Chat, false, `{"choices":[{"finish_reason":"abort"}]}`, llm.ErrIncomplete},
		"chat that calls a tool":          {llm.Chat, false, `{"choices":[{"message":{"tool_calls":[{}]},"finish_reason":"tool_calls"}]}`, llm.ErrToolCalls},
		"chat with a call and stop":       {llm.Chat, false, `{"choices":[{"message":{"tool_calls":[{}]},"finish_reason":"stop"}]}`, llm.ErrToolCalls},
		"chat with no tool calls":         {llm.Chat, false, `{"choices":[{"message":{"tool_calls":[]},"finish_reason":"stop"}]}`, nil},
		"half a chat":                     {llm.Chat, false, `{"choices":[{"finish_reason":"stop"}`, llm.ErrIncomplete},
		"no chat":                         {llm.Chat, false, `{"choices":7}`, llm.ErrUnreadable},
		"completion":                      {llm.Completions, false, `{"choices":[{"text":"a","finish_reason":"stop"}]}`, nil},
		"embedding":                       {llm.Embeddings, false, `{"data":[{"embedding":[0.1]}]}`, nil},
		"embedding of nothing":            {llm.Embeddings, false, `{"data":[]}`, llm.ErrIncomplete},
		"something else":                  {llm.Unknown, false, `{"results":[1]}`, nil},
		"a list":                          {llm.Unknown, false, `[1]`, nil},
		"something else that is an error": {llm.Unknown, false, `{"error":"x"}`, llm.ErrFailed},
		"something else, cut":             {llm.Unknown, false, `{"results":[1`, llm.ErrIncomplete},
		"response":                        {llm.Responses, false, `{"status":"completed","error":null,"output":[{"type":"reasoning"},{"type":"message","content":[{"type":"output_text"}]}]}`, nil},
		"response that is incomplete":     {llm.Responses, false, `{"status":"incomplete"}`, llm.ErrIncomplete},
		"response that was refused":       {llm.Responses, false, `{"status":"completed","output":[{"type":"message","content":[{"type":"refusal"}]}]}`, llm.ErrFiltered},
		"response that calls":             {llm.Responses, false, `{"status":"completed","output":[{"type":"function_call"}]}`, llm.ErrToolCalls},
		"response with a search":          {llm.Responses, false, `{"status":"completed","output":[{"type":"web_search_call"}]}`, llm.ErrToolCalls},
		"message":                         {llm.Messages, false, `{"type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn"}`, nil},
		"message that was refused":        {llm.Messages, false, `{"type":"message","content":[],"stop_reason":"refusal"}`, llm.ErrFiltered},
		"message that calls":              {llm.Messages, false, `{"type":"message","content":[{"type":"tool_use"}],"stop_reason":"tool_use"}`, llm.ErrToolCalls},
		"message that pauses":             {llm.Messages, false, `{"type":"message","content":[],"stop_reason":"pause_turn"}`, llm.ErrIncomplete},
		"message that is an error":        {llm.Messages, false, `{"type":"error","error":{}}`, llm.ErrFailed},
		"no message":                      {llm.Messages, false, `{"choices":[]}`, llm.ErrUnreadable},

		"chat stream":                     {llm.Chat, true, sse(chunk, stop, "[DONE]"), nil},
		"chat stream with usage":          {llm.Chat, true, sse(chunk, stop, `{"choices":[],"usage":{}}`, "[DONE]"), nil},
		"chat stream with comments":       {llm.Chat, true, ": hi\n\n" + sse(chunk, stop, "[DONE]") + ":\n\n", nil},
		"chat stream without [DONE]":      {llm.Chat, true, sse(chunk, stop), nil},
		"chat stream without its end":     {llm.Chat, true, sse(chunk, "[DONE]"), llm.ErrIncomplete},
		"chat stream of only [DONE]":      {llm.Chat, true, sse("[DONE]"), llm.ErrIncomplete},
		"chat stream cut in [DONE]":       {llm.Chat, true, sse(chunk, stop) + "data: [DONE]\n", llm.ErrIncomplete},
		"chat stream with an error":       {llm.Chat, true, sse(chunk, `{"error":{"message":"x"}}`, "[DONE]"), llm.ErrFailed},
		"chat stream with an error event": {llm.Chat, true, sse(chunk) + "event: error\ndata: {}\n\n" + sse(stop, "[DONE]"), llm.ErrFailed},
		"chat stream that goes on":        {llm.Chat, true, sse(chunk, stop, "[DONE]", chunk), llm.ErrUnreadable},
		"chat stream, not JSON":           {llm.Chat, true, sse("x", "[DONE]"), llm.ErrUnreadable},
		"chat stream, filtered":           {llm.Chat, true, sse(`{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}`, "[DONE]"), llm.ErrFiltered},
		"chat stream with a call":         {llm.Chat, true, sse(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}`, stop, "[DONE]"), llm.ErrToolCalls},
		"chat stream, one of two ends":    {llm.Chat, true, sse(chunk, `{"choices":[{"index":1,"delta":{}}]}`, stop, "[DONE]"), llm.ErrIncomplete},
		"empty stream":                    {llm.Chat, true, "", llm.ErrIncomplete},
		"stream of something else":        {llm.Unknown, true, sse("{}"), llm.ErrUnreadable},
		"message stream":                  {llm.Messages, true, messageStream, nil},
		"message stream without stop":     {llm.Messages, true, strings.TrimSuffix(messageStream, typedOf(`{"type":"message_stop"}`)), nil},
		"message stream with an error":    {llm.Messages, true, typedOf(`{"type":"error","error":{}}`), llm.ErrFailed},
		"response stream":                 {llm.Responses, true, typedOf(`{"type":"response.output_text.delta","delta":"a"}`, `{"type":"response.completed","response":{"status":"completed","output":[]}}`), nil},
		"response stream that failed":     {llm.Responses, true, typedOf(`{"type":"response.failed","response":{}}`), llm.ErrFailed},
		"response stream, incomplete":     {llm.Responses, true, typedOf(`{"type":"response.incomplete","response":{}}`), llm.ErrIncomplete},
		"response stream without end":     {llm.Responses, true, typedOf(`{"type":"response.output_text.delta","delta":"a"}`), llm.ErrIncomplete},
	} {
		err := llm.Check(tt.api, tt.stream, []byte(tt.body), false)
		if tt.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, tt.want, name)
	}
	require.NoError(t, llm.Check(llm.Chat, false, []byte(`{"choices":[{"message":{"tool_calls":[{}]},"finish_reason":"tool_calls"}]}`), true))
}

var messageStream = typedOf(
	`{"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":1}}}`,
	`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}`,
	`{"type":"content_block_stop","index":0}`,
	`{"type":"ping"}`,
	`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`,
	`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hello"}}`,
	`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":", you"}}`,
	`{"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"cited_text":"x"}}}`,
	`{"type":"content_block_stop","index":1}`,
	`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}}`,
	`{"type":"message_stop"}`,
)

const messageJSON = `{"id":"m1","type":"message","role":"assistant","model":"claude","content":[
	{"type":"thinking","thinking":"Hm","signature":"sig"},{"type":"text","text":"Hello, you","citations":[{"cited_text":"x"}]}],
	"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":7}}`

const (
	chatJSON = `{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[
		{"index":0,"message":{"role":"assistant","content":"Hello, <you>"},"logprobs":null,"finish_reason":"stop"},
		{"index":1,"message":{"role":"assistant","content":null,"reasoning_content":"Hm","tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],
		"usage":{"total_tokens":9},"service_tier":"default"}`
	completionJSON = `{"id":"c1","object":"text_completion","created":1,"model":"m","choices":[
		{"index":0,"text":"Hello","logprobs":{"tokens":["Hel","lo"]},"finish_reason":"length"}],"usage":{"total_tokens":9}}`
)

var chatStream = sse(
	`{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"obfuscation":"x","usage":null}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hello"}}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":1,"delta":{"role":"assistant","reasoning_content":"Hm"}}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"f","arguments":""}}]}}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":0,"delta":{"content":", <you>"}},{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":1,"delta":{},"finish_reason":"tool_calls"}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[],"usage":{"total_tokens":9}}`,
	"[DONE]")

func TestToJSON(t *testing.T) {
	t.Parallel()
	completion := sse(
		`{"id":"c1","created":1,"model":"m","choices":[{"index":0,"text":"Hel","logprobs":{"tokens":["Hel"]},"finish_reason":null}]}`,
		`{"id":"c1","created":1,"model":"m","choices":[{"index":0,"text":"lo","logprobs":{"tokens":["lo"]},"finish_reason":"length"}]}`,
		`{"id":"c1","created":1,"model":"m","choices":[],"usage":{"total_tokens":9}}`, "[DONE]")
	for _, tt := range []struct {
		api          llm.API
		stream, json string
	}{
		{llm.Chat, chatStream, chatJSON},
		{llm.Chat, strings.ReplaceAll(chatStream, "\n", "\r\n"), chatJSON},
		{llm.Completions, completion, completionJSON},
		{llm.Messages, messageStream, messageJSON},
	} {
		got, err := llm.ToJSON(tt.api, []byte(tt.stream))
		require.NoError(t, err)
		assert.JSONEq(t, tt.json, string(got))
	}
}

// Converting a response to the other form and back yields the same.
func TestConvertRoundTrip(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("wörd ", 5000)
	for _, tt := range []struct {
		api  llm.API
		json string
	}{
		{llm.Chat, chatJSON},
		{llm.Completions, completionJSON},
		{llm.Messages, messageJSON},
		{llm.Chat, `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":` + string(quotedText(long)) + `},"logprobs":{"content":[{"token":"w"}]},"finish_reason":"stop"}]}`},
		{llm.Chat, `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},"logprobs":null,"finish_reason":"function_call","stop_reason":7}],"extra":{"a":[1]}}`},
		{llm.Messages, `{"id":"m","type":"message","role":"assistant","model":"c","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":[1,"` + long + `"]}},{"type":"redacted_thinking","data":"x"}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"output_tokens":1}}`},
	} {
		stream, err := llm.ToStream(tt.api, []byte(tt.json), true)
		require.NoError(t, err)
		require.NoError(t, llm.Check(tt.api, true, stream, true))
		for line := range strings.SplitSeq(string(stream), "\n") {
			require.Less(t, len(line), 16<<10)
		}
		back, err := llm.ToJSON(tt.api, stream)
		require.NoError(t, err)
		assert.JSONEq(t, tt.json, string(back))
	}
}

func quotedText(s string) []byte {
	b, _ := json.Marshal(s)
	return b
}

func TestUsageOnlyIfRequested(t *testing.T) {
	t.Parallel()
	got, err := llm.ToStream(llm.Chat, []byte(chatJSON), false)
	require.NoError(t, err)
	assert.NotContains(t, string(got), "total_tokens")
	want := strings.Replace(chatStream, sse(`{"id":"c1","created":1,"model":"m","choices":[],"usage":{"total_tokens":9}}`), "", 1)
	want = strings.ReplaceAll(want, `,"usage":null}`, "}") // part of the same chunk
	assert.Equal(t, want, string(llm.WithoutUsage([]byte(chatStream))))
	assert.Equal(t, want, string(llm.WithoutUsage([]byte(want))))
	for _, size := range []int{1, 2, 7, 100, 10_000} {
		for _, ends := range []string{"\n", "\r\n", "\r"} {
			in, out := strings.ReplaceAll(chatStream, "\n", ends), strings.ReplaceAll(want, "\n", ends)
			var u llm.Unusaged
			var b strings.Builder
			for rest := in; rest != ""; {
				n := min(size, len(rest))
				b.Write(u.Add([]byte(rest[:n])))
				rest = rest[n:]
			}
			b.Write(u.End())
			require.Equal(t, out, b.String(), "%d %q", size, ends)
		}
	}
}

func TestLongEventPasses(t *testing.T) {
	t.Parallel()
	var u llm.Unusaged
	long := "data: " + strings.Repeat("x", 2<<20)
	assert.Equal(t, long, string(u.Add([]byte(long))))
	assert.Equal(t, "more", string(u.Add([]byte("more"))))
	assert.Empty(t, u.End())
}

func TestNotConvertible(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		api  llm.API
		json string
	}{
		"audio":             {llm.Chat, `{"choices":[{"index":0,"message":{"role":"assistant","audio":{"data":"x"}},"finish_reason":"stop"}]}`},
		"an unknown block":  {llm.Messages, `{"type":"message","content":[{"type":"image"}]}`},
		"no end":            {llm.Chat, `{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":null}]}`},
		"no choices":        {llm.Chat, `{"choices":[]}`},
		"a number for text": {llm.Completions, `{"choices":[{"index":0,"text":7,"finish_reason":"stop"}]}`},
		"no object":         {llm.Messages, `null`},
		"another API":       {llm.Responses, `{}`},
	} {
		_, err := llm.ToStream(tt.api, []byte(tt.json), true)
		require.ErrorIs(t, err, llm.ErrForm, name)
	}
	for name, tt := range map[string]struct {
		api    llm.API
		stream string
	}{
		"an unknown delta":   {llm.Chat, sse(`{"choices":[{"index":0,"delta":{"audio":{}}}]}`, "[DONE]")},
		"nothing":            {llm.Chat, ""},
		"an index too high":  {llm.Chat, sse(`{"choices":[{"index":99999999,"delta":{}}]}`)},
		"a null choice":      {llm.Chat, sse(`{"choices":[null]}`)},
		"a block that isn't": {llm.Messages, typedOf(`{"type":"content_block_delta","index":3,"delta":{"type":"text_delta"}}`)},
		"an unknown event":   {llm.Messages, typedOf(`{"type":"surprise"}`)},
		"no beginning":       {llm.Messages, typedOf(`{"type":"message_stop"}`)},
		"a broken input":     {llm.Messages, typedOf(`{"type":"message_start","message":{}}`, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use"}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}`, `{"type":"message_stop"}`)},
		"another API":        {llm.Embeddings, ""},
	} {
		_, err := llm.ToJSON(tt.api, []byte(tt.stream))
		require.ErrorIs(t, err, llm.ErrForm, name)
	}
}

// FuzzToJSON: no stream causes a panic, and the JSON form of one can be streamed again.
func FuzzToJSON(f *testing.F) {
	for _, seed := range []string{chatStream, messageStream, sse(`{"choices":[{"index":0,"text":"a","finish_reason":"stop"}]}`, "[DONE]")} {
		f.Add(seed, false)
		f.Add(strings.ReplaceAll(seed, "\n", "\r"), true)
	}
	f.Fuzz(func(t *testing.T, stream string, messages bool) {
		api := llm.Chat
		if messages {
			api = llm.Messages
		}
		_ = llm.WithoutUsage([]byte(stream))
		whole := llm.Check(api, true, []byte(stream), true) == nil
		got, err := llm.ToJSON(api, []byte(stream))
		if err != nil {
			require.ErrorIs(t, err, llm.ErrForm)
			return
		}
		require.True(t, json.Valid(got), "%q", got)
		if !whole {
			return
		}
		if again, err := llm.ToStream(api, got, true); err == nil {
			back, err := llm.ToJSON(api, again)
			require.NoError(t, err, "%q", again)
			require.True(t, json.Valid(back))
		}
	})
}

func FuzzToStream(f *testing.F) {
	f.Add(chatJSON, false)
	f.Add(messageJSON, true)
	f.Fuzz(func(t *testing.T, body string, messages bool) {
		api := llm.Chat
		if messages {
			api = llm.Messages
		}
		_ = llm.Check(api, false, []byte(body), true)
		stream, err := llm.ToStream(api, []byte(body), true)
		if err != nil {
			require.ErrorIs(t, err, llm.ErrForm)
			return
		}
		_, err = llm.ToJSON(api, stream)
		if err != nil {
			require.ErrorIs(t, err, llm.ErrForm)
		}
	})
}
