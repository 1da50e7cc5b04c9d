package llm

import (
	"net/http"
	"strings"
)

// form is the framing of a body.
type form uint8

const (
	unreadable form = iota
	jsonBody
	jsonLines
	eventStream
)

// MediaType returns the lower-case media type of a Content-Type, without parameters.
func MediaType(contentType string) string {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(mediaType))
}

// IsEventStream reports whether a Content-Type is that of server-sent events.
func IsEventStream(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream")
}

// IsJSON reports whether a Content-Type is that of one JSON text.
func IsJSON(contentType string) bool {
	mediaType := MediaType(contentType)
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json") && mediaType != "application/stream+json"
}

// IsJSONLines reports whether a Content-Type is that of JSON Lines.
func IsJSONLines(contentType string) bool {
	switch MediaType(contentType) {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines", "application/stream+json":
		return true
	}
	return false
}

// IsStream reports whether a response with this header is a stream of events, in either
// framing.
func IsStream(h http.Header) bool {
	f := formOf(h)
	return f == eventStream || f == jsonLines
}

// IsGRPC reports whether a Content-Type is that of gRPC, with messages in both
// directions at once.
func IsGRPC(contentType string) bool {
	return strings.HasPrefix(MediaType(contentType), "application/grpc")
}

// Encoded reports whether the body has a Content-Encoding.
func Encoded(h http.Header) bool {
	for _, encoding := range h["Content-Encoding"] {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return true
		}
	}
	return false
}

func formOf(h http.Header) form {
	if Encoded(h) {
		return unreadable
	}
	contentType := h.Get("Content-Type")
	switch {
	case IsEventStream(contentType):
		return eventStream
	case IsJSON(contentType):
		return jsonBody
	case IsJSONLines(contentType):
		return jsonLines
	}
	return unreadable
}

// Declared reports whether the header declares one of the readable forms.
func (s *Scanner) Declared() bool { return s.form != unreadable }
