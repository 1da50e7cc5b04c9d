package llm

// converse is Bedrock's model/NAME/converse. Its converse-stream sends binary frames,
// and stays unknown.
//
//nolint:gochecknoglobals // a constant
var converse = dialect{
	api: Converse, typed: noTypes,
	fields: fields{
		{"output.message.content[].text", inText},
		{"output.message.content[].reasoningContent.reasoningText.text", inReasoning},
		{"output.message.content[].toolUse.name", inCall},
		{"output.message.content[].toolUse.input", inCall},
		{"output.message.content[].*", anyContent},
		{"stopReason", finishAll},
		{"usage", usageRoot},
		{"usage.inputTokens", inputCount},
		{"usage.outputTokens", outputCount},
		{"usage.totalTokens", totalCount},
		{"usage.cacheReadInputTokens", cacheReadCount},
		{"usage.cacheWriteInputTokens", cacheWriteCount},
	},
}
