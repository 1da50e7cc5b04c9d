package observe

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe/internal/plain"
)

// writer sets the request's ID in the response last, in place of the upstream's, and
// records the time of the first byte.
type writer struct {
	gin.ResponseWriter
	id        [1]string
	anthropic bool
	begun     bool
	upstream  string    // the upstream's request ID
	first     time.Time // time of the first byte of the body
}

// wrap replaces the writer of c by w.
func (w *writer) wrap(c *gin.Context, id string, anthropic bool) {
	w.ResponseWriter, w.id[0], w.anthropic = c.Writer, id, anthropic
	w.sign(c.Writer.Header())
	c.Writer = w
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	w.begin()
	if w.first.IsZero() && len(p) > 0 && p[0] != ':' { // not a heartbeat
		w.first = time.Now()
	}
	return w.ResponseWriter.Write(p)
}

// WriteString implements io.StringWriter.
func (w *writer) WriteString(s string) (int, error) {
	w.begin()
	if w.first.IsZero() && s != "" && s[0] != ':' {
		w.first = time.Now()
	}
	return w.ResponseWriter.WriteString(s)
}

// WriteHeaderNow implements gin.ResponseWriter.
func (w *writer) WriteHeaderNow() {
	w.begin()
	w.ResponseWriter.WriteHeaderNow()
}

// Flush implements http.Flusher.
func (w *writer) Flush() {
	w.begin()
	w.ResponseWriter.Flush()
}

// begin sets the ID just before the header is written.
func (w *writer) begin() {
	if w.begun {
		return
	}
	w.begun = true
	if !w.Written() {
		w.sign(w.Header())
	}
}

func (w *writer) sign(h http.Header) {
	if sent := h[headerRequestID]; len(sent) == 1 && sent[0] != w.id[0] {
		w.upstream = plain.Clean(sent[0], plain.Word)
	}
	h[headerRequestID] = w.id[:]
	if !w.anthropic {
		return
	}
	if sent := h[headerAnthropicID]; len(sent) == 1 && sent[0] != w.id[0] {
		w.upstream = plain.Clean(sent[0], plain.Word)
	}
	h[headerAnthropicID] = w.id[:]
}
