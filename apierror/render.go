package apierror

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// longWait is the wait beyond which SDKs should give up: the OpenAI clients
// ignore a longer Retry-After and would come back too early.
const longWait = time.Minute

// shape is one way of writing an error.
type shape struct {
	contentType string
	eventName   string
	body        func(*Error) any
}

type openAIError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    string  `json:"code"`
}

type openAIBody struct {
	Error openAIError `json:"error"`
}

type problemBody struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Code   string       `json:"code"`
	Error  *openAIError `json:"error,omitempty"`
}

type anthropicBody struct {
	Type  string         `json:"type"`
	Error anthropicError `json:"error"`
}

type anthropicError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func (e *Error) openAI() openAIError {
	return openAIError{Message: e.message(), Type: e.openAIType(), Code: e.code()}
}

func (e *Error) problem() problemBody {
	// RFC 9457 §4.2.1: "about:blank" says that the title is the status text.
	return problemBody{Type: "about:blank", Title: title(e.status()), Status: e.status(), Detail: e.message(), Code: e.code()}
}

func defaultShape() shape {
	return shape{contentType: "application/problem+json", body: func(e *Error) any {
		p, o := e.problem(), e.openAI()
		p.Error = &o
		return p
	}}
}

// streamBody is read by the SDKs of OpenAI, which look for the member, and of Anthropic,
// which look for the event's name and the type.
type streamBody struct {
	Type  string      `json:"type"`
	Error openAIError `json:"error"`
}

// streamShape is for everybody. Its name keeps it from pages with an EventSource that take
// what has no name for theirs: their onerror is called.
func streamShape() shape {
	return shape{contentType: "application/json", eventName: "error", body: func(e *Error) any { return streamBody{Type: "error", Error: e.openAI()} }}
}

func openAIShape() shape {
	return shape{contentType: "application/json", body: func(e *Error) any { return openAIBody{e.openAI()} }}
}

func anthropicShape() shape {
	return shape{contentType: "application/json", eventName: "error", body: func(e *Error) any {
		return anthropicBody{Type: "error", Error: anthropicError{Type: e.anthropicType(), Message: e.message()}}
	}}
}

func problemShape() shape {
	return shape{contentType: "application/problem+json", eventName: "error", body: func(e *Error) any { return e.problem() }}
}

func (s shape) json(e *Error) []byte {
	b, err := json.Marshal(s.body(e))
	if err != nil { // plain structs of strings and ints: cannot happen
		return []byte(`{"error":{"message":"internal error","type":"server_error","param":null,"code":"internal_error"}}`)
	}
	return b
}

// event is the error as a server-sent event.
func (s shape) event(e *Error) []byte {
	var out []byte
	if s.eventName != "" {
		out = append(out, "event: "+s.eventName+"\n"...)
	}
	out = append(out, "data: "...)
	out = append(out, s.json(e)...)
	return append(out, "\n\n"...)
}

// Event returns err as the server-sent event that [Abort] would write into a
// committed stream: its name, "error", one data line with an OpenAI "error" object that
// has Anthropic's "type" beside it, a blank line, and no [DONE].
func Event(err error) []byte {
	return streamShape().event(From(err))
}

// setRetry writes the headers that HTTP clients and the OpenAI and Anthropic
// SDKs read before they try again.
func setRetry(h http.Header, wait time.Duration) {
	if wait <= 0 {
		return
	}
	h.Set("Retry-After", roundUp(wait, time.Second))
	h.Set("Retry-After-Ms", roundUp(wait, time.Millisecond))
	h.Set("X-Should-Retry", strconv.FormatBool(wait <= longWait))
}

// roundUp counts the units in d, which is positive, so that nobody comes early.
func roundUp(d, unit time.Duration) string {
	return strconv.FormatInt(int64((d-1)/unit)+1, 10)
}

// dropEntity removes the headers that described the answer which is not sent.
func dropEntity(h http.Header) {
	for _, k := range [...]string{"Content-Length", "Content-Encoding", "Content-Range", "Content-Disposition", "Etag", "Last-Modified", "Cache-Control", "Expires", "Trailer", "Accept-Ranges"} {
		h.Del(k)
	}
}
