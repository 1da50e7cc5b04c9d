package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
)

// The error of the last attempt reaches the client unchanged, with its head. Request and
// credential errors are sent once and open no circuit; an error of an unknown kind is not a
// failure.
func TestDialectReasonReachesTheClient(t *testing.T) {
	t.Parallel()
	const head = "Content-Type: application/json\r\nOpenai-Processing-Ms: 42\r\nX-Ratelimit-Remaining-Requests: 0\r\nRetry-After: 30\r\nX-Should-Retry: false\r\n"
	stream := chatOf("m", `"stream":true,`)
	role := openAIChat().shapes[1].opening
	tests := map[string]struct {
		dialectRequest

		line, head, body string // line "": events in a 200
		calls            []int  // any of them
		state            breaker.State
	}{
		"insufficient_quota, first event":      {stream, "", "", dataEvents(openAIQuotaError), []int{1}, breaker.Closed},
		"insufficient_quota behind a role":     {stream, "", "", role + dataEvents(openAIQuotaError), []int{1}, breaker.Closed},
		"insufficient_quota, [DONE] behind":    {stream, "", "", dataEvents(openAIQuotaError) + doneEvent, []int{1}, breaker.Closed},
		"402 of a relay, in an event":          {stream, "", "", dataEvents(`{"error":{"code":402,"message":"Insufficient credits"},"user_id":"u"}`), []int{1}, breaker.Closed},
		"429 of a relay, in an event":          {stream, "", "", dataEvents(`{"error":{"code":429,"message":"Rate limited upstream"}}`), []int{1, 2}, breaker.Closed},
		"content_filter":                       {stream, "", "", dataEvents(`{"error":{"code":"content_filter","message":"The response was filtered.","innererror":{"code":"ResponsibleAIPolicyViolation"}}}`), []int{1}, breaker.Closed},
		"model_not_found":                      {stream, "", "", dataEvents(`{"error":{"message":"The model m does not exist","type":"invalid_request_error","code":"model_not_found"}}`), []int{1}, breaker.Closed},
		"an unknown code":                      {stream, "", "", dataEvents(`{"error":{"message":"Something new","type":"new_error","code":"something_new"}}`), []int{1, 2}, breaker.Closed},
		"an error that is a text":              {stream, "", "", dataEvents(`{"error":"it did not work"}`), []int{1, 2}, breaker.Closed},
		"an error event without JSON":          {stream, "", "", "event: error\ndata: it did not work\n\n", []int{1, 2}, breaker.Closed},
		"500 in an event":                      {stream, "", "", dataEvents(`{"error":{"message":"CUDA out of memory","type":"InternalServerError","param":null,"code":500}}`), []int{2}, breaker.Open},
		"503 in an event":                      {stream, "", "", dataEvents(`{"error":{"message":"Engine is dead","type":"ServiceUnavailableError","code":503}}`), []int{2}, breaker.Open},
		"429 with a quota":                     {stream, "429 Too Many Requests", head, openAIQuotaError, []int{1}, breaker.Closed},
		"429 without a body":                   {stream, "429 Too Many Requests", "Retry-After: 30\r\n", "", []int{1}, breaker.Closed},
		"402":                                  {stream, "402 Payment Required", head, `{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}`, []int{1}, breaker.Closed},
		"413":                                  {stream, "413 Request Entity Too Large", head, `{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}`, []int{1}, breaker.Closed},
		"500":                                  {stream, "500 Internal Server Error", head, openAIServerError, []int{1}, breaker.Open},
		"503 in HTML":                          {stream, "503 Service Unavailable", "Content-Type: text/html\r\nOpenai-Processing-Ms: 42\r\n", "<html>Maintenance until noon</html>", []int{2}, breaker.Open},
		"529":                                  {anthropicRequest(""), "529 Overloaded", "Content-Type: application/json\r\nAnthropic-Organization-Id: org_42\r\n", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, []int{2}, breaker.Open},
		"overloaded_error in an event":         {anthropicRequest(`"stream":true,`), "", "", typedOf(`{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"}}`), []int{2}, breaker.Open},
		"rate_limit_error in an event":         {anthropicRequest(`"stream":true,`), "", "", typedOf(anthropicRateError), []int{1, 2}, breaker.Closed},
		"invalid_request_error in an event":    {anthropicRequest(`"stream":true,`), "", "", typedOf(anthropicRequestError), []int{1}, breaker.Closed},
		"response.failed, rate_limit_exceeded": {openAIResponses().shapes[0].dialectRequest, "", "", responseFailure("rate_limit_exceeded", "Rate limit reached for gpt-4o"), []int{1, 2}, breaker.Closed},
		"error: of an old llama.cpp":           {llamaCPP().shapes[0].dialectRequest, "", "", "error: {\"code\":400,\"message\":\"context shift is disabled\",\"type\":\"invalid_request_error\"}\n\n", []int{1}, breaker.Closed},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			steps, status := faulty.Chunked(eventMedia+"\r\nOpenai-Processing-Ms: 42", tt.body), "200"
			if tt.line != "" {
				steps, status = faulty.Plain(tt.line, tt.head, tt.body), tt.line[:3]
			}
			g, plan := oneUpstream(t, steps)
			got := g.send(t, tt.dialectRequest)
			assert.Empty(v, isWhole(got, status, tt.body), "%d %v %q", got.status, got.err, got.body)
			for line := range strings.SplitSeq(strings.TrimSuffix(tt.head, "\r\n"), "\r\n") {
				if header, value, ok := strings.Cut(line, ": "); ok {
					assert.Equal(v, value, got.header.Get(header), header)
				}
			}
			assert.Contains(v, tt.calls, len(plan.Calls()), "calls")
			for range dialectRepeats - 1 {
				g.send(t, tt.dialectRequest)
			}
			assert.Equal(v, tt.state, g.reaches("a", tt.state))
			assert.Zero(v, g.charged())
		})
	}
}

// A refusal of the operator's credential leads to a fallback, or to a 502 that does not
// contain the key. A refusal of the client's own credential passes through.
func TestDialectRefusedCredential(t *testing.T) {
	t.Parallel()
	refusals := map[string]struct{ line, body string }{
		"401": {"401 Unauthorized", `{"error":{"message":"Incorrect API key provided: sk-first. You can find your API key at https://platform.openai.com.","type":"invalid_request_error","code":"invalid_api_key"}}`},
		"402": {"402 Payment Required", `{"error":{"message":"Insufficient Balance of sk-first","code":"invalid_request_error"}}`},
		"403": {"403 Forbidden", `{"type":"error","error":{"type":"permission_error","message":"Your API key sk-first does not have permission"}}`},
		"404": {"404 Not Found", `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist (sk-first)."}}`},
	}
	for name, refusal := range refusals {
		steps := faulty.Plain(refusal.line, "Content-Type: application/json\r\nWww-Authenticate: Bearer\r\n", refusal.body)
		scenario(t, name+" of the operator's, another upstream", func(t *testing.T, v *findings) {
			t.Helper()
			good := faulty.InTurn(faulty.Chunked(eventMedia, chatStream()))
			setup := dialectSetup{dialectLines: newDialectLines(t), table: dialectFallback(), keys: map[string]string{"a": "sk-first", "b": "sk-second"}}
			setup.urls = twoUpstreams(t, faulty.InTurn(steps), good)
			g := setup.start(t)
			for range dialectRepeats {
				assert.Empty(v, isWhole(g.send(t, chatOf("m", `"stream":true,`)), "200", chatStream()))
			}
			assert.Len(v, good.Calls(), dialectRepeats)
			assert.Equal(v, breaker.Closed, g.state("a"))
		})
		scenario(t, name+" of the operator's, the only upstream", func(t *testing.T, v *findings) {
			t.Helper()
			plan := faulty.InTurn(steps)
			g := dialectSetup{dialectLines: newDialectLines(t), urls: []string{faulty.Start(t, "a", plan).URL}, keys: map[string]string{"a": "sk-first"}}.start(t)
			got := g.send(t, chatOf("m", ""))
			assert.Equal(v, http.StatusBadGateway, got.status)
			assert.NotContains(v, got.body, "sk-")
			assert.Contains(v, got.body, `"error"`)
			assert.Empty(v, got.header.Get("WWW-Authenticate"))
			assert.Equal(v, "failure", got.outcome)
			assert.Len(v, plan.Calls(), 1)
		})
		scenario(t, name+" of the client's own", func(t *testing.T, v *findings) {
			t.Helper()
			g, plan := oneUpstream(t, steps)
			for range dialectRepeats {
				assert.Empty(v, isWhole(g.send(t, chatOf("m", "")), name, refusal.body))
			}
			assert.Len(v, plan.Calls(), dialectRepeats)
			assert.Equal(v, breaker.Closed, g.state("a"))
		})
	}
	scenario(t, "404 for a model that the client invented", func(t *testing.T, v *findings) {
		t.Helper()
		const body = `{"error":{"message":"The model invented does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}`
		plan := faulty.InTurn(faulty.Plain("404 Not Found", "Content-Type: application/json\r\n", body))
		g := dialectSetup{dialectLines: newDialectLines(t), urls: []string{faulty.Start(t, "a", plan).URL}, keys: map[string]string{"a": "sk-first"}}.start(t)
		for range dialectRepeats {
			assert.Empty(v, isWhole(g.send(t, chatOf("invented", "")), "404", body))
		}
		assert.Len(v, plan.Calls(), dialectRepeats)
		assert.Equal(v, breaker.Closed, g.state("a"))
	})
}

// A request that the upstream refuses as too long goes to a version with a larger context,
// whatever the estimate was, and nowhere when there is none.
func TestDialectUpstreamsOwnContextError(t *testing.T) {
	t.Parallel()
	refusals := map[string]faulty.Response{
		"400 of OpenAI":        faulty.Plain("400 Bad Request", "Content-Type: application/json\r\n", `{"error":{"message":"This model's maximum context length is 4096 tokens. However, your messages resulted in 4212 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`),
		"400 of vLLM":          faulty.Plain("400 Bad Request", "Content-Type: application/json\r\n", `{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 4212 tokens (4148 in the messages, 64 in the completion).","type":"BadRequestError","param":null,"code":400}`),
		"400 of Anthropic":     faulty.Plain("400 Bad Request", "Content-Type: application/json\r\n", `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}`),
		"400 of llama.cpp":     faulty.Plain("400 Bad Request", "Content-Type: application/json\r\n", `{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"exceed_context_size_error","n_prompt_tokens":4212,"n_ctx":4096}}`),
		"400 of Gemini":        faulty.Plain("400 Bad Request", "Content-Type: application/json\r\n", geminiError("400", "INVALID_ARGUMENT", "The input token count (4212) exceeds the maximum number of tokens allowed (4096).")),
		"in the first event":   faulty.Chunked(eventMedia, dataEvents(`{"error":{"message":"This model's maximum context length is 4096 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}`)),
		"in response.failed":   faulty.Chunked(eventMedia, responseFailure("context_length_exceeded", "Your input exceeds the context window of this model.")),
		"413 of a long prompt": faulty.Plain("413 Request Entity Too Large", "Content-Type: application/json\r\n", `{"error":{"message":"Input is too long: context_length_exceeded","code":"context_length_exceeded"}}`),
	}
	table := func(room int) *routing.Table {
		t := dialectFallback()
		t.Routes[0].Capabilities, t.Routes[1].Capabilities = &routing.Capabilities{Context: 4096, Tools: true}, &routing.Capabilities{Context: room, Tools: true}
		return t
	}
	ask := chatOf("m", `"stream":true,`)
	for name, steps := range refusals {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			good := faulty.InTurn(faulty.Chunked(eventMedia, chatStream()))
			setup := dialectSetup{dialectLines: newDialectLines(t), table: table(131_072), urls: twoUpstreams(t, faulty.InTurn(steps), good)}
			g := setup.start(t)
			for range dialectRepeats {
				assert.Empty(v, isWhole(g.send(t, ask), "200", chatStream()))
			}
			assert.Equal(v, breaker.Closed, g.state("a"))
		})
		scenario(t, name+", no more room elsewhere", func(t *testing.T, v *findings) {
			t.Helper()
			good := faulty.InTurn(faulty.Chunked(eventMedia, chatStream()))
			first := faulty.InTurn(steps)
			setup := dialectSetup{dialectLines: newDialectLines(t), table: table(4096), urls: twoUpstreams(t, first, good)}
			g := setup.start(t)
			got := g.send(t, ask)
			assert.NotEqual(v, chatStream(), got.body)
			assert.Contains(v, strings.ToLower(got.body), "error")
			assert.Len(v, first.Calls(), 1)
			assert.Empty(v, good.Calls())
		})
	}
}
