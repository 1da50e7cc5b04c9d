package observe

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe/internal/plain"
)

// writer sets the request's ID in the response last, beside the upstream's, and records the time of the first byte.
type writer struct {
	gin.ResponseWriter
	id        [1]string
	header    string // of the gateway's ID
	anthropic bool
	begun     bool
	upstream  string    // the upstream's request ID
	first     time.Time // time of the first byte of the body
}

// wrap replaces the writer of c by w.
func (w *writer) wrap(c *gin.Context, id, header string, anthropic bool) {
	w.ResponseWriter, w.id[0], w.header, w.anthropic = c.Writer, id, header, anthropic
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

// sign sets the gateway's ID, also as the request's ID where the upstream sent none.
func (w *writer) sign(h http.Header) {
	h[w.header] = w.id[:]
	w.signAs(h, headerRequestID)
	if w.anthropic {
		w.signAs(h, headerAnthropicID)
	}
}

func (w *writer) signAs(h http.Header, name string) {
	switch sent := h[name]; {
	case len(sent) == 0:
		h[name] = w.id[:]
	case sent[0] != w.id[0]:
		w.upstream = plain.Clean(sent[0], plain.Word)
	}
}
