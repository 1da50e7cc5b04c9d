package llm

import "bytes"

// responses is OpenAI's Responses API. Its first and last events contain the whole
// response.
//
//nolint:gochecknoglobals // a constant
var responses = dialect{
	api: Responses, owes: true,
	fields: join(
		fields{
			{"sequence_number", sequence},
			{"response.id", responseID},
			{"delta", inText},
			{"output", choices},
			{"output[].content[].text", inText},
			{"output[].content[].refusal", refusal},
			{"output[].summary[].text", inReasoning},
			{"output[].type", itemType},
			{"output[].content[].type", itemType},
			{"output[].name", inCall},
			{"output[].arguments", inCall},
			{"output[].input", inCall},
			{"output[].result", inMedia},
			{"status", status},
			{"response.status", status},
			{"response.output[].type", itemType},
			{"response.output[].content[].type", itemType},
			{"response.error.message", inMessage},
			{"response.error.code", errorCode},
			{"response.incomplete_details.reason", incomplete},
			{"incomplete_details.reason", incomplete},
			{"item.type", itemType},
			{"part.type", itemType},
		},
		at("usage", counts), at("response.usage", counts),
	),
	typed: func(name []byte) kind {
		switch string(name) {
		case "response.created", "response.queued", "response.in_progress", "response.output_item.added", "response.content_part.added",
			"response.reasoning_summary_part.added", "ping", "keepalive":
			return silent
		case "response.completed", "response.incomplete", "response.cancelled":
			return ending
		case "response.failed":
			return failing
		}
		rest, ok := bytes.CutPrefix(name, []byte("response."))
		if !ok {
			return unknownType
		}
		if bytes.HasSuffix(rest, []byte(".done")) {
			return resting
		}
		if _, work, of := bytes.Cut(rest, []byte("_call")); of && len(work) > 0 && (work[0] == '.' || work[0] == '_') {
			return working
		}
		return knownType
	},
}
