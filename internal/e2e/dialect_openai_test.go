package e2e_test

import "strings"

const (
	chatPath     = "/v1/chat/completions"
	chatMessages = `"messages":[{"role":"system","content":"You are brief."},{"role":"user","content":"Say hello in five words."}]`

	openAIServerError  = `{"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}}`
	openAIRequestError = `{"error":{"message":"Invalid 'messages[1].content': string too short.","type":"invalid_request_error","param":"messages[1].content","code":"invalid_value"}}`
	openAIQuotaError   = `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`
	openAIUnknownError = `{"error":{"message":"Provider returned error","metadata":{"provider_name":"Somebody"}}}`
)

// openAIStatuses are the errors of OpenAI's servers, the same for all of its APIs.
func openAIStatuses() dialectStatuses {
	return dialectStatuses{
		kindServer:  {"500 Internal Server Error", openAIServerError},
		kindRequest: {"400 Bad Request", openAIRequestError},
		kindQuota:   {"429 Too Many Requests", openAIQuotaError},
	}
}

func openAIEventErrors() dialectErrors {
	return dialectErrors{
		kindServer: dataEvents(openAIServerError), kindRequest: dataEvents(openAIRequestError),
		kindQuota: dataEvents(openAIQuotaError), kindUnknown: dataEvents(openAIUnknownError),
	}
}

// chatChunk is a chunk of a chat with the given members of its choice.
func chatChunk(choice, more string) string {
	return `{"id":"chatcmpl-BfQz7","object":"chat.completion.chunk","created":1750000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default",` +
		`"system_fingerprint":"fp_34a54ae93c","choices":[{"index":0,` + choice + `,"logprobs":null}]` + more + `}`
}

func chatUsageChunk() string {
	return `{"id":"chatcmpl-BfQz7","object":"chat.completion.chunk","created":1750000000,"model":"gpt-4o-mini-2024-07-18","choices":[],"usage":` + chatUsage + `}`
}

const chatUsage = `{"prompt_tokens":24,"completion_tokens":7,"total_tokens":31,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},` +
	`"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`

func chatWords(more string, words ...string) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString(dataEvents(chatChunk(`"delta":{"content":"`+w+`"},"finish_reason":null`, more)))
	}
	return b.String()
}

// openAIChat is a stream of chat completions of OpenAI and compatible servers.
func openAIChat() dialect {
	const null = `,"usage":null`
	request := func(more string) dialectRequest {
		return dialectRequest{path: chatPath, body: `{"model":"gpt-4o-mini","stream":true,` + more + chatMessages + `}`}
	}
	role := func(more string) string {
		return dataEvents(chatChunk(`"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null`, more))
	}
	stop := func(reason, more string) string {
		return dataEvents(chatChunk(`"delta":{},"finish_reason":"`+reason+`"`, more))
	}
	const done = "data: [DONE]\n\n"
	usage := []int64{31}
	return dialect{
		name: "openai chat", media: "text/event-stream; charset=utf-8", cached: true, errorBodies: openAIEventErrors(), errorStatuses: openAIStatuses(),
		shapes: []dialectShape{
			{
				name: "usage requested", dialectRequest: request(`"stream_options":{"include_usage":true},`), opening: role(null), content: chatWords(null, "Hello", " there", "!"),
				finish: stop("stop", null) + dataEvents(chatUsageChunk()), marker: done, usage: usage,
			},
			{name: "no usage", dialectRequest: request(""), opening: role(""), content: chatWords("", "Hello", " there", "!"), finish: stop("stop", ""), marker: done},
			{
				name: "usage with the last choice", dialectRequest: request(`"stream_options":{"include_usage":true},`), opening: role(""), content: chatWords("", "Hello", " there", "!"),
				finish: stop("length", `,"usage":`+chatUsage), marker: done, usage: usage,
			},
			{
				name: "comments of a relay", dialectRequest: request(""), opening: ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n" + role(""),
				content: chatWords("", "Hello") + ": OPENROUTER PROCESSING\n\n" + chatWords("", "!"), finish: stop("stop", ""), marker: done,
			},
			{
				name: "reasoning, then tools", dialectRequest: request(`"tools":[{"type":"function","function":{"name":"greet","parameters":{"type":"object"}}}],`), opening: role(""),
				content: dataEvents(chatChunk(`"delta":{"reasoning_content":"They want a greeting."},"finish_reason":null`, ""),
					chatChunk(`"delta":{"tool_calls":[{"index":0,"id":"call_9","type":"function","function":{"name":"greet","arguments":""}}]},"finish_reason":null`, ""),
					chatChunk(`"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"to\":\"you\"}"}}]},"finish_reason":null`, "")),
				finish: stop("tool_calls", ""), marker: done,
			},
			{
				name: "CRLF, no space", dialectRequest: request(""), opening: crlf(role("")), content: crlf(chatWords("", "Hello", "!")), finish: crlf(stop("stop", "")), marker: crlf(done),
			},
			{
				name: "two choices", dialectRequest: request(`"n":2,`), opening: role(""),
				content: chatWords("", "Hello") + dataEvents(otherChoice(chatChunk(`"delta":{"content":"Hi"},"finish_reason":null`, ""))),
				finish:  stop("stop", "") + dataEvents(otherChoice(chatChunk(`"delta":{},"finish_reason":"stop"`, ""))), marker: done,
			},
		},
	}
}

func crlf(events string) string {
	return strings.ReplaceAll(strings.ReplaceAll(events, "data: ", "data:"), "\n", "\r\n")
}

func otherChoice(chunk string) string { return strings.Replace(chunk, `"index":0`, `"index":1`, 1) }

// openAIChatJSON is a chat completion as one document.
func openAIChatJSON() dialect {
	ask := dialectRequest{path: chatPath, body: `{"model":"gpt-4o-mini",` + chatMessages + `}`}
	choice := `"choices":[{"index":0,"message":{"role":"assistant","content":"Hello there, nice to meet you!","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}]`
	content, finish := halves(`{"id":"chatcmpl-BfQz7","object":"chat.completion","created":1750000000,"model":"gpt-4o-mini-2024-07-18",` + choice + `,"usage":` + chatUsage + `,"service_tier":"default"}`)
	bare, rest := halves(`{"object":"chat.completion","model":"llama",` + choice + "}\n")
	return dialect{
		name: "openai chat JSON", form: formDocument, media: "application/json", cached: true, errorStatuses: openAIStatuses(),
		errorBodies: dialectErrors{kindServer: openAIServerError, kindRequest: openAIRequestError, kindQuota: openAIQuotaError, kindUnknown: openAIUnknownError},
		shapes: []dialectShape{
			{name: "usage", dialectRequest: ask, content: content, finish: finish, usage: []int64{31}},
			{name: "no usage", dialectRequest: ask, content: bare, finish: rest},
		},
	}
}

// openAICompletions is a stream of legacy completions.
func openAICompletions() dialect {
	chunk := func(text, reason, more string) string {
		return dataEvents(`{"id":"cmpl-C1","object":"text_completion","created":1750000000,"model":"gpt-3.5-turbo-instruct","choices":[{"text":"` + text +
			`","index":0,"logprobs":null,"finish_reason":` + reason + `}]` + more + `}`)
	}
	last := dataEvents(`{"id":"cmpl-C1","object":"text_completion","created":1750000000,"model":"gpt-3.5-turbo-instruct","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`)
	ask := func(more string) dialectRequest {
		return dialectRequest{path: "/v1/completions", body: `{"model":"gpt-3.5-turbo-instruct","prompt":"Say hello in five words.","stream":true` + more + `}`}
	}
	const null, done = `,"usage":null`, "data: [DONE]\n\n"
	return dialect{
		name: "openai completions", media: "text/event-stream", cached: true, errorBodies: openAIEventErrors(), errorStatuses: openAIStatuses(),
		shapes: []dialectShape{
			{
				name: "usage requested", dialectRequest: ask(`,"stream_options":{"include_usage":true}`), content: chunk("Hello", "null", null) + chunk(" there", "null", null),
				finish: chunk("", `"stop"`, null) + last, marker: done, usage: []int64{12},
			},
			{name: "no usage", dialectRequest: ask(""), content: chunk("Hello", "null", "") + chunk(" there", "null", ""), finish: chunk("", `"length"`, ""), marker: done},
			{
				name: "vLLM, usage in every chunk", dialectRequest: ask(`,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`),
				content: chunk("Hello", "null", `,"usage":{"prompt_tokens":5,"total_tokens":6,"completion_tokens":1}`),
				finish:  chunk(" there", `"stop"`, `,"usage":{"prompt_tokens":5,"total_tokens":12,"completion_tokens":7}`), marker: done, usage: []int64{12},
			},
		},
	}
}
