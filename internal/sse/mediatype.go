package sse

import "strings"

// Is reports whether a Content-Type is that of an event stream.
func Is(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream")
}
