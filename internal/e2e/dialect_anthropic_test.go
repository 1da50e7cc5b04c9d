package e2e_test

const (
	anthropicServerError  = `{"type":"error","error":{"details":null,"type":"api_error","message":"Internal server error"},"request_id":"req_011"}`
	anthropicRequestError = `{"type":"error","error":{"type":"invalid_request_error","message":"messages: text content blocks must be non-empty"},"request_id":"req_011"}`
	anthropicRateError    = `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 40,000 input tokens per minute"},"request_id":"req_011"}`
	anthropicBillingError = `{"type":"error","error":{"type":"billing_error","message":"Your credit balance is too low to access the Anthropic API."},"request_id":"req_011"}`
	anthropicUnknownError = `{"type":"error","error":{"type":"something_new_error","message":"It did not work."}}`
)

func anthropicStatuses() dialectStatuses {
	return dialectStatuses{
		kindServer:  {"500 Internal Server Error", anthropicServerError},
		kindRequest: {"400 Bad Request", anthropicRequestError},
		kindQuota:   {"402 Payment Required", anthropicBillingError},
	}
}

func anthropicRequest(more string) dialectRequest {
	return dialectRequest{
		path: "/v1/messages", header: map[string]string{"Anthropic-Version": "2023-06-01"},
		body: `{"model":"claude-sonnet-4-20250514","max_tokens":1024,` + more + `"system":"You are brief.","messages":[{"role":"user","content":"Say hello in five words."}]}`,
	}
}

// anthropicMessages is a stream of messages.
func anthropicMessages() dialect {
	start := func(usage string) string {
		return typedOf(`{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-20250514","content":[],"stop_reason":null,"stop_sequence":null`+usage+`}}`,
			`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`, `{"type":"ping"}`)
	}
	const read = `,"usage":{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1,"service_tier":"standard"}`
	content := typedOf(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" there!"}}`)
	finish := func(reason, usage string) string {
		return typedOf(`{"type":"content_block_stop","index":0}`, `{"type":"message_delta","delta":{"stop_reason":"`+reason+`","stop_sequence":null}`+usage+`}`)
	}
	const wrote = `,"usage":{"output_tokens":15}`
	stop := typedOf(`{"type":"message_stop"}`)
	thinking := typedOf(`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"They want a greeting."}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCgIYAhIM"}}`,
		`{"type":"content_block_stop","index":0}`, `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_01","name":"greet","input":{}}}`,
		`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}`, `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"to\": \"you\"}"}}`)
	return dialect{
		name: "anthropic messages", media: "text/event-stream; charset=utf-8", cached: true, errorStatuses: anthropicStatuses(),
		errorBodies: dialectErrors{
			kindServer: typedOf(`{"type":"error","error":{"details":null,"type":"api_error","message":"Internal server error"}}`), kindRequest: typedOf(anthropicRequestError),
			kindQuota: typedOf(anthropicBillingError), kindUnknown: typedOf(anthropicUnknownError),
		},
		shapes: []dialectShape{
			{name: "usage", dialectRequest: anthropicRequest(`"stream":true,`), opening: start(read), content: content, finish: finish("end_turn", wrote), marker: stop, usage: []int64{40}},
			{name: "usage at the end alone", dialectRequest: anthropicRequest(`"stream":true,`), opening: start(`,"usage":{"input_tokens":0,"output_tokens":0}`), content: content, finish: finish("max_tokens", `,"usage":{"input_tokens":25,"output_tokens":15}`), marker: stop, usage: []int64{40}},
			{name: "no usage", dialectRequest: anthropicRequest(`"stream":true,`), opening: start(""), content: content, finish: finish("stop_sequence", ""), marker: stop},
			{name: "thinking, then a tool", dialectRequest: anthropicRequest(`"stream":true,"tools":[{"name":"greet","input_schema":{"type":"object"}}],`), content: thinking, finish: finish("tool_use", wrote), marker: stop},
		},
	}
}

// anthropicMessagesJSON is a message as one document.
func anthropicMessagesJSON() dialect {
	content, finish := halves(`{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-20250514","content":[{"type":"text","text":"Hello there!"}],"stop_reason":"end_turn",` +
		`"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":15,"service_tier":"standard"}}`)
	return dialect{
		name: "anthropic messages JSON", form: formDocument, media: "application/json", cached: true, errorStatuses: anthropicStatuses(),
		errorBodies: dialectErrors{kindServer: anthropicServerError, kindRequest: anthropicRequestError, kindQuota: anthropicBillingError, kindUnknown: anthropicUnknownError},
		shapes:      []dialectShape{{name: "usage", dialectRequest: anthropicRequest(""), content: content, finish: finish, usage: []int64{40}}},
	}
}
