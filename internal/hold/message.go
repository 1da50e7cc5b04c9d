package hold

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// message is what can be seen of an event of a model, or of its answer.
type message struct {
	Type    string          `json:"type"`
	Object  string          `json:"object"`
	Choices json.RawMessage `json:"choices"`
	Block   struct {
		Type string `json:"type"`
	} `json:"content_block"`
	Error     json.RawMessage `json:"error"`
	ErrorType any             `json:"error_type"` // of TGI
	Response  json.RawMessage `json:"response"`
	Code      any             `json:"code"`
	JSONRPC   any             `json:"jsonrpc"` // its errors are answers
}

// isModel reports whether it is of a model, and of a kind that may be without content.
// What tools are at work on, as the responses API tells it, is content.
func (m *message) isModel() bool {
	switch m.Type {
	case "ping", "keepalive", "message_start",
		"response.created", "response.queued", "response.in_progress", "response.output_item.added", "response.content_part.added",
		"response.reasoning_summary_part.added", "response.completed", "response.incomplete":
		return true
	}
	return m.Choices != nil || strings.HasPrefix(m.Type, "content_block_")
}

// says reports whether such a one has content of a kind that is no text: sound, images,
// what was searched for, or that there will be none.
func (m *message) says() bool {
	if m.Block.Type != "" && m.Block.Type != "text" && m.Block.Type != "thinking" {
		return true
	}
	var choices []struct {
		Delta  map[string]json.RawMessage `json:"delta"`
		Finish any                        `json:"finish_reason"`
	}
	_ = json.Unmarshal(m.Choices, &choices) // choices of another form say nothing
	for _, c := range choices {
		switch c.Finish {
		case "stop", "length", "content_filter", "tool_calls", "function_call":
			return true
		}
		for name, value := range c.Delta {
			if name != "role" && !slices.Contains([]string{"null", `""`, "[]", "{}"}, string(value)) {
				return true
			}
		}
	}
	return false
}

// isError reports whether the whole is an error as servers of models write it.
func (m *message) isError() bool {
	return m.Object == "error" || m.inner().Message != ""
}

// isFault reports whether an error is the request's: anybody else would say the same.
// Servers give a status as code, or a name. A client must not be able to have endpoints
// taken for broken by what it asks for.
func (m *message) isFault() bool {
	inner := m.inner()
	for _, code := range [...]any{m.Code, inner.Code, inner.HTTPStatus} {
		if status, ok := statusOf(code); ok {
			return status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
		}
	}
	return isFaultName(m.Code) || isFaultName(m.ErrorType) || isFaultName(inner.Code) || isFaultName(inner.Type)
}

// isFaultName knows the names of faults of requests, as types and as codes.
func isFaultName(v any) bool {
	switch v {
	case "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "request_too_large", "BadRequestError", "NotFoundError",
		"content_filter", "content_policy_violation", "context_length_exceeded", "exceed_context_size_error", "invalid_prompt", "validation":
		return true
	}
	return false
}

// statusOf reads a code that is a status: a number, or one in quotes.
func statusOf(code any) (int, bool) {
	switch v := code.(type) {
	case float64:
		return int(v), true
	case string:
		n, err := strconv.Atoi(v)
		return n, err == nil
	}
	return 0, false
}

// fault is what an error is said to be.
type fault struct {
	Message    string `json:"message"`
	Type       any    `json:"type"`
	Code       any    `json:"code"`
	HTTPStatus any    `json:"http_status_code"` // of TGI
}

// inner is the error, or that of the answer which an event of the responses API has in
// it.
func (m *message) inner() fault {
	var f fault
	if m.Error != nil {
		_ = json.Unmarshal(m.Error, &f) // a string says nothing of its kind
		return f
	}
	if m.Type == "response.failed" {
		var response struct {
			Error fault `json:"error"`
		}
		_ = json.Unmarshal(m.Response, &response)
		return response.Error
	}
	return f
}
