package e2e_test

import (
	"fmt"
	"strings"
)

// cohereChat is /v2/chat of Cohere; message-end finishes it.
func cohereChat() dialect {
	opening := typedOf(`{"type":"message-start","id":"29f14a5a","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}`,
		`{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}`)
	content := typedOf(`{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hello"}}}}`, `{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":" there!"}}}}`)
	end := func(reason, more string) string {
		return typedOf(`{"type":"content-end","index":0}`, `{"type":"message-end","id":"29f14a5a","delta":{"finish_reason":"`+reason+`"`+more+`}}`)
	}
	const usage = `,"usage":{"billed_units":{"input_tokens":6,"output_tokens":9},"tokens":{"input_tokens":71,"output_tokens":9}}`
	ask := dialectRequest{path: "/v2/chat", body: `{"model":"command-a-03-2025","stream":true,"messages":[{"role":"user","content":"Say hello in five words."}]}`}
	failed := typedOf(`{"type":"message-end","id":"29f14a5a","delta":{"finish_reason":"ERROR","error":"The generation failed due to an internal error."}}`)
	return dialect{
		name: "cohere", media: "text/event-stream", errorBodies: dialectErrors{kindServer: failed},
		errorStatuses: dialectStatuses{
			kindServer:  {"500 Internal Server Error", `{"id":"29f14a5a","message":"internal server error, this has been reported to our developers. id 29f14a5a"}`},
			kindRequest: {"400 Bad Request", `{"id":"29f14a5a","message":"invalid request: message must be at least 1 token long or tool results must be specified."}`},
			kindQuota:   {"429 Too Many Requests", `{"id":"29f14a5a","message":"You are using a Trial key, which is limited to 1000 API calls / month."}`},
		},
		shapes: []dialectShape{
			{name: "usage", dialectRequest: ask, opening: opening, content: content, finish: end("COMPLETE", usage), usage: []int64{15, 80}},
			{name: "no usage", dialectRequest: ask, opening: opening, content: content, finish: end("MAX_TOKENS", "")},
			{name: "and [DONE]", dialectRequest: ask, opening: opening, content: content, finish: end("COMPLETE", usage), marker: "data: [DONE]\n\n", usage: []int64{15, 80}},
		},
	}
}

// formData is a multipart form with a file of size bytes.
func formData(fields map[string]string, file string, size int) dialectRequest {
	const boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
	var b strings.Builder
	for _, name := range []string{"model", "stream", "response_format", "purpose"} {
		if value, ok := fields[name]; ok {
			fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", boundary, name, value)
		}
	}
	fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=%q\r\nContent-Type: audio/mpeg\r\n\r\n", boundary, file)
	b.WriteString(strings.Repeat("\xff\xfb\x90\x64\x00sound!", size/11))
	b.WriteString("\r\n--" + boundary + "--\r\n")
	return dialectRequest{header: map[string]string{"Content-Type": "multipart/form-data; boundary=" + boundary}, body: b.String()}
}

// transcription is a stream with the transcript of a recording.
func transcription() dialect {
	ask := formData(map[string]string{"model": "gpt-4o-mini-transcribe", "stream": "true"}, "hello.mp3", 20<<10)
	ask.path = "/v1/audio/transcriptions"
	content := dataEvents(`{"type":"transcript.text.delta","delta":"Hello","logprobs":[]}`, `{"type":"transcript.text.delta","delta":" there!","logprobs":[]}`)
	done := func(usage string) string {
		return dataEvents(`{"type":"transcript.text.done","text":"Hello there!","logprobs":[]` + usage + `}`)
	}
	const last = "data: [DONE]\n\n"
	return dialect{
		name: "transcription", media: "text/event-stream; charset=utf-8", errorBodies: openAIEventErrors(), errorStatuses: openAIStatuses(),
		shapes: []dialectShape{
			{
				name: "usage", dialectRequest: ask, content: content, marker: last, usage: []int64{19}, atMost: 2000,
				finish: done(`,"usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":5,"total_tokens":19}`),
			},
			{name: "no usage", dialectRequest: ask, content: content, finish: done(""), marker: last, atMost: 2000},
			{name: "usage in seconds", dialectRequest: ask, content: content, finish: done(`,"usage":{"type":"duration","seconds":27}`), marker: last, atMost: 2000},
		},
	}
}

const speechBody = `{"model":"gpt-4o-mini-tts","voice":"alloy","input":"Hello there, nice to meet you!","instructions":"Cheerful."`

// speech is audio: bytes without a structure that the gateway could read.
func speech() dialect {
	sound := strings.Repeat("\xff\xf3\xe4\xc4\x00\x5c\n\ndata: \r\n{", 500)
	return dialect{
		name: "speech", form: formBinary, media: "audio/mpeg", errorStatuses: openAIStatuses(), openEnded: true,
		shapes: []dialectShape{{name: "mp3", dialectRequest: dialectRequest{path: "/v1/audio/speech", body: speechBody + `}`}, content: sound[:4000], finish: sound[4000:]}},
	}
}

// speechEvents is the same as a stream of events.
func speechEvents() dialect {
	ask := dialectRequest{path: "/v1/audio/speech", body: speechBody + `,"stream_format":"sse"}`}
	content := dataEvents(`{"type":"speech.audio.delta","audio":"//PkxAAAAAAAAAAA"}`, `{"type":"speech.audio.delta","audio":"SUQzBAAAAAAAI1RT"}`)
	return dialect{
		name: "speech events", media: "text/event-stream; charset=utf-8", errorBodies: openAIEventErrors(), errorStatuses: openAIStatuses(),
		shapes: []dialectShape{
			{name: "usage", dialectRequest: ask, content: content, finish: dataEvents(`{"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}`), usage: []int64{115}},
			{name: "no usage", dialectRequest: ask, content: content, finish: dataEvents(`{"type":"speech.audio.done"}`)},
		},
	}
}

// embeddings are vectors of texts.
func embeddings() dialect {
	vector := strings.TrimSuffix(strings.Repeat("-0.0069292834,0.0023,", 64), ",")
	list := `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[` + vector + `]}],"model":"text-embedding-3-small"`
	content, finish := halves(list + `,"usage":{"prompt_tokens":8,"total_tokens":8}}`)
	bare, rest := halves(list + `}`)
	ask := dialectRequest{path: "/v1/embeddings", body: `{"model":"text-embedding-3-small","input":"The food was delicious and the waiter very kind."}`}
	return dialect{
		name: "embeddings", form: formDocument, media: "application/json", cached: true, errorStatuses: openAIStatuses(),
		errorBodies: dialectErrors{kindServer: openAIServerError, kindRequest: openAIRequestError, kindQuota: openAIQuotaError, kindUnknown: openAIUnknownError},
		shapes: []dialectShape{
			{name: "usage", dialectRequest: ask, content: content, finish: finish, usage: []int64{8}},
			{name: "no usage", dialectRequest: ask, content: bare, finish: rest},
		},
	}
}

// converse is Bedrock's, as one document.
func converse() dialect {
	message := `{"output":{"message":{"role":"assistant","content":[{"text":"Hello there! ` + strings.Repeat("It is good to see you. ", 30) + `"}]}},"stopReason":"end_turn"`
	content, finish := halves(message + `,"usage":{"inputTokens":12,"outputTokens":180,"totalTokens":192,"cacheReadInputTokens":0,"cacheWriteInputTokens":0},"metrics":{"latencyMs":551}}`)
	bare, rest := halves(message + `}`)
	ask := dialectRequest{path: "/model/amazon.nova-lite-v1:0/converse", body: `{"messages":[{"role":"user","content":[{"text":"Say hello."}]}],"inferenceConfig":{"maxTokens":512}}`}
	return dialect{
		name: "converse", form: formDocument, media: "application/json",
		errorStatuses: dialectStatuses{
			kindServer:  {"500 Internal Server Error", `{"message":"The system encountered an unexpected error during processing. Try your request again."}`},
			kindRequest: {"400 Bad Request", `{"message":"The provided model identifier is invalid."}`},
			kindQuota:   {"429 Too Many Requests", `{"message":"Too many tokens per day, please wait before trying again."}`},
		},
		shapes: []dialectShape{
			{name: "usage", dialectRequest: ask, content: content, finish: finish, usage: []int64{192}},
			{name: "no usage", dialectRequest: ask, content: bare, finish: rest},
		},
	}
}

const (
	imageBody  = `{"model":"gpt-image-1","prompt":"A small otter that says hello","size":"1024x1024"`
	imageUsage = `"usage":{"total_tokens":4172,"input_tokens":12,"output_tokens":4160,"input_tokens_details":{"text_tokens":12,"image_tokens":0}}`
)

// images are pictures in one document.
func images() dialect {
	picture := strings.Repeat("iVBORw0KGgoAAAANSUhEUgAA", 300)
	content, finish := halves(`{"created":1750000000,"data":[{"b64_json":"` + picture + `"}],` + imageUsage + `}`)
	bare, rest := halves(`{"created":1750000000,"data":[{"url":"https://images.example/otter.png","revised_prompt":"A small otter that says hello"}]}`)
	ask := dialectRequest{path: "/v1/images/generations", body: imageBody + `}`}
	return dialect{
		name: "images", form: formDocument, media: "application/json", errorStatuses: openAIStatuses(),
		errorBodies: dialectErrors{kindServer: openAIServerError, kindRequest: openAIRequestError, kindQuota: openAIQuotaError, kindUnknown: openAIUnknownError},
		shapes: []dialectShape{
			{name: "usage", dialectRequest: ask, content: content, finish: finish, usage: []int64{4172}},
			{name: "no usage", dialectRequest: ask, content: bare, finish: rest, atMost: 5000},
		},
	}
}

// imageEvents is a stream of partial images.
func imageEvents() dialect {
	content := typedOf(`{"type":"image_generation.partial_image","partial_image_index":0,"b64_json":"iVBORw0KGgo","created_at":1750000000,"size":"1024x1024","quality":"high","background":"opaque","output_format":"png"}`)
	finish := typedOf(`{"type":"image_generation.completed","b64_json":"iVBORw0KGgoAAA","created_at":1750000001,"size":"1024x1024","quality":"high","background":"opaque","output_format":"png",` + imageUsage + `}`)
	return dialect{
		name: "image events", media: "text/event-stream; charset=utf-8", errorBodies: openAIEventErrors(), errorStatuses: openAIStatuses(),
		shapes: []dialectShape{{name: "usage", dialectRequest: dialectRequest{path: "/v1/images/generations", body: imageBody + `,"stream":true,"partial_images":1}`}, content: content, finish: finish, usage: []int64{4172}}},
	}
}
