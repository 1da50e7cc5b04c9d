package ratelimit

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/llm"
)

// firstByte measures the time to the first byte of a response's body.
type firstByte struct {
	gin.ResponseWriter
	adaptive *Adaptive
	start    time.Time
	seen     bool
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *firstByte) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements http.ResponseWriter.
func (w *firstByte) Write(p []byte) (int, error) {
	if !w.seen && len(p) > 0 && p[0] != ':' { // a heartbeat is not a token
		w.first()
	}
	return w.ResponseWriter.Write(p)
}

// WriteString implements io.StringWriter.
func (w *firstByte) WriteString(s string) (int, error) {
	if !w.seen && s != "" && s[0] != ':' {
		w.first()
	}
	return w.ResponseWriter.WriteString(s)
}

// first records the time, unless it does not depend on the load, as that of an error or of a
// response that is no stream.
func (w *firstByte) first() {
	w.seen = true
	var took time.Duration
	if w.Status() == http.StatusOK && (w.adaptive.cfg.All || llm.IsStream(w.Header())) {
		took = max(time.Since(w.start), time.Microsecond) // 0 means no sample
	}
	w.adaptive.began(took)
}
