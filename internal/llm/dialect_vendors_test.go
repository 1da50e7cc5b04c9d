package llm_test

import (
	"strings"

	"github.com/ginfer/ginfer/internal/llm"
)

func lines(api llm.API, name, want string, all ...string) dialectCase {
	return dialectCase{name, api, linesType, strings.Join(append(all, ""), "\n"), want}
}

func messagesCases() []dialectCase {
	const (
		start = `{"type":"message_start","message":{"type":"message","content":[],"stop_reason":null,"usage":{"input_tokens":25,"output_tokens":1}}}`
		block = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
		hello = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}`
		end   = `{"type":"content_block_stop","index":0}`
		delta = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}}`
		stop  = `{"type":"message_stop"}`
	)
	one := func(name, want string, data ...string) dialectCase {
		return namedStream(llm.Messages, name, want, data...)
	}
	return []dialectCase{
		one("whole", "begun 1 events stop work terminal finished 25/7", start, block, hello, end, delta, stop),
		one("no marker", "begun 1 events stop work finished 25/7", start, block, hello, end, delta),
		one("no end", "begun 1 events cut", start, block, hello),
		one("no end after a block", "begun 1 events work cut", start, block, hello, end),
		one("pings", "silent 0 events 25/1", start, `{"type":"ping"}`, block),
		one("thinking", "begun 1 events cut", start, `{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"so"}}`),
		one("a signature", "silent 0 events 25/1", start, `{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"x"}}`),
		one("a tool", "begun 2 events calls tools work finished 25/9", start, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"f","input":{}}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}`, `{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}`),
		one("a server's tool", "begun 1 events tools server-tools work cut", start, `{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","name":"web_search"}}`),
		one("a refusal", "begun 0 events filtered finished 25/1", start, `{"type":"message_delta","delta":{"stop_reason":"refusal"}}`),
		one("overloaded", "failed 0 events 25/1 error:overloaded", start, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
		one("overloaded late", "begun 1 events cut error:overloaded", start, hello, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
		one("nothing to say", "begun 0 events stop terminal finished 25/1", start, `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}`, stop),
		body(llm.Messages, "json", "begun 1 events stop terminal finished 3/2", `{"type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}`),
		body(llm.Messages, "json with a tool", "begun 1 events calls tools work terminal finished", `{"type":"message","content":[{"type":"tool_use","name":"f","input":{"a":1}}],"stop_reason":"tool_use"}`),
		body(llm.Messages, "json error", "failed 0 events terminal finished error:auth", `{"type":"error","error":{"type":"authentication_error","message":"x"}}`),
	}
}

func converseCases() []dialectCase {
	one := func(name, want, content, more string) dialectCase {
		return body(llm.Converse, name, want, `{"output":{"message":{"role":"assistant","content":[`+content+`]}}`+more+`}`)
	}
	const usage = `,"usage":{"inputTokens":30,"outputTokens":5,"totalTokens":35}`
	return []dialectCase{
		one("whole", "begun 1 events stop terminal finished 30/5", `{"text":"Hello"}`, `,"stopReason":"end_turn"`+usage),
		one("a tool", "begun 1 events calls tools work terminal finished 30/5", `{"toolUse":{"toolUseId":"t","name":"f","input":{"a":1}}}`, `,"stopReason":"tool_use"`+usage),
		one("thinking", "begun 1 events stop terminal finished 30/5", `{"reasoningContent":{"reasoningText":{"text":"so"}}},{"text":"Hello"}`, `,"stopReason":"max_tokens"`+usage),
		one("filtered", "begun 1 events filtered terminal finished 30/5", `{"text":"Sorry"}`, `,"stopReason":"content_filtered"`+usage),
		one("a guardrail", "begun 1 events filtered terminal finished 30/5", `{"text":"Sorry"}`, `,"stopReason":"guardrail_intervened"`+usage),
		one("nothing to say", "begun 0 events stop terminal finished", ``, `,"stopReason":"end_turn"`),
		body(llm.Converse, "an error", "begun 0 events terminal finished", `{"message":"Too many requests, please wait before trying again."}`),
	}
}

func geminiCases() []dialectCase {
	const (
		hello = `{"candidates":[{"content":{"parts":[{"text":"Hello"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":4}}`
		end   = `{"candidates":[{"content":{"parts":[{"text":"you"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":9}}`
		busy  = `{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}`
		call  = `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":1}}}]}}]}`
	)
	one := func(name, want string, data ...string) dialectCase { return stream(llm.Gemini, name, want, data...) }
	return []dialectCase{
		one("whole", "begun 2 events stop finished 4/5 reasoning=3", hello, end),
		one("no end", "begun 1 events cut", hello),
		one("error first", "failed 0 events error:overloaded", busy),
		one("error late", "begun 1 events cut error:overloaded", hello, busy),
		one("a call", "begun 1 events tools work cut", call),
		one("a picture", "begun 0 events cut", `{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"aGk="}}]}}]}`),
		one("blocked", "begun 0 events filtered finished", `{"promptFeedback":{"blockReason":"SAFETY"}}`),
		one("filtered", "begun 1 events filtered finished", hello, `{"candidates":[{"finishReason":"SAFETY","index":0}]}`),
		one("unspecified", "begun 1 events cut", hello, `{"candidates":[{"finishReason":"FINISH_REASON_UNSPECIFIED"}]}`),
		body(llm.Gemini, "json", "begun 1 events stop terminal finished 4/5 reasoning=3", end),
		body(llm.Gemini, "array", "begun 2 events stop terminal finished 4/5 reasoning=3", "["+hello+"\n,\r\n"+end+"\n]"),
		body(llm.Gemini, "array cut", "begun 1 events cut", "["+hello+","),
		body(llm.Gemini, "array with an error first", "failed 0 events terminal finished error:overloaded", "["+busy+"]"),
		body(llm.Gemini, "array with an error late", "begun 1 events terminal finished error:overloaded", "["+hello+","+busy+"]"),
		body(llm.Gemini, "array of nothing", "begun 0 events terminal finished", "[]"),
		body(llm.Gemini, "error", "failed 0 events terminal finished error:request", `{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}`),
	}
}

func ollamaCases() []dialectCase {
	const (
		hello = `{"model":"m","message":{"role":"assistant","content":"Hello"},"done":false}`
		empty = `{"model":"m","message":{"role":"assistant","content":""},"done":false}`
		end   = `{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":6,"eval_count":1}`
	)
	one := func(name, want string, all ...string) dialectCase { return lines(llm.Ollama, name, want, all...) }
	return []dialectCase{
		one("chat", "begun 1 events stop terminal finished 6/1", hello, end),
		one("no end", "begun 1 events cut", hello),
		one("before content", "silent 0 events", empty),
		one("blank lines", "begun 1 events stop terminal finished 6/1", "", hello, " ", end),
		one("error first", "failed 0 events error:unknown", `{"error":"model runner has unexpectedly stopped"}`),
		one("error late", "begun 1 events cut error:unknown", hello, `{"error":"an error was encountered while running the model"}`),
		one("thinking", "begun 1 events cut", `{"message":{"role":"assistant","content":"","thinking":"so"},"done":false}`),
		one("a tool", "begun 1 events tools work cut", `{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"done":false}`),
		one("generate", "begun 2 events stop terminal finished 6/2", `{"response":"Hel","done":false}`, `{"response":"lo","done":false}`, `{"response":"","done":true,"done_reason":"length","context":[1,2,3],"prompt_eval_count":6,"eval_count":2}`),
		one("generate, before content", "silent 0 events", `{"response":"","done":false}`),
		one("a line that is none", "begun 1 events stop terminal finished 6/1", "<html>", hello, end),
		one("done as a text", "begun 1 events cut", `{"message":{"content":"a"},"done":"true"}`),
		one("nothing", "silent 0 events empty"),
		body(llm.Ollama, "json", "begun 1 events stop terminal finished 6/1", `{"message":{"role":"assistant","content":"Hi"},"done":true,"done_reason":"stop","prompt_eval_count":6,"eval_count":1}`),
		body(llm.Ollama, "json generate", "begun 1 events stop terminal finished 6/1", `{"response":"Hi","done":true,"done_reason":"stop","prompt_eval_count":6,"eval_count":1}`),
		body(llm.Ollama, "json error", "failed 0 events terminal finished error:unknown", `{"error":"model \"x\" not found, try pulling it first"}`),
	}
}

func otherCases() []dialectCase {
	const (
		token = `{"index":1,"token":{"id":1,"text":"Hel","logprob":-0.1,"special":false},"generated_text":null,"details":null}`
		start = `{"type":"message-start","id":"1","delta":{"message":{"role":"assistant","content":[]}}}`
		delta = `{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hello"}}}}`
		last  = `{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":1,"output_tokens":1},"tokens":{"input_tokens":8,"output_tokens":2}}}}`
	)
	return []dialectCase{
		stream(llm.LlamaCPP, "whole", "begun 1 events terminal finished 4/1", `{"content":"Hi","stop":false}`, `{"content":"","stop":true,"tokens_evaluated":4,"tokens_predicted":1,"stop_type":"eos"}`),
		stream(llm.LlamaCPP, "no end", "begun 1 events cut", `{"content":"Hi","stop":false}`),
		stream(llm.LlamaCPP, "before content", "silent 0 events", `{"content":"","stop":false}`),
		stream(llm.LlamaCPP, "error", "failed 0 events error:context_length", `{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}`),
		body(llm.LlamaCPP, "json", "begun 1 events terminal finished 4/1", `{"content":"Hi","stop":true,"tokens_evaluated":4,"tokens_predicted":1}`),

		stream(llm.TGI, "whole", "begun 2 events stop terminal finished 3/2", token, `{"token":{"text":"lo"},"generated_text":"Hello","details":{"finish_reason":"length","generated_tokens":2,"prefill_tokens":3}}`),
		stream(llm.TGI, "an empty text", "begun 0 events terminal finished", `{"token":{"text":""},"generated_text":"","details":null}`),
		stream(llm.TGI, "no end", "begun 1 events cut", token),
		stream(llm.TGI, "overloaded", "failed 0 events error:overloaded", `{"error":"Model is overloaded","error_type":"overloaded"}`),
		stream(llm.TGI, "late", "begun 1 events cut error:server", token, `{"error":"Request failed during generation","error_type":"generation"}`),
		body(llm.TGI, "json", "begun 1 events stop terminal finished 3/2", `{"generated_text":"Hello","details":{"finish_reason":"eos_token","generated_tokens":2,"prefill_tokens":3}}`),
		body(llm.TGI, "array", "begun 1 events terminal finished", `[{"generated_text":"Hello"}]`),
		body(llm.TGI, "too long", "failed 0 events terminal finished error:context_length", `{"error":"Input validation error: inputs must have less than 1024 tokens","error_type":"validation"}`),

		namedStream(llm.Cohere, "whole", "begun 1 events stop work terminal finished 8/2", start, delta, `{"type":"content-end","index":0}`, last),
		namedStream(llm.Cohere, "no end", "begun 1 events cut", start, delta),
		namedStream(llm.Cohere, "before content", "silent 0 events", start),
		namedStream(llm.Cohere, "a plan and a tool", "begun 2 events tools work cut", start, `{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I"}}}`, `{"type":"tool-call-start","delta":{"message":{"tool_calls":{"function":{"name":"f","arguments":""}}}}}`),
		namedStream(llm.Cohere, "failed", "begun 1 events other terminal finished error:server", delta, `{"type":"message-end","delta":{"finish_reason":"ERROR","error":"internal"}}`),
		body(llm.Cohere, "json", "begun 1 events stop terminal finished 8/2", `{"finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"Hi"}]},"usage":{"tokens":{"input_tokens":8,"output_tokens":2}}}`),
	}
}

func mediaCases() []dialectCase {
	return []dialectCase{
		namedStream(llm.Transcription, "whole", "begun 1 events terminal finished 9/2", `{"type":"transcript.text.delta","delta":"Hi"}`, `{"type":"transcript.text.done","text":"Hi","usage":{"type":"tokens","input_tokens":9,"output_tokens":2,"total_tokens":11}}`),
		namedStream(llm.Transcription, "no end", "begun 1 events cut", `{"type":"transcript.text.delta","delta":"Hi"}`),
		body(llm.Transcription, "json", "begun 1 events terminal finished", `{"text":"Hello"}`),
		namedStream(llm.Speech, "whole", "begun 0 events terminal finished 9/2", `{"type":"speech.audio.delta","audio":"aGk="}`, `{"type":"speech.audio.done","usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}}`),
		namedStream(llm.Speech, "no end", "begun 0 events cut", `{"type":"speech.audio.delta","audio":"aGk="}`),
		{"bytes", llm.Speech, "audio/mpeg", "ID3", "silent 0 events"},
		body(llm.Embeddings, "json", "begun 0 events terminal finished 8/0", `{"object":"list","data":[{"embedding":[-0.5,1e-3]}],"usage":{"prompt_tokens":8,"total_tokens":8}}`),
		body(llm.Embeddings, "ollama", "begun 0 events terminal finished 8/0", `{"model":"m","embeddings":[[0.1]],"prompt_eval_count":8}`),
		body(llm.Embeddings, "cohere", "begun 0 events terminal finished 8/0", `{"id":"x","embeddings":{"float":[[0.1]]},"meta":{"billed_units":{"input_tokens":8}}}`),
		body(llm.Embeddings, "error", "failed 0 events terminal finished error:request", `{"error":{"message":"x","type":"invalid_request_error"}}`),
		body(llm.Images, "json", "begun 0 events terminal finished 5/100", `{"created":1,"data":[{"b64_json":"aGk="}],"usage":{"input_tokens":5,"output_tokens":100,"total_tokens":105}}`),
		body(llm.Images, "url", "begun 0 events terminal finished", `{"created":1,"data":[{"url":"https://x"}]}`),
		namedStream(llm.Images, "whole", "begun 0 events terminal finished 5/100", `{"type":"image_generation.partial_image","b64_json":"aGk="}`, `{"type":"image_generation.completed","b64_json":"aGk=","usage":{"input_tokens":5,"output_tokens":100}}`),
		namedStream(llm.Images, "no end", "begun 0 events cut", `{"type":"image_generation.partial_image","b64_json":"aGk="}`),
	}
}

// Responses of unknown APIs are not required to have content or an end.
func unknownCases() []dialectCase {
	one := func(name, want string, data ...string) dialectCase {
		return stream(llm.Unknown, name, want, data...)
	}
	return []dialectCase{
		one("news", "begun 0 events", "news"),
		one("json", "begun 0 events", `{"a":1,"text":"so"}`),
		one("text of a delta", "begun 0 events", `{"type":"transcript.text.delta","delta":"Hi"}`),
		one("a line", "begun 0 events", `[1]`),
		one("a call of a method", "begun 0 events", `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}`),
		one("chat by its shape", "begun 1 events cut", `{"choices":[{"delta":{"content":"a"}}]}`),
		one("an error", "failed 0 events error:unknown", `{"error":{"message":"x"}}`),
		lines(llm.Unknown, "lines", "begun 0 events", `{"a":1}`, `{"b":2}`),
		body(llm.Unknown, "body", "begun 0 events terminal finished", `{"results":[{"text":"a"}]}`),
		body(llm.Unknown, "array", "begun 0 events terminal finished", `[1,2]`),
		body(llm.Unknown, "array cut", "silent 0 events cut", `[1,2`),
		body(llm.Unknown, "text", "begun 0 events", `"a"`),
		body(llm.Free, "count_tokens", "begun 0 events terminal finished", `{"input_tokens":14}`),
		stream(llm.Realtime, "realtime", "begun 0 events", `{"type":"response.output_text.delta","delta":"a"}`),
	}
}
