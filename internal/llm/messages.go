package llm

// messages is Anthropic's Messages API.
//
//nolint:gochecknoglobals // a constant
var messages = dialect{
	api: Messages, owes: true,
	fields: join(
		fields{
			{"content", choices},
			{"content[].text", inText},
			{"content[].thinking", inReasoning},
			{"content[].name", inCall},
			{"content[].input", inCall},
			{"content[].type", blockType},
			{"content_block.text", inText},
			{"content_block.thinking", inReasoning},
			{"content_block.name", inCall},
			{"content_block.type", blockType},
			{"delta.text", inText},
			{"delta.thinking", inReasoning},
			{"delta.partial_json", inCall},
			{"delta.stop_reason", finishAll},
			{"stop_reason", finishAll},
			{"message.stop_reason", finishAll},
		},
		at("usage", counts), at("message.usage", counts),
	),
	typed: func(name []byte) kind {
		switch string(name) {
		case "ping", "message_start", "content_block_start", "content_block_delta":
			return silent
		case "content_block_stop":
			return closing
		case "message_stop":
			return ending
		case "message_delta", "message":
			return knownType
		}
		return unknownType
	},
}
