package llm

// chat is OpenAI's chat completions, as many servers have it: vLLM, llama.cpp, Ollama,
// DeepSeek, Mistral, Azure.
//
//nolint:gochecknoglobals // a constant
var chat = dialect{
	api: Chat, owes: true, typed: noTypes,
	fields: join(
		fields{{"choices", choices}, {"choices[]", choice}, {"choices[].index", choiceIndex}, {"choices[].finish_reason", finish}},
		at("choices[].delta", reply), at("choices[].message", reply),
		at("usage", counts),
	),
}

// reply is what a choice says, or adds. Of what else may stand there only is known that
// it is content, unless it is empty.
//
//nolint:gochecknoglobals // a constant
var reply = fields{
	{"role", ignored},
	{"content", inText},
	{"content[].text", inText},
	{"content[].*", says},
	{"reasoning_content", inReasoning},
	{"reasoning", inReasoning},
	{"refusal", refusal},
	{"tool_calls", calls},
	{"tool_calls[].function.name", inCall},
	{"tool_calls[].function.arguments", inCall},
	{"tool_calls[].custom.name", inCall},
	{"tool_calls[].custom.input", inCall},
	{"function_call.name", inCall},
	{"function_call.arguments", inCall},
	{"audio.data", inMedia},
	{"audio.transcript", inText},
	{"*", says},
}

// completions are OpenAI's legacy ones.
//
//nolint:gochecknoglobals // a constant
var completions = dialect{
	api: Completions, owes: true, typed: noTypes,
	fields: join(
		fields{{"choices", choices}, {"choices[]", choice}, {"choices[].index", choiceIndex}, {"choices[].text", inText}, {"choices[].finish_reason", finish}},
		at("usage", counts),
	),
}
