package llm

import (
	"encoding/json"
	"net/http"
)

// ErrorFields are the fields of an error of the gateway, independent of an API.
type ErrorFields struct {
	Status  int    // HTTP status
	Type    string // of OpenAI's kind. Default: by Status
	Code    string // Default: Type
	Message string
	// Place is where the stream broke off.
	Place Place
}

// OpenAIType returns the error type of OpenAI's APIs for a status.
func OpenAIType(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "authentication_error"
	case status == http.StatusForbidden:
		return "permission_error"
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status < http.StatusInternalServerError:
		return "invalid_request_error"
	default:
		return "server_error"
	}
}

// AnthropicType returns the error type of Anthropic's API for a status.
func AnthropicType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	case http.StatusServiceUnavailable, statusOverloaded:
		return "overloaded_error"
	}
	if status < http.StatusInternalServerError {
		return "invalid_request_error"
	}
	return "api_error"
}

// statusOverloaded is Anthropic's.
const statusOverloaded = 529

// googleStatus returns the name of a status in Google's APIs.
func googleStatus(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusNotFound:
		return "NOT_FOUND"
	case http.StatusConflict:
		return "ABORTED"
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED"
	case http.StatusNotImplemented:
		return "UNIMPLEMENTED"
	case http.StatusBadGateway, http.StatusServiceUnavailable, statusOverloaded:
		return "UNAVAILABLE"
	case http.StatusGatewayTimeout:
		return "DEADLINE_EXCEEDED"
	}
	if status < http.StatusInternalServerError {
		return "INVALID_ARGUMENT"
	}
	return "INTERNAL"
}

// OpenAIError is the error object of OpenAI's APIs.
type OpenAIError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    string  `json:"code"`
}

// openAIEvent is understood by the SDKs of OpenAI, which look for the member, and of
// Anthropic, which look for the event's name and the type.
type openAIEvent struct {
	Type  string      `json:"type"`
	Error OpenAIError `json:"error"`
}

type anthropicError struct {
	Type  string `json:"type"`
	Error struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
}

type googleError struct {
	Error struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Status  string `json:"status"`
	} `json:"error"`
}

// failedResponse is the terminal event of the Responses API that clients wait for.
type failedResponse struct {
	Type     string `json:"type"`
	Sequence int64  `json:"sequence_number"`
	Response struct {
		ID     string `json:"id"`
		Object string `json:"object"`
		Status string `json:"status"`
		Error  struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
		Incomplete *struct{}  `json:"incomplete_details"`
		Output     []struct{} `json:"output"`
		Usage      *struct{}  `json:"usage"`
	} `json:"response"`
}

// OpenAI returns the error as an object of OpenAI's APIs.
func (e ErrorFields) OpenAI() OpenAIError {
	out := OpenAIError{Message: e.Message, Type: e.Type, Code: e.Code}
	if out.Type == "" {
		out.Type = OpenAIType(e.Status)
	}
	if out.Code == "" {
		out.Code = out.Type
	}
	return out
}

func (e ErrorFields) anthropic() (out anthropicError) {
	out.Type = "error"
	out.Error.Type, out.Error.Message = AnthropicType(e.Status), e.Message
	return out
}

func (e ErrorFields) google() (out googleError) {
	out.Error.Code, out.Error.Message, out.Error.Status = e.Status, e.Message, googleStatus(e.Status)
	return out
}

func (e ErrorFields) failedResponse() (out failedResponse) {
	out.Type, out.Sequence = "response.failed", e.Place.Sequence
	r := &out.Response
	r.ID, r.Object, r.Status, r.Output = e.Place.ID, "response", "failed", []struct{}{}
	r.Error.Code, r.Error.Message = e.OpenAI().Code, e.Message
	return out
}

// ErrorBody returns the error as a JSON response of the API; nil if the API has no form of
// its own.
func ErrorBody(api API, e ErrorFields) []byte {
	if api == Messages {
		return encode(e.anthropic())
	}
	if api == Gemini {
		return encode(e.google())
	}
	if api == Ollama {
		return encode(map[string]string{"error": e.Message})
	}
	return nil
}

// ErrorEvent returns the error as the last event of a stream of the API, in its own form.
// APIs without one get an event named "error", so that an EventSource calls onerror instead
// of delivering it as a message. Ollama's is a line of JSON.
func ErrorEvent(api API, e ErrorFields) []byte {
	if api == Messages {
		return namedEvent("error", e.anthropic())
	}
	if api == Responses {
		return namedEvent("response.failed", e.failedResponse())
	}
	if api == Gemini {
		return namedEvent("", e.google())
	}
	if api == Ollama {
		return append(ErrorBody(api, e), '\n')
	}
	return namedEvent("error", openAIEvent{Type: "error", Error: e.OpenAI()})
}

func namedEvent(name string, data any) []byte {
	var out []byte
	if name != "" {
		out = append(out, "event: "+name+"\n"...)
	}
	out = append(out, "data: "...)
	out = append(out, encode(data)...)
	return append(out, "\n\n"...)
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // plain structs of strings and ints: cannot happen
		return []byte(`{"error":{"message":"internal error","type":"server_error","param":null,"code":"internal_error"}}`)
	}
	return b
}
