package llm

// gemini is Google's generateContent and streamGenerateContent, which streams server-sent
// events (alt=sse) or one JSON array.
//
//nolint:gochecknoglobals // a constant
var gemini = dialect{
	api: Gemini, owes: true, typed: noTypes,
	fields: join(geminiChunk, at("[]", geminiChunk), at("[]", faults)),
}

//nolint:gochecknoglobals // a constant
var geminiEvents = dialect{api: Gemini, owes: true, typed: noTypes, fields: geminiChunk}

//nolint:gochecknoglobals // a constant
var geminiChunk = fields{
	{"candidates", choices},
	{"candidates[]", choice},
	{"candidates[].index", choiceIndex},
	{"candidates[].content.parts[].text", inText},
	{"candidates[].content.parts[].functionCall.name", inCall},
	{"candidates[].content.parts[].functionCall.args", inCall},
	{"candidates[].content.parts[].executableCode.code", inCall},
	{"candidates[].content.parts[].codeExecutionResult.output", inText},
	{"candidates[].content.parts[].inlineData.data", inMedia},
	{"candidates[].content.parts[].thoughtSignature", ignored},
	{"candidates[].content.parts[].thought", ignored},
	{"candidates[].content.parts[].*", anyContent},
	{"candidates[].finishReason", finish},
	{"promptFeedback.blockReason", finishAll},
	{"usageMetadata", usageRoot},
	{"usageMetadata.promptTokenCount", promptCount},
	{"usageMetadata.toolUsePromptTokenCount", ignored},
	{"usageMetadata.candidatesTokenCount", outputCount},
	{"usageMetadata.thoughtsTokenCount", thoughtCount},
	{"usageMetadata.totalTokenCount", totalCount},
	{"usageMetadata.cachedContentTokenCount", cachedCount},
}
