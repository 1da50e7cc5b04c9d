package usage_test

import (
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/usage"
	"github.com/stretchr/testify/require"
)

func TestReadRequest(t *testing.T) {
	t.Parallel()
	data := strings.Repeat("iVBORw0KGgo/", 10_000)
	tests := []struct {
		name, body string
		want       usage.Request
	}{
		{
			"a chat", `{"model":"llama-3","stream":true,"temperature":0.5,"max_tokens":64,"n":2,"messages":[{"role":"user","content":"Hello"}]}`,
			usage.Request{Model: "llama-3", Stream: true, MaxOutput: 64, N: 2, InputBytes: 1 + 1 + 4 + 5 + 12},
		},
		{"a completion", `{"prompt":"Hello","best_of":3,"n":1}`, usage.Request{N: 3, InputBytes: 5}},
		{"prompts", `{"prompt":["Hello","you"]}`, usage.Request{N: 1, InputBytes: 8}},
		{"tokens", `{"prompt":[12,345]}`, usage.Request{N: 1, InputBytes: 5}},
		{"embeddings", `{"input":["Hello","you"]}`, usage.Request{N: 1, InputBytes: 8}},
		{"a response", `{"instructions":"Be","input":"Hello","max_output_tokens":7}`, usage.Request{N: 1, MaxOutput: 7, InputBytes: 7}},
		{"a message", `{"system":[{"type":"text","text":"Be"}],"max_tokens":7,"messages":[]}`, usage.Request{N: 1, MaxOutput: 7, InputBytes: 14}},
		{"tools", `{"tools":[{"function":{"name":"find"}}]}`, usage.Request{N: 1, InputBytes: 16}},
		{"escapes", `{"prompt":"\u00e9\n\"\\\/\u20AC"}`, usage.Request{N: 1, InputBytes: 2 + 1 + 1 + 1 + 1 + 3}},
		{"the largest of the limits", `{"max_tokens":9,"max_completion_tokens":11,"max_output_tokens":10}`, usage.Request{N: 1, MaxOutput: 11}},
		{"limits that are none", `{"max_tokens":-9,"max_completion_tokens":null,"n":0,"best_of":1e9}`, usage.Request{N: 1, InputBytes: 0}},
		{"escaped names", `{"\u006dodel":"a\u002Fb","max\u005ftokens":5}`, usage.Request{Model: "a/b", N: 1, MaxOutput: 5}},
		{"an escape is no letter", `{"\n":5,"\/n":6}`, usage.Request{N: 1, InputBytes: 2}},
		{"stream as a string", `{"stream":"true"}`, usage.Request{N: 1, InputBytes: 4}},
		{"a long model", `{"model":"` + strings.Repeat("x", 200) + `"}`, usage.Request{N: 1}},
		{"an empty object", ` {} `, usage.Request{N: 1}},
		{"an escape that is none", `{"prompt":"\u00zz\"}"}`, usage.Request{N: 1, InputBytes: 1 + 2}},
		{"no value", `{"prompt":,"model":"x"}`, usage.Request{N: 1, InputBytes: 23}},
		{"no JSON", `hello=world`, usage.Request{N: 1, InputBytes: 11}},
		{"JSON that breaks off", `{"model":"x","stream":true`, usage.Request{N: 1, InputBytes: 26}},
		{"an array", `["Hello"]`, usage.Request{N: 1, InputBytes: 9}},
		{"nothing", ``, usage.Request{N: 1}},

		{"an image", `{"messages":[{"content":[{"image_url":{"url":"data:image/png;base64,` + data + `"}}]}]}`, usage.Request{N: 1, InputBytes: 4012}},
		{"an image by URL", `{"messages":[{"content":[{"image_url":{"url":"https://example.com/a.png"}}]}]}`, usage.Request{N: 1, InputBytes: 4012}},
		{"an image of a response", `{"input":[{"content":[{"image_url":"data:image/png;base64,` + data + `"}]}]}`, usage.Request{N: 1, InputBytes: 4012}},
		{"an image that a tool made", `{"input":[{"output":{"image_url":"data:image/png;base64,` + data + `"}}]}`, usage.Request{N: 1, InputBytes: 4012}},
		{"sound", `{"messages":[{"content":[{"input_audio":{"data":"` + data + `","format":"wav"}}]}]}`, usage.Request{N: 1, InputBytes: 4015}},
		{"a file", `{"messages":[{"content":[{"file":{"file_data":"` + data + `"}}]}]}`, usage.Request{N: 1, InputBytes: 4012}},
		{"with slashes escaped", `{"messages":[{"content":[{"file":{"file_data":"` + strings.ReplaceAll(data, "/", `\/`) + `"}}]}]}`, usage.Request{N: 1, InputBytes: 4012}},
		{"a source", `{"messages":[{"content":[{"source":{"type":"base64","data":"` + data + `"}}]}]}`, usage.Request{N: 1, InputBytes: 4012}},
		{"a source, type last", `{"messages":[{"content":[{"source":{"data":"` + data + `","type":"base64"}}]}]}`, usage.Request{N: 1, InputBytes: 4012}},
		{"a source in the result of a tool", `{"messages":[{"content":[{"content":[{"source":{"data":"` + data + `"}}]}]}]}`, usage.Request{N: 1, InputBytes: 4012}},
		{"a source of parts", `{"messages":[{"content":[{"source":{"type":"content","content":[{"source":{"data":"x"}},{"text":"Hello"}]}}]}]}`, usage.Request{N: 1, InputBytes: 4017}},
		{"a source by URL", `{"messages":[{"content":[{"source":{"type":"url","url":"https://x"}}]}]}`, usage.Request{N: 1, InputBytes: 4012}},
		{"a source without data", `{"messages":[{"content":[{"source":{"type":"file","file_id":"abc"}}]}]}`, usage.Request{N: 1, InputBytes: 15}},
		{"a source of text", `{"messages":[{"content":[{"source":{"type":"text","data":"Hello"}},{"source":{"data":"x"}}]}]}`, usage.Request{N: 1, InputBytes: 4017}},

		{"text that looks like data", `{"prompt":"data:image/png;base64,` + data + `"}`, usage.Request{N: 1, InputBytes: 120_022}},
		{"content that looks like data", `{"messages":[{"content":"data:image/png;base64,` + data + `"}]}`, usage.Request{N: 1, InputBytes: 120_034}},
		{"arguments that look like data", `{"messages":[{"tool_calls":[{"url":"data:,` + data + `"}]}]}`, usage.Request{N: 1, InputBytes: 120_000 + 3 + 6 + 12}},
		{"data too deep to be looked for", `{"messages":[{"content":` + strings.Repeat(`{"content":`, 20) + `"` + data + `"` + strings.Repeat(`}`, 20) + `}]}`, usage.Request{N: 1, InputBytes: 120_000 + 12 + 7*7}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, usage.ReadRequest([]byte(tt.body)))
		})
	}
}
