package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Only what the dialect defines as text counts as text. Reservations and charges for audio,
// pictures and forms are small, the server's own usage takes precedence, and requests that
// generate nothing cost nothing.
func TestDialectNonTextTokens(t *testing.T) {
	t.Parallel()
	const size = 300 << 10
	sound := formData(map[string]string{"model": "whisper-1"}, "hello.mp3", size)
	sound.path = "/v1/audio/transcriptions"
	upload := formData(map[string]string{"purpose": "batch"}, "batch.jsonl", size)
	upload.path = "/v1/files"
	picture := base64Of(size)
	say := `{"contents":[{"role":"user","parts":[{"text":"What is this?"},{"inlineData":{"mimeType":"image/png","data":"` + picture + `"}}]}]}`
	gemini := `{"candidates":[{"content":{"parts":[{"text":"An otter."}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":270,"candidatesTokenCount":3,"totalTokenCount":273}}`
	ollama := `{"model":"llava","message":{"role":"assistant","content":"An otter."},"done":true,"done_reason":"stop","prompt_eval_count":590,"eval_count":4}`
	ask := func(path, body string) dialectRequest { return dialectRequest{path: path, body: body} }
	tests := map[string]struct {
		dialectRequest

		response string
		charged  [2]int64
	}{
		"sound in a form":             {sound, `{"text":"Hello there!"}`, [2]int64{1, 2000}},
		"sound in a form, priced":     {sound, `{"text":"Hello there!","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59}}`, [2]int64{59, 59}},
		"a file that is stored":       {upload, `{"id":"file-1","object":"file","bytes":307200,"purpose":"batch"}`, [2]int64{0, 2000}},
		"pictures of Ollama":          {ask("/api/chat", `{"model":"llava","stream":false,"messages":[{"role":"user","content":"What is this?","images":["`+picture+`"]}]}`), ollama, [2]int64{594, 594}},
		"pictures of Ollama, two":     {ask("/api/generate", `{"model":"llava","stream":false,"prompt":"What is this?","images":["`+picture+`","`+picture+`"]}`), strings.Replace(ollama, `"message":{"role":"assistant","content":"An otter."}`, `"response":"An otter."`, 1), [2]int64{594, 594}},
		"pictures of Gemini":          {ask("/v1beta/models/gemini-2.5-flash:generateContent", say), gemini, [2]int64{273, 273}},
		"pictures, in snake case":     {ask("/v1beta/models/gemini-2.5-flash:generateContent", strings.NewReplacer("inlineData", "inline_data", "mimeType", "mime_type").Replace(say)), gemini, [2]int64{273, 273}},
		"sound of OpenAI's chat":      {ask(chatPath, `{"model":"gpt-4o-audio-preview","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"`+picture+`","format":"wav"}}]}]}`), openAIChatJSON().shapes[0].whole(), [2]int64{31, 31}},
		"an unknown form":             {dialectRequest{path: "/v1/agents/run", body: strings.Repeat("\x00\x01\x02\x03", size/4), header: map[string]string{"Content-Type": "application/octet-stream"}}, `{"ok":true}`, [2]int64{0, 2000}},
		"count_tokens of Anthropic":   {ask("/v1/messages/count_tokens", `{"model":"claude","messages":[{"role":"user","content":"`+strings.Repeat("word ", 2000)+`"}]}`), `{"input_tokens":2014}`, [2]int64{0, 0}},
		"countTokens of Gemini":       {ask("/v1beta/models/gemini-2.5-flash:countTokens", `{"contents":[{"parts":[{"text":"`+strings.Repeat("word ", 2000)+`"}]}]}`), `{"totalTokens":2001}`, [2]int64{0, 0}},
		"input_tokens of OpenAI":      {ask("/v1/responses/input_tokens", `{"model":"gpt-4o-mini","input":"`+strings.Repeat("word ", 2000)+`"}`), `{"object":"response.input_tokens","input_tokens":2007}`, [2]int64{0, 0}},
		"tokenize of vLLM, llama.cpp": {ask("/tokenize", `{"content":"`+strings.Repeat("word ", 2000)+`"}`), `{"tokens":[1,2,3]}`, [2]int64{0, 0}},
		"moderations":                 {ask("/v1/moderations", `{"model":"omni-moderation-latest","input":"Hello there!"}`), `{"id":"modr-1","results":[{"flagged":false}]}`, [2]int64{0, 100}},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			up := startScripted(t, func(w http.ResponseWriter, _ *http.Request, _ string) { writeResponse(w, 200, jsonMedia, tt.response) })
			g := up.gateway(t, dialectSetup{limits: true})
			got := g.send(t, tt.dialectRequest)
			assert.Equal(v, 200, got.status)
			charged := g.charged()
			assert.GreaterOrEqual(v, charged, tt.charged[0], "charged")
			assert.LessOrEqual(v, charged, tt.charged[1], "charged")
			assert.LessOrEqual(v, g.maxReserved(), int64(5000), "reserved")
		})
	}
}
