package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
)

// A request that is refused because of the gateway's change is repeated once without it,
// outside the retry budget. Later requests to that upstream are not changed.
func TestDialectOwnChangeIsRefused(t *testing.T) {
	t.Parallel()
	refusals := map[string]struct {
		status int
		body   string
	}{
		"422 of FastAPI":      {422, `{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{"include_usage":true}}]}`},
		"400 of OpenAI":       {400, `{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":null}}`},
		"400 with a param":    {400, `{"error":{"message":"Unknown parameter: 'stream_options'.","type":"invalid_request_error","param":"stream_options","code":"unknown_parameter"}}`},
		"400 of another kind": {400, `{"object":"error","message":"body.stream_options: property 'stream_options' is unsupported","type":"BadRequestError","code":400}`},
	}
	serve := func(status int, body string) func(w http.ResponseWriter, r *http.Request, sent string) {
		return func(w http.ResponseWriter, _ *http.Request, sent string) {
			if strings.Contains(sent, "stream_options") {
				writeResponse(w, status, jsonMedia, body)
				return
			}
			writeResponse(w, 200, eventMedia, chatStream())
		}
	}
	setup := dialectSetup{limits: true, retry: proxy.Retry{Attempts: 1, BudgetRatio: -1, BudgetReserve: -1}}
	for name, refusal := range refusals {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			up := startScripted(t, serve(refusal.status, refusal.body))
			g := up.gateway(t, setup)
			for range 2 {
				got := g.send(t, chatOf("m", `"stream":true,`))
				assert.Empty(v, isWhole(got, "200", chatStream()))
			}
			seen := up.requests()
			if assert.Len(v, seen, 3, "the second request is not changed") {
				assert.Contains(v, seen[0].body, "stream_options")
				assert.Equal(v, chatOf("m", `"stream":true,`).body, seen[1].body)
				assert.Equal(v, seen[1].body, seen[2].body)
			}
			assert.Equal(v, breaker.Closed, g.state("a"))
		})
		scenario(t, name+", requested by the client itself", func(t *testing.T, v *findings) {
			t.Helper()
			up := startScripted(t, serve(refusal.status, refusal.body))
			g := up.gateway(t, setup)
			got := g.send(t, chatOf("m", `"stream":true,"stream_options":{"include_usage":true},`))
			assert.Equal(v, refusal.status, got.status)
			assert.Equal(v, refusal.body, got.body)
			assert.Len(v, up.requests(), 1)
		})
	}
	scenario(t, "refused for another reason", func(t *testing.T, v *findings) {
		t.Helper()
		up := startScripted(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
			writeResponse(w, 400, jsonMedia, openAIRequestError)
		})
		g := up.gateway(t, setup)
		got := g.send(t, chatOf("m", `"stream":true,`))
		assert.Empty(v, isWhole(got, "400", openAIRequestError))
		assert.LessOrEqual(v, len(up.requests()), 2)
	})
	scenario(t, "switched off", func(t *testing.T, v *findings) {
		t.Helper()
		up := startScripted(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
			writeResponse(w, 200, eventMedia, chatStream())
		})
		off := setup
		off.meter = stream.MeterConfig{NoInject: true}
		g := up.gateway(t, off)
		ask := chatOf("m", `"stream":true,`)
		assert.Empty(v, isWhole(g.send(t, ask), "200", chatStream()))
		assert.Equal(v, ask.body, up.requests()[0].body)
	})
}

// The gateway removes the usage that only it requested from the stream, and nothing else.
func TestDialectUsageOfOursIsTakenOut(t *testing.T) {
	t.Parallel()
	const null = `,"usage":null`
	stop := func(more string) string {
		return dataEvents(chatChunk(`"delta":{},"finish_reason":"stop"`, more))
	}
	words, withNull := chatWords("", "Hello", "!"), chatWords(null, "Hello", "!")
	alone := dataEvents(chatUsageChunk())
	continuous := chatWords(`,"usage":{"prompt_tokens":24,"total_tokens":25,"completion_tokens":1}`, "Hello", "!")
	filter := dataEvents(`{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}`)
	groq := dataEvents(chatChunk(`"delta":{},"finish_reason":"stop"`, `,"x_groq":{"id":"req_1","usage":{"prompt_tokens":24,"completion_tokens":7,"total_tokens":31}}`))
	tests := map[string]struct{ ask, sent, want string }{
		"usage with the last choice":           {"", words + stop(`,"usage":`+chatUsage) + doneEvent, words + stop(`,"usage":`+chatUsage) + doneEvent},
		"usage alone":                          {"", withNull + stop(null) + alone + doneEvent, words + stop("") + doneEvent},
		"usage alone, no nulls":                {"", words + stop("") + alone + doneEvent, words + stop("") + doneEvent},
		"usage in every chunk":                 {"", continuous + stop("") + doneEvent, continuous + stop("") + doneEvent},
		"in every chunk, and alone":            {"", continuous + stop("") + alone + doneEvent, continuous + stop("") + doneEvent},
		"with the last choice, and alone":      {"", words + stop(`,"usage":`+chatUsage) + alone + doneEvent, words + stop(`,"usage":`+chatUsage) + doneEvent},
		"of another name":                      {"", words + groq + alone + doneEvent, words + groq + doneEvent},
		"no choices, but something else":       {"", filter + words + stop("") + alone + doneEvent, filter + words + stop("") + doneEvent},
		"include_usage is false":               {`"stream_options":{"include_usage":false},`, withNull + stop(null) + alone + doneEvent, words + stop("") + doneEvent},
		"the client requested it":              {`"stream_options":{"include_usage":true},`, withNull + stop(null) + alone + doneEvent, withNull + stop(null) + alone + doneEvent},
		"usage alone, then the end, no marker": {"", words + stop("") + alone, words + stop("")},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			up := startScripted(t, func(w http.ResponseWriter, _ *http.Request, _ string) { writeResponse(w, 200, eventMedia, tt.sent) })
			g := up.gateway(t, dialectSetup{limits: true})
			got := g.send(t, chatOf("m", `"stream":true,`+tt.ask))
			v.noError(got.err)
			assert.Equal(v, tt.want, got.body)
			assert.Positive(v, g.charged(), "tokens charged")
		})
	}
}
