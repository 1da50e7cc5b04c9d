package e2e_test

// responseItem is the message of a response.
const responseItem = `{"id":"msg_68","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hello there!"}],"role":"assistant"}`

func responseObject(status, more string) string {
	return `"response":{"id":"resp_68","object":"response","created_at":1750000000,"status":"` + status + `","error":null,"incomplete_details":null,"model":"gpt-4o-mini-2024-07-18",` +
		`"parallel_tool_calls":true,"store":true,"temperature":1.0,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled",` + more + `}`
}

func responseFailure(code, message string) string {
	return typedOf(`{"type":"response.failed","sequence_number":3,"response":{"id":"resp_68","object":"response","created_at":1750000000,"status":"failed",` +
		`"error":{"code":"` + code + `","message":"` + message + `"},"model":"gpt-4o-mini-2024-07-18","output":[],"usage":null}}`)
}

// openAIResponses is a stream of the responses API.
func openAIResponses() dialect {
	opening := typedOf(`{"type":"response.created","sequence_number":0,`+responseObject("in_progress", `"output":[],"usage":null`)+`}`,
		`{"type":"response.in_progress","sequence_number":1,`+responseObject("in_progress", `"output":[],"usage":null`)+`}`,
		`{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"msg_68","type":"message","status":"in_progress","content":[],"role":"assistant"}}`,
		`{"type":"response.content_part.added","sequence_number":3,"item_id":"msg_68","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}}`)
	content := typedOf(`{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_68","output_index":0,"content_index":0,"delta":"Hello","logprobs":[],"obfuscation":"x7Gz"}`,
		`{"type":"response.output_text.delta","sequence_number":5,"item_id":"msg_68","output_index":0,"content_index":0,"delta":" there!","logprobs":[],"obfuscation":"q"}`)
	finish := typedOf(`{"type":"response.output_text.done","sequence_number":6,"item_id":"msg_68","output_index":0,"content_index":0,"text":"Hello there!","logprobs":[]}`,
		`{"type":"response.content_part.done","sequence_number":7,"item_id":"msg_68","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":"Hello there!"}}`,
		`{"type":"response.output_item.done","sequence_number":8,"output_index":0,"item":`+responseItem+`}`)
	const usage = `"usage":{"input_tokens":24,"input_tokens_details":{"cached_tokens":0},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":29}`
	completed := func(usage string) string {
		return typedOf(`{"type":"response.completed","sequence_number":9,` + responseObject("completed", `"output":[`+responseItem+`],`+usage) + `}`)
	}
	ask := dialectRequest{path: "/v1/responses", body: `{"model":"gpt-4o-mini","stream":true,"instructions":"You are brief.","input":"Say hello in five words."}`}
	call := typedOf(`{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_1","name":"greet"}}`,
		`{"type":"response.function_call_arguments.delta","sequence_number":3,"item_id":"fc_1","output_index":0,"delta":"{\"to\":\"you\"}"}`)
	called := typedOf(`{"type":"response.function_call_arguments.done","sequence_number":4,"item_id":"fc_1","output_index":0,"arguments":"{\"to\":\"you\"}"}`,
		`{"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"to\":\"you\"}","call_id":"call_1","name":"greet"}}`)
	return dialect{
		name: "openai responses", media: "text/event-stream; charset=utf-8", cached: true, errorStatuses: openAIStatuses(),
		errorBodies: dialectErrors{
			kindServer:  responseFailure("server_error", "The server had an error while processing your request."),
			kindRequest: responseFailure("invalid_prompt", "Invalid prompt: your prompt was flagged as potentially violating our usage policy."),
			kindQuota:   typedOf(`{"type":"error","sequence_number":2,"code":"insufficient_quota","message":"You exceeded your current quota, please check your plan and billing details.","param":null}`),
			kindUnknown: typedOf(`{"type":"error","sequence_number":2,"code":"something_new","message":"It did not work.","param":null}`),
		},
		shapes: []dialectShape{
			{name: "usage", dialectRequest: ask, opening: opening, content: content, finish: finish, marker: completed(usage), usage: []int64{29}},
			{name: "no usage", dialectRequest: ask, opening: opening, content: content, finish: finish, marker: completed(`"usage":null`)},
			{
				name: "incomplete", dialectRequest: ask, opening: opening, content: content, finish: finish, usage: []int64{29},
				marker: typedOf(`{"type":"response.incomplete","sequence_number":9,` + responseObject("incomplete", `"output":[`+responseItem+`],`+usage) + `}`),
			},
			{name: "function call", dialectRequest: ask, content: call, finish: called, marker: completed(usage), usage: []int64{29}},
		},
	}
}
