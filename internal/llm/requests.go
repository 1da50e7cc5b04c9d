package llm

// requests are the places in the JSON of requests, of all APIs.
//
//nolint:gochecknoglobals // constants
var requests = makeRequests()

//nolint:gochecknoglobals // a constant
var requestFields = fields{
	{"model", ignored},
	{"stream", stream},
	{"stream_options", streamOptions},
	{"stream_options.include_usage", includeUsage},
	{"max_tokens", maxOutput},
	{"max_completion_tokens", maxOutput},
	{"max_output_tokens", maxOutput},
	{"max_new_tokens", maxOutput},
	{"n_predict", maxOutput},
	{"options.num_predict", maxOutput},
	{"parameters.max_new_tokens", maxOutput},
	{"generationConfig.maxOutputTokens", maxOutput},
	{"inferenceConfig.maxTokens", maxOutput},
	{"generationConfig.candidateCount", times},
	{"n", times},
	{"best_of", times},
	{"jsonrpc", rpc},

	{"prompt", inPrompt},
	{"suffix", inPrompt},
	{"instructions", inPrompt},
	{"inputs", inPrompt},
	{"input_prefix", inPrompt},
	{"input_suffix", inPrompt},
	{"query", inPrompt},
	{"documents", inPrompt},
	{"texts", inPrompt},
	{"message", inPrompt},
	{"chat_history", inPrompt},
	{"preamble", inPrompt},
	{"prompt_cache_key", ignored},

	{"tools", inPrompt},
	{"tools[]", inTools},
	{"functions", inPrompt},
	{"functions[]", inTools},
	{"response_format", ignored},
	{"response_format.type", formatType},
	{"response_format.json_schema", inSchema},
	{"response_format.schema", inSchema},
	{"output_format.type", formatType},
	{"output_format.schema", inSchema},
	{"text.format.type", formatType},
	{"text.format.schema", inSchema},
	{"output_config.format.type", formatType},
	{"output_config.format.schema", inSchema},
	{"generationConfig.responseSchema", inSchema},
	{"generationConfig.responseJsonSchema", inSchema},
	{"guided_json", inSchema},
	{"structured_outputs.json", inSchema},
	{"json_schema", inSchema},

	{"images[]", imagePart},
	{"systemInstruction.parts[].text", inPrompt},
	{"system_instruction.parts[].text", inPrompt},
	{"contents[]", turn},
	{"contents[].parts[].text", inPrompt},
	{"contents[].parts[].functionCall", inPrompt},
	{"contents[].parts[].functionResponse", inPrompt},
	{"contents[].parts[].inlineData.data", mediaPart},
	{"contents[].parts[].inline_data.data", mediaPart},
	{"contents[].parts[].fileData.fileUri", mediaPart},
	{"contents[].parts[].file_data.file_uri", mediaPart},
	{"content.parts[].text", inPrompt},
	{"requests[].content.parts[].text", inPrompt},
}

func makeRequests() *node {
	root := tree(&dialect{fields: requestFields})
	root.link("messages", listOf(message()))
	root.link("input", listOf(message()))
	root.link("system", content())
	return root
}

// listOf returns the place of a text, of a list of texts, or of a single part.
func listOf(element *node) *node {
	n := *element
	n.role, n.element = inPrompt, element
	return &n
}

// message returns the place of an element of messages, or of an item of the Responses API's
// input.
func message() *node {
	m := &node{role: turn, element: &node{role: inPrompt}} // prompts may be lists of tokens
	m.link("role", &node{role: turnRole})
	m.parts()
	return m
}

// content returns the place of a text, or of a list of parts, which may have content.
func content() *node {
	p := &node{role: inPrompt}
	p.parts()
	return listOf(p)
}

// parts adds the members of a message, and of a part of its content.
func (n *node) parts() {
	list := &node{role: inPrompt}
	part := &node{role: inPrompt}
	list.element = part
	for _, place := range [...]*node{n, part, list} {
		place.link("content", list)
		place.link("output", list)
		place.link("summary", list)
		place.link("type", &node{role: partType})
		for _, name := range [...]string{
			"text", "thinking", "reasoning_content", "reasoning", "refusal", "name", "arguments", "input", "title", "context",
			"tool_calls", "function_call", "query", "tool_plan", "document",
		} {
			place.link(name, &node{role: inPrompt})
		}
		place.link("cache_control", &node{role: cacheMark})
		place.link("image_url", address(imagePart))
		for _, name := range [...]string{"video_url", "audio_url", "input_audio", "file"} {
			place.link(name, address(mediaPart))
		}
		place.link("file_data", &node{role: mediaPart})
		place.link("file_id", &node{role: mediaPart})
		place.link("images", &node{element: &node{role: imagePart}})
		place.link("source", sourceOf(list))
	}
}

// address returns the place of a text, or of an object with one or with data.
func address(r role) *node {
	n := &node{role: r}
	for _, name := range [...]string{"url", "data", "file_data", "file_id"} {
		n.link(name, &node{role: r})
	}
	return n
}

// sourceOf returns the source of a part of an Anthropic message.
func sourceOf(list *node) *node {
	n := &node{role: source}
	n.link("data", &node{role: inSource})
	n.link("url", &node{role: inSource})
	n.link("file_id", &node{role: inSource})
	n.link("type", &node{role: sourceType})
	n.link("content", list)
	return n
}
