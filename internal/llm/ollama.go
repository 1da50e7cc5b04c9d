package llm

// ollama is its native /api/chat and /api/generate, which stream JSON Lines.
//
//nolint:gochecknoglobals // a constant
var ollama = dialect{
	api: Ollama, owes: true, typed: noTypes,
	fields: fields{
		{"message", choices},
		{"message.content", inText},
		{"message.thinking", inReasoning},
		{"message.tool_calls", calls},
		{"message.tool_calls[].function.name", inCall},
		{"message.tool_calls[].function.arguments", inCall},
		{"message.images", anyContent},
		{"response", inText},
		{"thinking", inReasoning},
		{"done", finished},
		{"done_reason", finishAll},
		{"prompt_eval_count", promptCount},
		{"eval_count", outputCount},
	},
}

// llamaCPP is the llama.cpp server's own /completion and /infill.
//
//nolint:gochecknoglobals // a constant
var llamaCPP = dialect{
	api: LlamaCPP, owes: true, typed: noTypes,
	fields: fields{
		{"content", inText},
		{"stop", finished},
		{"tokens_evaluated", promptCount},
		{"tokens_predicted", outputCount},
	},
}
