package stream

import (
	"errors"
	"strings"
	"time"
)

// ErrField is returned when a message's ID or Event contains characters that would begin
// another field.
var ErrField = errors.New("stream: an id or event name with a line end or NUL")

// Message is one server-sent event.
type Message struct {
	// ID is the value that a client sends back as Last-Event-ID. In a message that was read it
	// is the latest ID of the stream, even if this message has none.
	ID string
	// Event is the event type. Default: "", which is "message".
	Event string
	// Data is the content, lines separated by LF.
	Data string
	// Retry is how long a client should wait before it reconnects, in whole milliseconds.
	// Default: 0, not sent.
	Retry time.Duration
}

// append appends the encoded message. Every line end in Data (LF, CR or CRLF) begins a new data
// line, so that content can't become a field.
func (m *Message) append(b []byte) ([]byte, error) {
	if strings.ContainsAny(m.ID, "\r\n\x00") || strings.ContainsAny(m.Event, "\r\n") {
		return b, ErrField
	}
	if m.ID != "" {
		b = appendField(b, "id", m.ID)
	}
	if m.Event != "" {
		b = appendField(b, "event", m.Event)
	}
	if m.Retry > 0 {
		b = appendRetry(b, m.Retry)
	}
	b = appendLines(b, "data", m.Data)
	return append(b, '\n'), nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, '\n')
}

// appendLines appends one field for each line of text.
func appendLines(b []byte, name, text string) []byte {
	for {
		i := strings.IndexAny(text, "\r\n")
		if i < 0 {
			return appendField(b, name, text)
		}
		b = appendField(b, name, text[:i])
		if strings.HasPrefix(text[i:], "\r\n") {
			i++
		}
		text = text[i+1:]
	}
}
