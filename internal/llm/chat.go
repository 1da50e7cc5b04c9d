package llm

// chat is OpenAI's chat completions, as implemented by many servers: vLLM, llama.cpp,
// Ollama, DeepSeek, Mistral, Azure, Groq.
//
//nolint:gochecknoglobals // a constant
var chat = dialect{
	api: Chat, owes: true, typed: noTypes,
	fields: join(
		fields{{"choices", choices}, {"choices[]", choice}, {"choices[].index", choiceIndex}, {"choices[].finish_reason", finish}},
		at("choices[].delta", reply), at("choices[].message", reply),
		at("usage", counts), at("x_groq.usage", counts),
	),
}

// reply is the message of a choice, or a delta of it. Unknown members count as content
// unless they are empty.
//
//nolint:gochecknoglobals // a constant
var reply = fields{
	{"role", ignored},
	{"content", inText},
	{"content[].text", inText},
	{"content[].*", anyContent},
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
	{"*", anyContent},
}

// completions is OpenAI's legacy completions.
//
//nolint:gochecknoglobals // a constant
var completions = dialect{
	api: Completions, owes: true, typed: noTypes,
	fields: join(
		fields{{"choices", choices}, {"choices[]", choice}, {"choices[].index", choiceIndex}, {"choices[].text", inText}, {"choices[].finish_reason", finish}},
		at("usage", counts),
	),
}
