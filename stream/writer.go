package stream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/ginfer/ginfer/apierror"
)

// Writer writes server-sent events. Each call is one write and one flush, so that the client
// receives the event at once. The first call also writes the head of the response. An error
// means that the client can no longer be reached.
//
// It is safe for concurrent use.
type Writer struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	flush   *http.ResponseController
	buf     []byte
	started bool
}

// NewWriter returns a Writer on w, such as gin.Context.Writer.
func NewWriter(w http.ResponseWriter) *Writer {
	return &Writer{w: w, flush: http.NewResponseController(w)}
}

// Send writes a message. If the ID or Event would break the format, it writes nothing and returns
// [ErrField].
func (w *Writer) Send(m Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := m.append(w.buf[:0])
	if err != nil {
		return err
	}
	return w.write(b)
}

// Data writes a message of the default type.
func (w *Writer) Data(data string) error { return w.Send(Message{Data: data}) }

// JSON writes v as JSON in a message of the default type.
func (w *Writer) JSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	return w.Send(Message{Data: string(b)})
}

// Comment writes a comment, which clients ignore. No blank line follows it: some clients take
// each blank line for the end of an event, and fail without data.
func (w *Writer) Comment(text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.write(appendLines(w.buf[:0], "", text))
}

// Retry sets how long the client should wait before it reconnects.
func (w *Writer) Retry(wait time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.write(append(appendRetry(w.buf[:0], wait), '\n'))
}

// Error writes err as an OpenAI error event, like [apierror.Abort]. Don't call [Writer.Done]
// after it: clients would take the stream for a success.
func (w *Writer) Error(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.write(apierror.Event(err))
}

// Done writes "data: [DONE]", which ends a stream for OpenAI clients.
func (w *Writer) Done() error { return w.Data("[DONE]") }

func (w *Writer) write(b []byte) error {
	if !w.started {
		w.started = true
		setHeaders(w.w.Header())
	}
	w.buf = b
	if _, err := w.w.Write(b); err != nil {
		return err
	}
	return w.flush.Flush()
}

// setHeaders marks the response as a stream that must not be stored, compressed or buffered
// (X-Accel-Buffering is nginx's).
func setHeaders(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	h.Del("Content-Length")
	h.Del("Content-Encoding")
}

func appendRetry(b []byte, wait time.Duration) []byte {
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, max(wait.Milliseconds(), 0), 10)
	return append(b, '\n')
}
