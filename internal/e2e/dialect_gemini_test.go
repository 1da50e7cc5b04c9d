package e2e_test

func geminiError(code, status, message string) string {
	return `{"error":{"code":` + code + `,"message":"` + message + `","status":"` + status + `"}}`
}

// geminiStream is streamGenerateContent with alt=sse. The finishReason of its last chunk
// finishes it; there is no other marker.
func geminiStream() dialect {
	chunk := func(parts, more, usage string) string {
		return "data: {\"candidates\": [{\"content\": {\"parts\": [" + parts + "],\"role\": \"model\"}" + more + ",\"index\": 0}]" + usage + ",\"modelVersion\": \"gemini-2.5-flash\",\"responseId\": \"kR1qaP\"}\r\n\r\n"
	}
	const (
		before = `,"usageMetadata": {"promptTokenCount": 12,"totalTokenCount": 12,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 12}]}`
		last   = `,"usageMetadata": {"promptTokenCount": 12,"candidatesTokenCount": 5,"totalTokenCount": 40,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 12}],"thoughtsTokenCount": 23}`
		stop   = `,"finishReason": "STOP"`
	)
	ask := dialectRequest{
		path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
		body: `{"contents":[{"role":"user","parts":[{"text":"Say hello in five words."}]}],"systemInstruction":{"parts":[{"text":"You are brief."}]},"generationConfig":{"temperature":0}}`,
	}
	server := geminiError("500", "INTERNAL", "An internal error has occurred. Please retry or report.")
	request := geminiError("400", "INVALID_ARGUMENT", "Unable to submit request because it must have a text parameter.")
	quota := geminiError("429", "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.")
	call := `{"functionCall": {"name": "greet","args": {"to": "you"}},"thoughtSignature": "CiQB"}`
	return dialect{
		name: "gemini", media: "text/event-stream",
		errorBodies: dialectErrors{
			kindServer: "data: " + server + "\r\n\r\n", kindRequest: "data: " + request + "\r\n\r\n", kindQuota: "data: " + quota + "\r\n\r\n",
			kindUnknown: "data: {\"error\": {\"message\": \"It did not work.\"}}\r\n\r\n",
		},
		errorStatuses: dialectStatuses{
			kindServer:  {"500 Internal Server Error", server},
			kindRequest: {"400 Bad Request", request},
			kindQuota:   {"429 Too Many Requests", quota},
		},
		shapes: []dialectShape{
			{name: "usage", dialectRequest: ask, content: chunk(`{"text": "Hello"}`, "", before), finish: chunk(`{"text": " there!"}`, stop, last), usage: []int64{40}},
			{name: "no usage", dialectRequest: ask, content: chunk(`{"text": "Hello"}`, "", ""), finish: chunk(`{"text": " there!"}`, `,"finishReason": "MAX_TOKENS"`, "")},
			{
				name: "thought, then a call", dialectRequest: ask, content: chunk(`{"text": "They want a greeting.","thought": true}`, "", before),
				finish: chunk(call, stop, last), usage: []int64{40},
			},
			{
				name: "blocked prompt", dialectRequest: ask, usage: []int64{12},
				finish: "data: {\"promptFeedback\": {\"blockReason\": \"PROHIBITED_CONTENT\"}" + before + ",\"modelVersion\": \"gemini-2.5-flash\"}\r\n\r\n",
			},
		},
	}
}
