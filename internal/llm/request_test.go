package llm_test

import (
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/require"
)

func TestReadRequest(t *testing.T) {
	t.Parallel()
	data := strings.Repeat("iVBORw0KGgo/", 10_000)
	tests := []struct {
		name, body string
		want       llm.Request
	}{
		{
			"a chat", `{"model":"llama-3","stream":true,"temperature":0.5,"max_tokens":64,"n":2,"messages":[{"role":"user","content":"Hello"}]}`,
			llm.Request{Model: "llama-3", Stream: true, MaxOutput: 64, N: 2, InputBytes: 5 + 12},
		},
		{"a completion", `{"prompt":"Hello","best_of":3,"n":1}`, llm.Request{N: 3, InputBytes: 5}},
		{"prompts", `{"prompt":["Hello","you"]}`, llm.Request{N: 1, InputBytes: 8}},
		{"tokens", `{"prompt":[12,345]}`, llm.Request{N: 1, InputBytes: 5}},
		{"embeddings", `{"input":["Hello","you"]}`, llm.Request{N: 1, InputBytes: 8}},
		{"a response", `{"instructions":"Be","input":"Hello","max_output_tokens":7}`, llm.Request{N: 1, MaxOutput: 7, InputBytes: 7}},
		{"a message", `{"system":[{"type":"text","text":"Be"}],"max_tokens":7,"messages":[]}`, llm.Request{N: 1, MaxOutput: 7, InputBytes: 2}},
		{"tools", `{"tools":[{"function":{"name":"find"}}]}`, llm.Request{N: 1, InputBytes: 16}},
		{"escapes", `{"prompt":"\u00e9\n\"\\\/\u20AC"}`, llm.Request{N: 1, InputBytes: 2 + 1 + 1 + 1 + 1 + 3}},
		{"the largest of the limits", `{"max_tokens":9,"max_completion_tokens":11,"max_output_tokens":10}`, llm.Request{N: 1, MaxOutput: 11}},
		{"limits that are none", `{"max_tokens":-9,"max_completion_tokens":null,"n":0,"best_of":1e9}`, llm.Request{N: 1, InputBytes: 0}},
		{"escaped names", `{"\u006dodel":"a\u002Fb","max\u005ftokens":5}`, llm.Request{Model: "a/b", N: 1, MaxOutput: 5}},
		{"an escape is no letter", `{"\n":5,"\/n":6}`, llm.Request{N: 1, InputBytes: 16}},
		{"stream as a string", `{"stream":"true"}`, llm.Request{N: 1}},
		{"a long model", `{"model":"` + strings.Repeat("x", 200) + `"}`, llm.Request{Model: strings.Repeat("x", 200), N: 1}},
		{"an empty object", ` {} `, llm.Request{N: 1}},
		{"an escape that is none", `{"prompt":"\u00zz\"}"}`, llm.Request{N: 1, InputBytes: 1 + 2}},
		{"no value", `{"prompt":,"model":"x"}`, llm.Request{N: 1, InputBytes: 23}},
		{"no JSON", `hello=world`, llm.Request{N: 1, InputBytes: 11}},
		{"JSON that breaks off", `{"model":"x","stream":true`, llm.Request{N: 1, InputBytes: 26}},
		{"an array", `["Hello"]`, llm.Request{N: 1, InputBytes: 9}},
		{"nothing", ``, llm.Request{N: 1}},

		{"an image", `{"messages":[{"content":[{"image_url":{"url":"data:image/png;base64,` + data + `"}}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"an image by URL", `{"messages":[{"content":[{"image_url":{"url":"https://example.com/a.png"}}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"an image of a response", `{"input":[{"content":[{"image_url":"data:image/png;base64,` + data + `"}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"an image that a tool made", `{"input":[{"output":{"image_url":"data:image/png;base64,` + data + `"}}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"sound", `{"messages":[{"content":[{"input_audio":{"data":"` + data + `","format":"wav"}}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"a file", `{"messages":[{"content":[{"file":{"file_data":"` + data + `"}}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"with slashes escaped", `{"messages":[{"content":[{"file":{"file_data":"` + strings.ReplaceAll(data, "/", `\/`) + `"}}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"a source", `{"messages":[{"content":[{"source":{"type":"base64","data":"` + data + `"}}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"a source, type last", `{"messages":[{"content":[{"source":{"data":"` + data + `","type":"base64"}}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"a source in the result of a tool", `{"messages":[{"content":[{"content":[{"source":{"data":"` + data + `"}}]}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"a source of parts", `{"messages":[{"content":[{"source":{"type":"content","content":[{"source":{"data":"x"}},{"text":"Hello"}]}}]}]}`, llm.Request{N: 1, InputBytes: 4017}},
		{"a source by URL", `{"messages":[{"content":[{"source":{"type":"url","url":"https://x"}}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"a source without data", `{"messages":[{"content":[{"source":{"type":"file","file_id":"abc"}}]}]}`, llm.Request{N: 1, InputBytes: 4012}},
		{"a source of text", `{"messages":[{"content":[{"source":{"type":"text","data":"Hello"}},{"source":{"data":"x"}}]}]}`, llm.Request{N: 1, InputBytes: 4017}},

		{"text that looks like data", `{"prompt":"data:image/png;base64,` + data + `"}`, llm.Request{N: 1, InputBytes: 120_022}},
		{"content that looks like data", `{"messages":[{"content":"data:image/png;base64,` + data + `"}]}`, llm.Request{N: 1, InputBytes: 120_034}},
		{"arguments that look like data", `{"messages":[{"tool_calls":[{"url":"data:,` + data + `"}]}]}`, llm.Request{N: 1, InputBytes: 120_000 + 3 + 6 + 12}},
		{"data too deep to be looked for", `{"messages":[{"content":` + strings.Repeat(`{"content":`, 20) + `"` + data + `"` + strings.Repeat(`}`, 20) + `}]}`, llm.Request{N: 1, InputBytes: 120_000 + 12 + 7*7}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, figures(readBody([]byte(tt.body))))
		})
	}
}

const (
	image  = `{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}`
	schema = `{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object"}}}`
	tool   = `{"type":"function","function":{"name":"find","parameters":{"type":"object"}}}`
)

// Required capabilities of the model, whatever the order of the members.
func TestReadRequestNeeds(t *testing.T) {
	t.Parallel()
	part := func(s string) string {
		return `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"Hi"},` + s + `]}]}`
	}
	item := func(s string) string { return `{"input":[{"role":"user","content":[` + s + `]}]}` }
	tests := []struct{ name, body, want string }{
		{"nothing", `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, ""},
		{"tools", `{"tools":[` + tool + `],"messages":[]}`, "tools"},
		{"tools last", `{"messages":[{"content":"Hi"}],"tools":[` + tool + `]}`, "tools"},
		{"tools by escape", `{"too\u006cs":[` + tool + `]}`, "tools"},
		{"functions", `{"functions":[{"name":"f"}]}`, "tools"},
		{"Anthropic's tools", `{"tools":[{"name":"f","input_schema":{"type":"object"}}],"max_tokens":9}`, "tools"},
		{"no tools", `{"tools":[],"functions":null}`, ""},
		{"tools that are none", `{"tools":"all","functions":{"name":"f"}}`, ""},
		{"tools elsewhere", `{"metadata":{"tools":[1,"a"]},"messages":[{"tools":["a"],"content":[{"tools":["a"]}]}]}`, ""},
		{"calls of before", `{"messages":[{"tool_calls":[` + tool + `]},{"role":"tool","content":"ok"}]}`, ""},

		{"schema", `{"response_format":` + schema + `}`, "schema"},
		{"schema, type last", `{"response_format":{"json_schema":{"type":"object"},"type":"json_schema"}}`, "schema"},
		{"schema of a response", `{"text":{"verbosity":"low","format":{"name":"a","type":"json_schema"}},"input":"Hi"}`, "schema"},
		{"schema of a message", `{"output_format":` + schema + `,"x":1}`, "schema"},
		{"schema of a message's output", `{"output_config":{"effort":"low","format":` + schema + `}}`, "schema"},
		{"vLLM's schema", `{"guided_json":{"type":"object"}}`, "schema"},
		{"vLLM's schema as text", `{"guided_json":"{\"type\":\"object\"}"}`, "schema"},
		{"vLLM's structured outputs", `{"structured_outputs":{"json":{"type":"object"}}}`, "schema"},
		{"other structured outputs", `{"structured_outputs":{"choice":["json","b"],"json":null},"guided_json":null}`, ""},
		{"other formats", `{"response_format":{"type":"json_object"},"text":{"format":{"type":"text"}}}`, ""},
		{"formats that are none", `{"response_format":"json_schema","text":"json_schema","output_format":["json_schema"]}`, ""},
		{"a format too deep", `{"response_format":{"x":` + schema + `},"text":{"type":"json_schema","x":{"format":` + schema + `}}}`, ""},

		{"image", part(image), "vision"},
		{"image, type last", part(`{"image_url":{"detail":"low","url":"https://x/a.png"},"type":"image_url"}`), "vision"},
		{"image without type", part(`{"image_url":"https://x/a.png"}`), "vision"},
		{"image of a response", item(`{"type":"input_image","image_url":"https://x/a.png"}`), "vision"},
		{"image that was uploaded", item(`{"file_id":"file-1","type":"input_image"}`), "vision"},
		{"Anthropic's image", part(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}`), "vision"},
		{"Anthropic's image, type last", part(`{"source":{"url":"https://x","type":"url"},"type":"image"}`), "vision"},
		{"image in the result of a tool", part(`{"type":"tool_result","content":[{"type":"image","source":{"type":"file","file_id":"a"}}]}`), "vision"},
		{"screenshot", `{"input":[{"type":"computer_call_output","output":{"type":"computer_screenshot","image_url":"https://x"}}]}`, "vision"},
		{"no image", part(`{"type":"text","image_url":null}`), ""},
		{"sound", part(`{"type":"input_audio","input_audio":{"data":"aGk=","format":"wav"}}`), ""},
		{"film", part(`{"type":"video_url","video_url":{"url":"data:video/mp4;base64,aGk="}}`), ""},
		{"file", part(`{"type":"file","file":{"file_data":"data:application/pdf;base64,aGk="}}`), ""},
		{"document", part(`{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"aGk="}}`), ""},
		{"arguments that look like an image", part(`{"type":"tool_use","input":{"content":[` + image + `],"type":"image"}}`), ""},
		{"image elsewhere", `{"metadata":{"content":[` + image + `]},"prompt":[` + image + `],"tools":[]}`, ""},

		{"usage", `{"stream":true,"stream_options":{"include_usage":true}}`, "usage"},
		{"usage first", `{"stream_options":{"x":[1],"include_usage" : true },"stream":true}`, "usage"},
		{"no usage", `{"stream_options":{"include_usage":false}}`, ""},
		{"usage as a text", `{"stream_options":{"include_usage":"true"}}`, ""},
		{"usage that is taken back", `{"stream_options":{"include_usage":true,"include_usage":false}}`, ""},
		{"usage elsewhere", `{"include_usage":true,"stream_options":[{"include_usage":true}],"x":{"include_usage":true}}`, ""},

		{"all", `{"tools":[` + tool + `],"response_format":` + schema + `,"stream_options":{"include_usage":true},"messages":[{"content":[` + image + `]}]}`, "tools schema vision usage"},
		{"texts that look like it", `{"messages":[{"content":"{\"tools\":[1],\"type\":\"image\"}"},{"content":[{"type":"text","text":"image"}]}],"prompt":"\"response_format\":{\"type\":\"json_schema\"}"}`, ""},
		{"cut off", `{"tools":[` + tool + `],"messages":[`, "unknown"},
		{"an array", `[` + tool + `]`, "unknown"},
		{"no JSON", `tools=1`, "unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, needs(readBody([]byte(tt.body))))
		})
	}
}

// needs formats the capabilities that a request needs.
func needs(r *llm.Request) string {
	var out []string
	for _, n := range []struct {
		has  bool
		name string
	}{{!r.JSON, "unknown"}, {r.Tools, "tools"}, {r.Schema, "schema"}, {r.Vision, "vision"}, {r.IncludeUsage, "usage"}} {
		if n.has {
			out = append(out, n.name)
		}
	}
	return strings.Join(out, " ")
}

// figures returns the token counts of a request.
func figures(r *llm.Request) llm.Request {
	return llm.Request{Model: r.Model, Stream: r.Stream, MaxOutput: r.MaxOutput, N: r.N, InputBytes: r.InputBytes}
}

// readBody reads a JSON body of an unknown API.
func readBody(body []byte) *llm.Request {
	return llm.ReadRequest(llm.Head{ContentType: jsonType}, body)
}
