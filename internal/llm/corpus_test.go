package llm_test

import (
	"strings"

	"github.com/ginfer/ginfer/internal/llm"
)

const (
	jsonType   = "application/json"
	streamType = "text/event-stream; charset=utf-8"
)

// exchange is a response as a server sends it, and what is found in it.
type exchange struct {
	name, contentType, body string
	api                     llm.API

	want      llm.Usage
	delivered int64
	events    int64
	unended   bool
	failed    bool
}

// sse writes events with these data.
func sse(data ...string) string {
	return "data: " + strings.Join(data, "\n\ndata: ") + "\n\n"
}

// typed writes events named after their type, such as Anthropic's and those of the
// Responses API.
func typed(data ...string) string {
	var b strings.Builder
	for _, d := range data {
		kind, _, _ := strings.Cut(strings.TrimPrefix(d, `{"type":"`), `"`)
		b.WriteString("event: " + kind + "\ndata: " + d + "\n\n")
	}
	return b.String()
}

// chunk is a chunk of a chat with the given members of delta and, after the choices, of
// itself.
func chunk(delta, more string) string {
	return `{"id":"chatcmpl-9f","object":"chat.completion.chunk","created":1721075653,"model":"llama-3","system_fingerprint":"fp_1",` +
		`"choices":[{"index":0,"delta":{` + delta + `},"logprobs":null,"finish_reason":null}]` + more + `}`
}

func lastChunk(usage string) string {
	return `{"id":"chatcmpl-9f","object":"chat.completion.chunk","created":1721075653,"model":"llama-3","choices":[],"usage":` + usage + `}`
}

const chatUsage = `{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,` +
	`"prompt_tokens_details":{"cached_tokens":16,"audio_tokens":0},` +
	`"completion_tokens_details":{"reasoning_tokens":4,"audio_tokens":0,"accepted_prediction_tokens":0}}`

var chatWant = llm.Usage{Input: 19, Output: 10, Cached: 16, Reasoning: 4}

const messageStart = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],` +
	`"stop_reason":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":7,"cache_read_input_tokens":100,"output_tokens":1}}}`

const completed = `"response":{"id":"resp_1","object":"response","status":"completed","error":null,` +
	`"output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]}],` +
	`"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":12},"output_tokens":87,` +
	`"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}}`

func corpus() []exchange {
	all := append(bodies(), streams()...)
	for i, e := range all {
		for _, of := range []struct {
			start string
			api   llm.API
		}{{"chat", llm.Chat}, {"completion", llm.Completions}, {"embeddings", llm.Embeddings}, {"response", llm.Responses}, {"message", llm.Messages}} {
			if strings.HasPrefix(e.name, of.start) {
				all[i].api = of.api
			}
		}
	}
	return all
}

func bodies() []exchange {
	return []exchange{
		{
			name: "chat", contentType: jsonType,
			body: `{"id":"chatcmpl-9f","object":"chat.completion","created":1721075653,"model":"llama-3",` +
				`"choices":[{"index":0,"message":{"role":"assistant","content":"Hello! How can I help?"},"logprobs":null,"finish_reason":"stop"}],` +
				`"usage":` + chatUsage + `}`,
			want: chatWant, delivered: 6, events: 1,
		},
		{
			name: "chat, usage first, tools, with byte order mark and spaces", contentType: "Application/JSON; charset=utf-8",
			body: "\ufeff\n{ \"usage\" : " + chatUsage + " ,\r\n\t\"choices\": [ {\"message\": {\"content\":null, \"reasoning_content\":\"think\", \"tool_calls\": [" +
				`{"id":"call_1","type":"function","function":{"name":"find","arguments":"{\"usage\":{\"completion_tokens\":0}}"}} ] } } ] } ` + "\n",
			want: chatWant, delivered: 11, events: 1,
		},
		{
			name: "completion", contentType: jsonType,
			body: `{"object":"text_completion","choices":[{"text":"one","index":0},{"text":"\u00e9\n\"","index":1}],` +
				`"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`,
			want: llm.Usage{Input: 5, Output: 7}, delivered: 2, events: 1,
		},
		{
			name: "embeddings", contentType: jsonType,
			body: `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[-0.006929283,1e-3,[],{}]}],` +
				`"model":"bge","usage":{"prompt_tokens":8,"total_tokens":8}}`,
			want: llm.Usage{Input: 8},
		},
		{
			name: "response", contentType: jsonType,
			body: `{"id":"resp_1","object":"response","error":null,"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"plan"}]},` +
				`{"type":"message","content":[{"type":"output_text","text":"Hello","annotations":[]}]},{"type":"function_call","name":"f","arguments":"{}"}],` +
				`"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":12},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}}`,
			want: llm.Usage{Input: 36, Output: 87, Cached: 12, Reasoning: 64}, delivered: 3, events: 1,
		},
		{
			name: "message", contentType: jsonType,
			body: `{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"EqQBCgIYAg"},` +
				`{"type":"text","text":"Hi!"},{"type":"tool_use","id":"toolu_1","name":"add","input":{"usage":{"output_tokens":0},"a":12}}],` +
				`"stop_reason":"end_turn","usage":{"input_tokens":25,"cache_creation_input_tokens":7,"cache_read_input_tokens":100,"output_tokens":13}}`,
			want: llm.Usage{Input: 132, Output: 13, Cached: 100, CacheWritten: 7}, delivered: 8, events: 1,
		},
		{
			name: "litellm's cache members are parts of prompt_tokens", contentType: jsonType,
			body: `{"choices":[],"usage":{"prompt_tokens":50,"completion_tokens":2,"cache_read_input_tokens":40,"cache_creation_input_tokens":5}}`,
			want: llm.Usage{Input: 50, Output: 2, Cached: 40, CacheWritten: 5},
		},
		{
			name: "an error", contentType: "application/problem+json",
			body: `{"type":"about:blank","error":{"message":"usage","type":"x","usage":{"prompt_tokens":3,"completion_tokens":3}}}`,
			want: llm.Usage{Estimated: true}, failed: true,
		},
		{
			name: "other calls and a refusal, DeepSeek's cache", contentType: jsonType,
			body: `{"choices":[{"message":{"function_call":{"name":"f","arguments":"{}"},"refusal":"no"}},` +
				`{"message":{"tool_calls":[{"type":"custom","custom":{"name":"g","input":"ls"}}]}}],` +
				`"usage":{"prompt_tokens":50,"completion_tokens":9,"prompt_cache_hit_tokens":32}}`,
			want: llm.Usage{Input: 50, Output: 9, Cached: 32}, delivered: 2, events: 1,
		},
		{
			name: "no usage", contentType: jsonType,
			body: `{"choices":[{"message":{"content":"Hello! How can I help?"}}]}`,
			want: llm.Usage{Output: 6, Estimated: true}, delivered: 6, events: 1,
		},
		{
			name: "cut before the usage", contentType: jsonType,
			body: `{"choices":[{"message":{"content":"Hello! How can`,
			want: llm.Usage{Output: 4, Estimated: true}, delivered: 4, events: 1, unended: true,
		},
	}
}

func streams() []exchange {
	return append(openAIStreams(), anthropicStreams()...)
}

func openAIStreams() []exchange {
	chat := sse(
		chunk(`"role":"assistant","content":""`, `,"usage":null`),
		chunk(`"reasoning_content":"so"`, `,"usage":null`),
		chunk(`"content":"Hel"`, `,"usage":null`),
		chunk(`"content":"lo"`, `,"usage":null`),
		chunk(`"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"find","arguments":""}}]`, `,"usage":null`),
		chunk(`"tool_calls":[{"index":0,"function":{"arguments":"{\""}}]`, `,"usage":null`),
		chunk(``, `,"usage":null`),
		lastChunk(chatUsage), "[DONE]")
	cut, _, _ := strings.Cut(chat, "data: "+lastChunk(chatUsage))
	continuous := func(n string) string {
		return `,"usage":{"prompt_tokens":9,"total_tokens":1` + n + `,"completion_tokens":` + n + `}`
	}
	list := []exchange{
		{name: "chat stream", body: chat, want: chatWant, delivered: 5, events: 5},
		{name: "chat stream with CR", body: strings.ReplaceAll(chat, "\n", "\r"), want: chatWant, delivered: 5, events: 5},
		{name: "chat stream with CRLF", body: strings.ReplaceAll(chat, "\n", "\r\n"), want: chatWant, delivered: 5, events: 5},
		{
			name:      "chat stream with mark, comments, other fields and no space",
			body:      "\ufeffdata:" + strings.ReplaceAll(strings.TrimPrefix(chat, "data: "), "\n\ndata: ", "\n: ping\n:\nid: 7\nretry\n\n\n: data: [DONE]\n\ndata:"),
			want:      chatWant,
			delivered: 5, events: 5,
		},
		{
			name: "chat stream with data of many lines", want: chatWant, delivered: 5, events: 5,
			body: strings.ReplaceAll(chat, `,"choices"`, "\ndata: ,\ndata:\ndata:\"choices\""),
		},
		{name: "chat stream that is cut", body: cut, want: llm.Usage{Output: 5, Estimated: true}, delivered: 5, events: 5, unended: true},
		{
			name: "chat stream, usage in every chunk", delivered: 2, events: 2, want: llm.Usage{Input: 9, Output: 3}, unended: true,
			body: sse(chunk(`"content":""`, continuous("0")), chunk(`"content":"a"`, continuous("1")), chunk(`"content":"b c"`, continuous("3"))),
		},
		{
			name: "chat stream, usage only at first", delivered: 2, events: 2, want: llm.Usage{Input: 9, Output: 2, Estimated: true},
			body: sse(chunk(`"content":""`, continuous("1")), chunk(`"content":"a"`, ""), chunk(`"content":"b c"`, ""), "[DONE]"),
		},
		{
			name: "chat stream with an error", delivered: 1, events: 1, want: llm.Usage{Output: 1, Estimated: true}, unended: true, failed: true,
			body: sse(chunk(`"content":"a"`, ""), `{"error":{"message":"out of memory","code":500}}`),
		},
		{
			name: "completion stream", delivered: 2, events: 2, want: llm.Usage{Input: 5, Output: 2},
			body: sse(`{"object":"text_completion","choices":[{"text":"a"}],"error":null}`, `{"choices":[{"text":"b"}]}`,
				`{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}`) + "data: [DONE]",
		},
		{
			name: "response stream", delivered: 3, events: 3, want: llm.Usage{Input: 36, Output: 87, Cached: 12, Reasoning: 64},
			body: typed(`{"type":"response.created","response":{"id":"resp_1","usage":null,"error":null}}`,
				`{"type":"response.reasoning_summary_text.delta","delta":"so"}`,
				`{"type":"response.output_text.delta","item_id":"msg_1","delta":"Hel"}`,
				`{"type":"response.output_text.delta","item_id":"msg_1","delta":"lo"}`,
				`{"type":"response.output_text.done","text":"Hello"}`,
				`{"type":"response.output_item.done","item":{"content":[{"text":"Hello"}]}}`,
				`{"type":"response.completed",`+completed+`}`),
		},
		{
			name: "response stream that is incomplete", want: llm.Usage{Input: 36, Output: 87, Cached: 12, Reasoning: 64},
			body: typed(`{"type":"response.incomplete",` + completed + `}`),
		},
		{
			name: "response stream that fails", want: llm.Usage{Estimated: true}, failed: true,
			body: typed(`{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"},"usage":null}}`),
		},
	}
	for i := range list {
		list[i].contentType = streamType
	}
	return list
}

func anthropicStreams() []exchange {
	deltas := []string{
		messageStart,
		`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}`,
		`{"type":"ping"}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"so"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3h"}}`,
		`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hello"}}`,
		`{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"find","input":{}}}`,
		`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"usage"}}`,
	}
	events := typed(deltas...)
	end := typed(`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}`, `{"type":"message_stop"}`)
	want := llm.Usage{Input: 132, Output: 15, Cached: 100, CacheWritten: 7}
	cut := llm.Usage{Input: 132, Output: 5, Cached: 100, CacheWritten: 7, Estimated: true}
	return []exchange{
		{name: "message stream", contentType: streamType, body: events + end, want: want, delivered: 5, events: 4},
		{name: "message stream that is cut", contentType: streamType, body: events, want: cut, delivered: 5, events: 4, unended: true},
		{
			name: "message stream with an error", contentType: streamType, want: cut, delivered: 5, events: 4, unended: true, failed: true,
			body: events + "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
		},
		{
			name: "an error that only the event names", contentType: streamType, body: "event: error\r\ndata: busy\r\n\r\n",
			want: llm.Usage{Estimated: true}, unended: true, failed: true,
		},
	}
}
