package answer_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/cache/internal/answer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// data writes events of the default type.
func data(all ...string) string {
	var b strings.Builder
	for _, one := range all {
		b.WriteString("data: " + one + "\n\n")
	}
	return b.String()
}

// named writes events whose name is their type.
func named(all ...string) string {
	var b strings.Builder
	for _, one := range all {
		var e struct{ Type string }
		_ = json.Unmarshal([]byte(one), &e)
		b.WriteString("event: " + e.Type + "\ndata: " + one + "\n\n")
	}
	return b.String()
}

const done = "[DONE]"

func TestOf(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]answer.API{
		"/v1/chat/completions": answer.Chat, "/api/v1/chat/completions/": answer.Chat, "/v1/completions": answer.Completion,
		"/v1/embeddings": answer.Embedding, "/v1/responses": answer.Responses, "/v1/messages": answer.Messages,
		"/v1/messages/count_tokens": answer.Other, "/v1/rerank": answer.Other, "": answer.Other,
	} {
		assert.Equal(t, want, answer.Of(path), path)
	}
	assert.True(t, answer.Chat.Converts())
	assert.False(t, answer.Responses.Converts())
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const (
		chunk = `{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`
		stop  = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	)
	for name, tt := range map[string]struct {
		api    answer.API
		stream bool
		body   string
		want   error
	}{
		"chat":                            {answer.Chat, false, `{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}`, nil},
		"chat cut by max_tokens":          {answer.Chat, false, `{"choices":[{"message":{"content":"a"},"finish_reason":"length"}]}`, nil},
		"chat with an end of two":         {answer.Chat, false, `{"choices":[{"finish_reason":"stop"},{"finish_reason":null}]}`, answer.ErrIncomplete},
		"chat without choices":            {answer.Chat, false, `{"choices":[]}`, answer.ErrIncomplete},
		"chat that is an error":           {answer.Chat, false, `{"error":{"message":"x"}}`, answer.ErrFailed},
		"chat that was filtered":          {answer.Chat, false, `{"choices":[{"finish_reason":"content_filter"}]}`, answer.ErrFiltered},
		"chat that was refused":           {answer.Chat, false, `{"choices":[{"message":{"refusal":"no"},"finish_reason":"stop"}]}`, answer.ErrFiltered},
		"chat that was aborted":           {answer.Chat, false, `{"choices":[{"finish_reason":"abort"}]}`, answer.ErrIncomplete},
		"chat that calls a tool":          {answer.Chat, false, `{"choices":[{"message":{"tool_calls":[{}]},"finish_reason":"tool_calls"}]}`, answer.ErrToolCalls},
		"chat with a call and stop":       {answer.Chat, false, `{"choices":[{"message":{"tool_calls":[{}]},"finish_reason":"stop"}]}`, answer.ErrToolCalls},
		"chat with no tool calls":         {answer.Chat, false, `{"choices":[{"message":{"tool_calls":[]},"finish_reason":"stop"}]}`, nil},
		"half a chat":                     {answer.Chat, false, `{"choices":[{"finish_reason":"stop"}`, answer.ErrIncomplete},
		"no chat":                         {answer.Chat, false, `{"choices":7}`, answer.ErrUnreadable},
		"completion":                      {answer.Completion, false, `{"choices":[{"text":"a","finish_reason":"stop"}]}`, nil},
		"embedding":                       {answer.Embedding, false, `{"data":[{"embedding":[0.1]}]}`, nil},
		"embedding of nothing":            {answer.Embedding, false, `{"data":[]}`, answer.ErrIncomplete},
		"something else":                  {answer.Other, false, `{"results":[1]}`, nil},
		"a list":                          {answer.Other, false, `[1]`, nil},
		"something else that is an error": {answer.Other, false, `{"error":"x"}`, answer.ErrFailed},
		"something else, cut":             {answer.Other, false, `{"results":[1`, answer.ErrIncomplete},
		"response":                        {answer.Responses, false, `{"status":"completed","error":null,"output":[{"type":"reasoning"},{"type":"message","content":[{"type":"output_text"}]}]}`, nil},
		"response that is incomplete":     {answer.Responses, false, `{"status":"incomplete"}`, answer.ErrIncomplete},
		"response that was refused":       {answer.Responses, false, `{"status":"completed","output":[{"type":"message","content":[{"type":"refusal"}]}]}`, answer.ErrFiltered},
		"response that calls":             {answer.Responses, false, `{"status":"completed","output":[{"type":"function_call"}]}`, answer.ErrToolCalls},
		"response with a search":          {answer.Responses, false, `{"status":"completed","output":[{"type":"web_search_call"}]}`, answer.ErrToolCalls},
		"message":                         {answer.Messages, false, `{"type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn"}`, nil},
		"message that was refused":        {answer.Messages, false, `{"type":"message","content":[],"stop_reason":"refusal"}`, answer.ErrFiltered},
		"message that calls":              {answer.Messages, false, `{"type":"message","content":[{"type":"tool_use"}],"stop_reason":"tool_use"}`, answer.ErrToolCalls},
		"message that pauses":             {answer.Messages, false, `{"type":"message","content":[],"stop_reason":"pause_turn"}`, answer.ErrIncomplete},
		"message that is an error":        {answer.Messages, false, `{"type":"error","error":{}}`, answer.ErrFailed},
		"no message":                      {answer.Messages, false, `{"choices":[]}`, answer.ErrUnreadable},

		"chat stream":                     {answer.Chat, true, data(chunk, stop, done), nil},
		"chat stream with usage":          {answer.Chat, true, data(chunk, stop, `{"choices":[],"usage":{}}`, done), nil},
		"chat stream with comments":       {answer.Chat, true, ": hi\n\n" + data(chunk, stop, done) + ":\n\n", nil},
		"chat stream without [DONE]":      {answer.Chat, true, data(chunk, stop), answer.ErrIncomplete},
		"chat stream without its end":     {answer.Chat, true, data(chunk, done), answer.ErrIncomplete},
		"chat stream of only [DONE]":      {answer.Chat, true, data(done), answer.ErrIncomplete},
		"chat stream cut in [DONE]":       {answer.Chat, true, data(chunk, stop) + "data: [DONE]\n", answer.ErrIncomplete},
		"chat stream with an error":       {answer.Chat, true, data(chunk, `{"error":{"message":"x"}}`, done), answer.ErrFailed},
		"chat stream with an error event": {answer.Chat, true, data(chunk) + "event: error\ndata: {}\n\n" + data(stop, done), answer.ErrFailed},
		"chat stream that goes on":        {answer.Chat, true, data(chunk, stop, done, chunk), answer.ErrUnreadable},
		"chat stream, not JSON":           {answer.Chat, true, data("x", done), answer.ErrUnreadable},
		"chat stream, filtered":           {answer.Chat, true, data(`{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}`, done), answer.ErrFiltered},
		"chat stream with a call":         {answer.Chat, true, data(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}`, stop, done), answer.ErrToolCalls},
		"chat stream, one of two ends":    {answer.Chat, true, data(chunk, `{"choices":[{"index":1,"delta":{}}]}`, stop, done), answer.ErrIncomplete},
		"empty stream":                    {answer.Chat, true, "", answer.ErrIncomplete},
		"stream of something else":        {answer.Other, true, data("{}"), answer.ErrUnreadable},
		"message stream":                  {answer.Messages, true, messageStream, nil},
		"message stream without stop":     {answer.Messages, true, strings.TrimSuffix(messageStream, named(`{"type":"message_stop"}`)), answer.ErrIncomplete},
		"message stream with an error":    {answer.Messages, true, named(`{"type":"error","error":{}}`), answer.ErrFailed},
		"response stream":                 {answer.Responses, true, named(`{"type":"response.output_text.delta","delta":"a"}`, `{"type":"response.completed","response":{"status":"completed","output":[]}}`), nil},
		"response stream that failed":     {answer.Responses, true, named(`{"type":"response.failed","response":{}}`), answer.ErrFailed},
		"response stream, incomplete":     {answer.Responses, true, named(`{"type":"response.incomplete","response":{}}`), answer.ErrIncomplete},
		"response stream without end":     {answer.Responses, true, named(`{"type":"response.output_text.delta","delta":"a"}`), answer.ErrIncomplete},
	} {
		err := answer.Check(tt.api, tt.stream, []byte(tt.body), false)
		if tt.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, tt.want, name)
	}
	require.NoError(t, answer.Check(answer.Chat, false, []byte(`{"choices":[{"message":{"tool_calls":[{}]},"finish_reason":"tool_calls"}]}`), true))
}

var messageStream = named(
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

var chatStream = data(
	`{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"obfuscation":"x","usage":null}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hello"}}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":1,"delta":{"role":"assistant","reasoning_content":"Hm"}}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"f","arguments":""}}]}}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":0,"delta":{"content":", <you>"}},{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[{"index":1,"delta":{},"finish_reason":"tool_calls"}]}`,
	`{"id":"c1","created":1,"model":"m","choices":[],"usage":{"total_tokens":9}}`,
	done)

func TestAStreamAsJSON(t *testing.T) {
	t.Parallel()
	completion := data(
		`{"id":"c1","created":1,"model":"m","choices":[{"index":0,"text":"Hel","logprobs":{"tokens":["Hel"]},"finish_reason":null}]}`,
		`{"id":"c1","created":1,"model":"m","choices":[{"index":0,"text":"lo","logprobs":{"tokens":["lo"]},"finish_reason":"length"}]}`,
		`{"id":"c1","created":1,"model":"m","choices":[],"usage":{"total_tokens":9}}`, done)
	for _, tt := range []struct {
		api          answer.API
		stream, json string
	}{
		{answer.Chat, chatStream, chatJSON},
		{answer.Chat, strings.ReplaceAll(chatStream, "\n", "\r\n"), chatJSON},
		{answer.Completion, completion, completionJSON},
		{answer.Messages, messageStream, messageJSON},
	} {
		got, err := answer.ToJSON(tt.api, []byte(tt.stream))
		require.NoError(t, err)
		assert.JSONEq(t, tt.json, string(got))
	}
}

// What is said in the other form and back is the same.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("wörd ", 5000)
	for _, tt := range []struct {
		api  answer.API
		json string
	}{
		{answer.Chat, chatJSON},
		{answer.Completion, completionJSON},
		{answer.Messages, messageJSON},
		{answer.Chat, `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":` + string(quoted(long)) + `},"logprobs":{"content":[{"token":"w"}]},"finish_reason":"stop"}]}`},
		{answer.Chat, `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},"logprobs":null,"finish_reason":"function_call","stop_reason":7}],"extra":{"a":[1]}}`},
		{answer.Messages, `{"id":"m","type":"message","role":"assistant","model":"c","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":[1,"` + long + `"]}},{"type":"redacted_thinking","data":"x"}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"output_tokens":1}}`},
	} {
		stream, err := answer.ToStream(tt.api, []byte(tt.json), true)
		require.NoError(t, err)
		require.NoError(t, answer.Check(tt.api, true, stream, true))
		for line := range strings.SplitSeq(string(stream), "\n") {
			require.Less(t, len(line), 16<<10)
		}
		back, err := answer.ToJSON(tt.api, stream)
		require.NoError(t, err)
		assert.JSONEq(t, tt.json, string(back))
	}
}

func quoted(s string) []byte {
	b, _ := json.Marshal(s)
	return b
}

func TestUsageOnlyIfAsked(t *testing.T) {
	t.Parallel()
	got, err := answer.ToStream(answer.Chat, []byte(chatJSON), false)
	require.NoError(t, err)
	assert.NotContains(t, string(got), "total_tokens")
	want := strings.Replace(chatStream, data(`{"id":"c1","created":1,"model":"m","choices":[],"usage":{"total_tokens":9}}`), "", 1)
	assert.Equal(t, want, string(answer.WithoutUsage([]byte(chatStream))))
	assert.Equal(t, want, string(answer.WithoutUsage([]byte(want))))
	for _, size := range []int{1, 2, 7, 100, 10_000} {
		for _, ends := range []string{"\n", "\r\n", "\r"} {
			in, out := strings.ReplaceAll(chatStream, "\n", ends), strings.ReplaceAll(want, "\n", ends)
			var u answer.Unusaged
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

func TestAnEventThatIsTooLongIsPassedOn(t *testing.T) {
	t.Parallel()
	var u answer.Unusaged
	long := "data: " + strings.Repeat("x", 2<<20)
	assert.Equal(t, long, string(u.Add([]byte(long))))
	assert.Equal(t, "more", string(u.Add([]byte("more"))))
	assert.Empty(t, u.End())
}

func TestWithoutOtherForm(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		api  answer.API
		json string
	}{
		"audio":             {answer.Chat, `{"choices":[{"index":0,"message":{"role":"assistant","audio":{"data":"x"}},"finish_reason":"stop"}]}`},
		"an unknown block":  {answer.Messages, `{"type":"message","content":[{"type":"image"}]}`},
		"no end":            {answer.Chat, `{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":null}]}`},
		"no choices":        {answer.Chat, `{"choices":[]}`},
		"a number for text": {answer.Completion, `{"choices":[{"index":0,"text":7,"finish_reason":"stop"}]}`},
		"no object":         {answer.Messages, `null`},
		"another API":       {answer.Responses, `{}`},
	} {
		_, err := answer.ToStream(tt.api, []byte(tt.json), true)
		require.ErrorIs(t, err, answer.ErrForm, name)
	}
	for name, tt := range map[string]struct {
		api    answer.API
		stream string
	}{
		"an unknown delta":   {answer.Chat, data(`{"choices":[{"index":0,"delta":{"audio":{}}}]}`, done)},
		"nothing":            {answer.Chat, ""},
		"an index too high":  {answer.Chat, data(`{"choices":[{"index":99999999,"delta":{}}]}`)},
		"a null choice":      {answer.Chat, data(`{"choices":[null]}`)},
		"a block that isn't": {answer.Messages, named(`{"type":"content_block_delta","index":3,"delta":{"type":"text_delta"}}`)},
		"an unknown event":   {answer.Messages, named(`{"type":"surprise"}`)},
		"no beginning":       {answer.Messages, named(`{"type":"message_stop"}`)},
		"a broken input":     {answer.Messages, named(`{"type":"message_start","message":{}}`, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use"}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}`, `{"type":"message_stop"}`)},
		"another API":        {answer.Embedding, ""},
	} {
		_, err := answer.ToJSON(tt.api, []byte(tt.stream))
		require.ErrorIs(t, err, answer.ErrForm, name)
	}
}

// FuzzToJSON: whatever a stream is, nothing breaks; and what has a JSON form is JSON
// that can be streamed again.
func FuzzToJSON(f *testing.F) {
	for _, seed := range []string{chatStream, messageStream, data(`{"choices":[{"index":0,"text":"a","finish_reason":"stop"}]}`, done)} {
		f.Add(seed, false)
		f.Add(strings.ReplaceAll(seed, "\n", "\r"), true)
	}
	f.Fuzz(func(t *testing.T, stream string, messages bool) {
		api := answer.Chat
		if messages {
			api = answer.Messages
		}
		_ = answer.WithoutUsage([]byte(stream))
		whole := answer.Check(api, true, []byte(stream), true) == nil
		got, err := answer.ToJSON(api, []byte(stream))
		if err != nil {
			require.ErrorIs(t, err, answer.ErrForm)
			return
		}
		require.True(t, json.Valid(got), "%q", got)
		if !whole {
			return
		}
		if again, err := answer.ToStream(api, got, true); err == nil {
			back, err := answer.ToJSON(api, again)
			require.NoError(t, err, "%q", again)
			require.True(t, json.Valid(back))
		}
	})
}

func FuzzToStream(f *testing.F) {
	f.Add(chatJSON, false)
	f.Add(messageJSON, true)
	f.Fuzz(func(t *testing.T, body string, messages bool) {
		api := answer.Chat
		if messages {
			api = answer.Messages
		}
		_ = answer.Check(api, false, []byte(body), true)
		stream, err := answer.ToStream(api, []byte(body), true)
		if err != nil {
			require.ErrorIs(t, err, answer.ErrForm)
			return
		}
		_, err = answer.ToJSON(api, stream)
		if err != nil {
			require.ErrorIs(t, err, answer.ErrForm)
		}
	})
}
