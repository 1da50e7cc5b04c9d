package apierror

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// longWait is the longest Retry-After that SDKs should wait: the OpenAI clients ignore a
// longer one and would retry too early.
const longWait = time.Minute

// shape is a representation of errors.
type shape struct {
	contentType string
	body        func(*Error) []byte
	event       func(*Error) []byte // for a committed stream
	lines       bool                // the stream is JSON Lines
}

type openAIBody struct {
	Error llm.OpenAIError `json:"error"`
}

type problemBody struct {
	Type   string           `json:"type"`
	Title  string           `json:"title"`
	Status int              `json:"status"`
	Detail string           `json:"detail"`
	Code   string           `json:"code"`
	Error  *llm.OpenAIError `json:"error,omitempty"`
}

func (e *Error) problem() problemBody {
	// RFC 9457 §4.2.1: "about:blank" means that the title is the status text.
	return problemBody{Type: "about:blank", Title: title(e.status()), Status: e.status(), Detail: e.message(), Code: e.code()}
}

// shapeOf returns the shape of the API that a request calls: the API's own, or an RFC 9457
// problem with an OpenAI error.
func shapeOf(api llm.API) shape {
	s := shape{
		lines:       api == llm.Ollama,
		contentType: "application/problem+json",
		body: func(e *Error) []byte {
			p, o := e.problem(), e.text().OpenAI()
			p.Error = &o
			return encode(p)
		},
		event: func(e *Error) []byte { return llm.ErrorEvent(api, e.text()) },
	}
	if llm.ErrorBody(api, llm.ErrorFields{}) != nil {
		s.contentType = "application/json"
		s.body = func(e *Error) []byte { return llm.ErrorBody(api, e.text()) }
	}
	return s
}

func openAIShape() shape {
	body := func(e *Error) []byte { return encode(openAIBody{e.text().OpenAI()}) }
	return shape{contentType: "application/json", body: body, event: func(e *Error) []byte { return event("", body(e)) }}
}

func problemShape() shape {
	body := func(e *Error) []byte { return encode(e.problem()) }
	return shape{contentType: "application/problem+json", body: body, event: func(e *Error) []byte { return event("error", body(e)) }}
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // plain structs of strings and ints: cannot happen
		return []byte(`{"error":{"message":"internal error","type":"server_error","param":null,"code":"internal_error"}}`)
	}
	return b
}

// event returns a server-sent event.
func event(name string, data []byte) []byte {
	var out []byte
	if name != "" {
		out = append(out, "event: "+name+"\n"...)
	}
	out = append(append(out, "data: "...), data...)
	return append(out, "\n\n"...)
}

// Event returns err as the server-sent event that [Abort] writes into a committed stream of
// an API without an error event of its own. The event's name is "error"; its data is one
// line with an OpenAI "error" object and Anthropic's "type" beside it. A blank line
// follows, and no [DONE].
func Event(err error) []byte { return llm.ErrorEvent(llm.Unknown, From(err).text()) }

// EventFor returns err as an [Event] in the form of the API that the request calls:
// Anthropic's error, the Responses API's response.failed, or Gemini's error.
func EventFor(r *http.Request, err error) []byte {
	var place llm.Place
	if r != nil {
		place = llm.PlaceOf(r.Context())
	}
	return llm.ErrorEvent(streamAPI(r, "text/event-stream"), From(err).in(place))
}

// apiOf returns the API that a request calls.
func apiOf(r *http.Request) llm.API {
	if r == nil || r.URL == nil {
		return llm.Unknown
	}
	return llm.Of(r.Method, r.URL.Path)
}

// streamAPI returns the API for the error event of a stream of contentType, or
// [llm.Unknown] if the stream has another framing than the API's.
func streamAPI(r *http.Request, contentType string) llm.API {
	api := apiOf(r)
	if llm.IsJSONLines(contentType) != (api == llm.Ollama) {
		return llm.Unknown
	}
	return api
}

// setRetry sets the headers by which HTTP clients and the OpenAI and Anthropic SDKs
// schedule a retry.
func setRetry(h http.Header, wait time.Duration) {
	if wait <= 0 {
		return
	}
	h.Set("Retry-After", roundUp(wait, time.Second))
	h.Set("Retry-After-Ms", roundUp(wait, time.Millisecond))
	h.Set("X-Should-Retry", strconv.FormatBool(wait <= longWait))
}

// roundUp returns d, which is positive, in units, rounded up so that no retry is early.
func roundUp(d, unit time.Duration) string {
	return strconv.FormatInt(int64((d-1)/unit)+1, 10)
}

// dropEntity removes the headers of the response that the error replaces.
func dropEntity(h http.Header) {
	for _, k := range [...]string{"Content-Length", "Content-Encoding", "Content-Range", "Content-Disposition", "Etag", "Last-Modified", "Cache-Control", "Expires", "Trailer", "Accept-Ranges"} {
		h.Del(k)
	}
}
