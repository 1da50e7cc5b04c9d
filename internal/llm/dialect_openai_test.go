package llm_test

import "github.com/ginfer/ginfer/internal/llm"

func stream(api llm.API, name, want string, data ...string) dialectCase {
	return dialectCase{name, api, streamType, sse(data...), want}
}

func namedStream(api llm.API, name, want string, data ...string) dialectCase {
	return dialectCase{name, api, streamType, typed(data...), want}
}

func body(api llm.API, name, want, text string) dialectCase {
	return dialectCase{name, api, jsonType, text, want}
}

func chatCases() []dialectCase {
	const (
		role  = `{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}`
		hello = `{"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}`
		stop  = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
		usage = `{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}`
		call  = `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]}}]}`
		fault = `{"error":{"message":"x","type":"server_error","code":null}}`
	)
	one := func(name, want string, data ...string) dialectCase { return stream(llm.Chat, name, want, data...) }
	return []dialectCase{
		one("whole", "begun 1 events stop terminal finished 5/2", role, hello, stop, usage, "[DONE]"),
		one("no marker", "begun 1 events stop finished 5/2", role, hello, stop, usage),
		one("no marker nor usage", "begun 1 events stop finished", role, hello, stop),
		one("no end", "begun 1 events cut", role, hello),
		one("cut before content", "silent 0 events", role),
		one("marker alone", "silent 0 events terminal finished empty", "[DONE]"),
		one("role and marker", "begun 0 events terminal finished", role, "[DONE]"),
		one("marker with more behind it", "begun 1 events terminal finished", hello, "[DONE] "),
		one("a text that looks like a marker", "begun 1 events cut", `{"choices":[{"delta":{"content":"[DONE]"}}]}`),
		one("reasoning", "begun 1 events cut", `{"choices":[{"delta":{"reasoning_content":"hm"}}]}`),
		one("tools", "begun 1 events calls tools work finished", role, call, `{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`),
		one("tools and text", "begun 2 events tools cut", call, hello),
		one("filtered", "begun 0 events filtered finished", `{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}`),
		one("aborted", "begun 1 events other finished", hello, `{"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}`),
		one("one of two choices", "begun 2 events stop cut", hello, `{"choices":[{"index":1,"delta":{"content":"You"}}]}`, stop),
		one("two choices", "begun 1 events stop finished", hello, `{"choices":[{"index":1,"delta":{}}]}`, stop, `{"choices":[{"finish_reason":"length","index":1}]}`),
		one("two choices at once", "begun 1 events stop finished", `{"choices":[{"index":1,"delta":{"content":"a"},"finish_reason":"stop"},{"index":0,"finish_reason":"stop"}]}`),
		one("error first", "failed 0 events error:server", fault),
		one("error after the role", "failed 0 events error:server", role, fault),
		one("error late", "begun 1 events cut error:server", hello, fault),
		one("error of vLLM", "failed 0 events terminal finished error:request", `{"object":"error","message":"too many","type":"BadRequestError","param":null,"code":400}`, "[DONE]"),
		one("quota", "failed 0 events error:quota", `{"error":{"message":"x","type":"insufficient_quota","code":"insufficient_quota"}}`),
		one("sound", "begun 0 events cut", `{"choices":[{"delta":{"audio":{"data":"aGk="}}}]}`),
		one("usage with the last choice", "begun 1 events stop finished 5/2", hello, `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`),
		one("filter results before all", "silent 0 events", `{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}`),
		{"comments alone", llm.Chat, streamType, ": a\n\n: b\n\n", "silent 0 events empty"},
		{"nothing", llm.Chat, streamType, "", "silent 0 events empty"},
		{"white space", llm.Chat, streamType, "\n\n \n", "silent 0 events empty"},
		body(llm.Chat, "json", "begun 1 events stop terminal finished 5/2", `{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`),
		body(llm.Chat, "json with calls", "begun 1 events calls tools work terminal finished", `{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`),
		body(llm.Chat, "json cut", "silent 1 events cut", `{"choices":[{"message":{"content":"Hi`),
		body(llm.Chat, "json empty", "silent 0 events empty", ``),
		body(llm.Chat, "json white space", "silent 0 events empty", " \r\n "),
		body(llm.Chat, "json error", "failed 0 events terminal finished error:rate", `{"error":{"message":"x","code":"rate_limit_exceeded"}}`),
		body(llm.Chat, "html", "silent 0 events no-json", `<html>`),
	}
}

func completionCases() []dialectCase {
	const text = `{"object":"text_completion","choices":[{"index":0,"text":"a","finish_reason":null}]}`
	return []dialectCase{
		stream(llm.Completions, "whole", "begun 1 events stop terminal finished 5/1", text, `{"choices":[{"index":0,"text":"","finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":1}}`, "[DONE]"),
		stream(llm.Completions, "no marker", "begun 1 events stop finished", text, `{"choices":[{"index":0,"text":"","finish_reason":"length"}]}`),
		stream(llm.Completions, "no end", "begun 1 events cut", text),
		stream(llm.Completions, "error", "failed 0 events error:overloaded", `{"error":{"message":"x","code":503}}`),
		body(llm.Completions, "json", "begun 1 events stop terminal finished 5/1", `{"choices":[{"text":"a","finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1}}`),
	}
}

func responsesCases() []dialectCase {
	const (
		created = `{"type":"response.created","sequence_number":0,"response":{"id":"r","object":"response","status":"in_progress","error":null,"output":[],"usage":null}}`
		item    = `{"type":"response.output_item.added","item":{"type":"message","content":[]}}`
		hello   = `{"type":"response.output_text.delta","delta":"Hello"}`
		text    = `{"type":"response.output_text.done","text":"Hello"}`
	)
	one := func(name, want string, data ...string) dialectCase {
		return namedStream(llm.Responses, name, want, data...)
	}
	return []dialectCase{
		one("whole", "begun 1 events stop work terminal finished 36/87 cached=12 reasoning=64", created, item, hello, text, `{"type":"response.completed",`+completed+`}`),
		one("no end", "begun 1 events cut", created, item, hello),
		one("no end after a part", "begun 1 events work", created, item, hello, text),
		one("before content", "silent 0 events", created, item),
		one("failed", "failed 0 events terminal finished error:server", created, `{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"}}}`),
		one("failed by rate", "failed 0 events terminal finished error:rate", created, `{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"x"}}}`),
		one("failed late", "begun 1 events terminal finished error:context_length", hello, `{"type":"response.failed","response":{"error":{"code":"context_length_exceeded","message":"x"}}}`),
		one("error", "failed 0 events error:request", created, `{"type":"error","code":"invalid_prompt","message":"x","param":null}`),
		one("incomplete", "begun 1 events other terminal finished", created, hello, `{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}`),
		one("filtered", "begun 1 events filtered other terminal finished", created, hello, `{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}}`),
		one("a search", "begun 0 events server-tools work cut", created, `{"type":"response.output_item.added","item":{"type":"web_search_call"}}`, `{"type":"response.web_search_call.searching","item_id":"x"}`),
		one("code at work", "begun 0 events work cut", `{"type":"response.code_interpreter_call.interpreting","item_id":"x"}`),
		one("a picture gathers", "begun 0 events work cut", `{"type":"response.image_generation_call.partial_image","partial_image_b64":"aGk="}`),
		one("a function's arguments", "begun 1 events tools work cut", `{"type":"response.output_item.added","item":{"type":"function_call","name":"f"}}`, `{"type":"response.function_call_arguments.delta","delta":"{}"}`),
		one("reasoning", "begun 1 events cut", created, `{"type":"response.reasoning_summary_text.delta","delta":"so"}`),
		one("nothing to say", "begun 0 events stop terminal finished", created, `{"type":"response.completed","response":{"status":"completed","output":[]}}`),
		body(llm.Responses, "json", "begun 1 events stop terminal finished 3/2", `{"object":"response","status":"completed","error":null,"output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"input_tokens":3,"output_tokens":2}}`),
		body(llm.Responses, "json with a call", "begun 1 events stop tools work terminal finished", `{"object":"response","status":"completed","output":[{"type":"function_call","name":"f","arguments":"{}"}]}`),
		body(llm.Responses, "json that failed", "failed 0 events terminal finished error:server", `{"object":"response","status":"failed","error":{"code":"server_error","message":"x"},"output":[]}`),
	}
}
