package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// sdkUpstream is an upstream with three APIs. The model's name selects the script: the content
// of the response and its end.
func sdkUpstream(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	for path, form := range map[string]*sdkWire{"/v1/chat/completions": chatWire(), "/v1/responses": responsesWire(), "/v1/messages": messagesWire()} {
		mux.HandleFunc("POST "+path, form.serve)
		mux.HandleFunc("POST /early"+path, form.serve)
	}
	mux.HandleFunc("POST /{version}/models/{call}", gemini)
	s := newQuietServer(t, mux)
	return s
}

// sdkWire has the messages of an API.
type sdkWire struct {
	opening, text, tool, closing []string // events of a stream
	usage, end                   string   // the usage event, when requested, and the end marker
	stop, call                   string   // finish reasons: after text, and for a tool
	whole                        string   // a JSON response
	quota, context               string   // errors as a body
	event                        func(body string) string
}

func chatWire() *sdkWire {
	const chunk = `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{%s},"finish_reason":%s}]}`
	return &sdkWire{
		opening: []string{fmt.Sprintf(chunk, `"role":"assistant","content":""`, "null")},
		text:    []string{fmt.Sprintf(chunk, `"content":"hel"`, "null"), fmt.Sprintf(chunk, `"content":"lo"`, "null")},
		tool: []string{
			fmt.Sprintf(chunk, `"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"add","arguments":""}}]`, "null"),
			fmt.Sprintf(chunk, `"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]`, "null"),
			fmt.Sprintf(chunk, `"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]`, "null"),
		},
		closing: []string{fmt.Sprintf(chunk, ``, `"stop"`)},
		usage:   `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`,
		end:     "data: [DONE]",
		stop:    `"stop"`, call: `"tool_calls"`,
		whole:   `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`,
		quota:   `{"error":{"message":"You exceeded your current quota.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`,
		context: `{"error":{"message":"Your input is too long.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`,
		event:   func(body string) string { return "data: " + body },
	}
}

// typed is an event of typedOf without the blank line at its end.
func typed(data string) string { return strings.TrimSuffix(typedOf(data), "\n\n") }

func responsesWire() *sdkWire {
	const response = `{"id":"resp_1","object":"response","created_at":1,"model":"m","status":%q,"error":%s,"output":[%s],"usage":%s}`
	const usage = `{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}`
	const message = `{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hello","annotations":[]}]}`
	const call = `{"id":"fc_1","type":"function_call","call_id":"t","name":"add","arguments":"{\"a\":1}","status":"completed"}`
	completed := fmt.Sprintf(response, "completed", "null", message, usage)
	w := &sdkWire{
		opening: []string{typed(`{"type":"response.created","sequence_number":0,"response":` + fmt.Sprintf(response, "in_progress", "null", "", "null") + `}`)},
		text: []string{
			typed(`{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"msg_1","type":"message","role":"assistant","status":"in_progress","content":[]}}`),
			typed(`{"type":"response.content_part.added","sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}`),
			typed(`{"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"hel","logprobs":[]}`),
			typed(`{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"lo","logprobs":[]}`),
			typed(`{"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":` + message + `}`),
		},
		tool: []string{
			typed(`{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"fc_1","type":"function_call","call_id":"t","name":"add","arguments":"","status":"in_progress"}}`),
			typed(`{"type":"response.function_call_arguments.delta","sequence_number":2,"item_id":"fc_1","output_index":0,"delta":"{\"a\":1}"}`),
			typed(`{"type":"response.function_call_arguments.done","sequence_number":3,"item_id":"fc_1","output_index":0,"name":"add","arguments":"{\"a\":1}"}`),
			typed(`{"type":"response.output_item.done","sequence_number":4,"output_index":0,"item":` + call + `}`),
		},
		end:     typed(`{"type":"response.completed","sequence_number":9,"response":` + completed + `}`),
		whole:   completed,
		quota:   chatWire().quota,
		context: chatWire().context,
	}
	w.event = func(body string) string {
		var e struct {
			Error struct{ Code, Message string }
		}
		_ = json.Unmarshal([]byte(body), &e)
		fault := fmt.Sprintf(`{"code":%q,"message":%q}`, e.Error.Code, e.Error.Message)
		return typed(`{"type":"response.failed","sequence_number":1,"response":` + fmt.Sprintf(response, "failed", fault, "", "null") + `}`)
	}
	return w
}

func messagesWire() *sdkWire {
	const message = `{"id":"msg","type":"message","role":"assistant","model":"claude","content":[%s],"stop_reason":%s,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":%d}}`
	const start = `{"type":"content_block_start","index":0,"content_block":%s}`
	const delta = `{"type":"content_block_delta","index":0,"delta":%s}`
	return &sdkWire{
		opening: []string{typed(`{"type":"message_start","message":` + fmt.Sprintf(message, "", "null", 0) + `}`)},
		text: []string{
			typed(fmt.Sprintf(start, `{"type":"text","text":""}`)),
			typed(fmt.Sprintf(delta, `{"type":"text_delta","text":"hel"}`)), typed(fmt.Sprintf(delta, `{"type":"text_delta","text":"lo"}`)),
		},
		tool: []string{
			typed(fmt.Sprintf(start, `{"type":"tool_use","id":"t","name":"add","input":{}}`)),
			typed(fmt.Sprintf(delta, `{"type":"input_json_delta","partial_json":"{\"a\""}`)), typed(fmt.Sprintf(delta, `{"type":"input_json_delta","partial_json":":1}"}`)),
		},
		closing: []string{
			typed(`{"type":"content_block_stop","index":0}`),
			typed(`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}`),
		},
		end:  typed(`{"type":"message_stop"}`),
		stop: `"end_turn"`, call: `"tool_use"`,
		whole:   fmt.Sprintf(message, `{"type":"text","text":"hello"}`, `"end_turn"`, 2),
		quota:   `{"type":"error","error":{"type":"rate_limit_error","message":"You exceeded your quota."}}`,
		context: `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}`,
		event:   typed,
	}
}

// gemini streams like Google's API, which has no end marker.
func gemini(w http.ResponseWriter, r *http.Request) {
	const part = `data: {"candidates":[{"content":{"role":"model","parts":[{"text":%q}]},"index":0%s}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5}}`
	events := []string{fmt.Sprintf(part, "hel", ""), fmt.Sprintf(part, "lo", `,"finishReason":"STOP"`)}
	if strings.HasPrefix(r.PathValue("call"), "pauses:") {
		writeWithPauses(w, r, events)
		return
	}
	writeEvents(w, events...)
}

// serve runs the script of a model.
func (a *sdkWire) serve(w http.ResponseWriter, r *http.Request) {
	model, stream, usage := decodeRequest(r)
	switch {
	case model == "quota" || model == "context":
		a.refuse(w, model)
		return
	case !stream:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, a.whole)
		return
	}
	switch model {
	case "quota-event":
		writeEvents(w, a.event(a.quota))
		return
	case "context-event":
		writeEvents(w, a.event(a.context))
		return
	case "late":
		writeEvents(w, slices.Concat(a.opening, a.text, []string{a.event(a.quota)})...)
	case "cut":
		writeEvents(w, slices.Concat(a.opening, a.text)...)
		panic(http.ErrAbortHandler)
	case "pauses", "early":
		writeWithPauses(w, r, a.events(a.text, usage))
	case "unmarked":
		events := a.events(a.text, usage)
		writeEvents(w, events[:len(events)-1]...)
	case "tools":
		events := strings.Join(a.events(a.tool, usage), "\n\n")
		writeEvents(w, strings.Replace(events, a.stop, a.call, 1))
	default:
		writeEvents(w, a.events(a.text, usage)...)
	}
}

// events returns a whole stream with the given content.
func (a *sdkWire) events(content []string, usage bool) (all []string) {
	all = append(all, a.opening...)
	all = append(all, content...)
	all = append(all, a.closing...)
	if usage && a.usage != "" {
		all = append(all, a.usage)
	}
	return append(all, a.end)
}

func (a *sdkWire) refuse(w http.ResponseWriter, model string) {
	w.Header().Set("Content-Type", "application/json")
	if model == "quota" {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, a.quota)
		return
	}
	w.WriteHeader(http.StatusBadRequest)
	_, _ = io.WriteString(w, a.context)
}

// writeWithPauses sends a stream with pauses before, within and after each event.
func writeWithPauses(w http.ResponseWriter, r *http.Request, events []string) {
	w.Header().Set("Content-Type", "text/event-stream")
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	text := strings.Join(events, "\n\n") + "\n\n"
	for len(text) > 0 {
		next := strings.Index(text, "\n\n") + 2
		for _, piece := range []string{text[:next/2], text[next/2 : next-1], text[next-1 : next]} {
			_ = http.NewResponseController(w).Flush()
			select {
			case <-pause.C:
			case <-r.Context().Done():
				return
			}
			_, _ = io.WriteString(w, piece)
		}
		text = text[next:]
	}
}
