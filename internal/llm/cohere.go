package llm

// cohere is Cohere's /v2/chat.
//
//nolint:gochecknoglobals // a constant
var cohere = dialect{
	api: Cohere, owes: true,
	fields: join(cohereMessage, at("delta", cohereMessage)),
	typed: func(name []byte) kind {
		switch string(name) {
		case "message-start", "content-start", "content-delta", "tool-call-start", "tool-call-delta", "tool-plan-delta":
			return silent
		case "content-end", "tool-call-end", "citation-start", "citation-end":
			return closing
		case "message-end":
			return ending
		}
		return unknownType
	},
}

//nolint:gochecknoglobals // a constant
var cohereMessage = fields{
	{"message.content[].text", inText},
	{"message.content.text", inText},
	{"message.content.thinking", inReasoning},
	{"message.tool_plan", inReasoning},
	{"message.tool_calls.function.name", inCall},
	{"message.tool_calls.function.arguments", inCall},
	{"message.tool_calls[].function.name", inCall},
	{"message.tool_calls[].function.arguments", inCall},
	{"finish_reason", finishAll},
	{"error", errorRoot},
	{"usage", usageRoot},
	{"usage.tokens.input_tokens", promptCount},
	{"usage.tokens.output_tokens", outputCount},
	{"usage.cached_tokens", cachedCount},
}
