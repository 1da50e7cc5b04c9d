package breaker

import (
	"bufio"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/reach"
)

// guard is the response writer of handlers behind a circuit. It does not buffer. It discards a
// failure that a fallback can replace.
type guard struct {
	gin.ResponseWriter
	passage *passage
	timer   *time.Timer
	before  http.Header // the header before the handlers, if it may be needed
	decided bool
	held    bool
	code    int          // of the discarded failure
	stream  *llm.Scanner // nil: no stream, or an attempt scans it
	begun   bool         // the stream has content
}

// decide classifies the response just before its first byte is written.
func (w *guard) decide() {
	if w.decided {
		return
	}
	w.decided = true
	w.stop() // the limit is on the first byte: a stream may last
	status := w.ResponseWriter.Status()
	switch {
	case !w.passage.cfg.IsFailure(status):
		if w.passage.attempts() { // they report their content
			return
		}
		s := new(llm.Scanner)
		if s.Reset(w.passage.api(), w.Header()); s.Stream() {
			w.stream = s
			return
		}
		w.passage.permit.firstByte(time.Now())
	case w.passage.cfg.Fallback != nil && !w.ResponseWriter.Written():
		w.held, w.code = true, status
	}
}

// saw scans what is written. A stream that begins with an error has not begun well.
func (w *guard) saw(p []byte) {
	if w.stream == nil || len(p) == 0 {
		return
	}
	_, _ = w.stream.Write(p) // never fails
	if !w.begun && w.stream.Opening() == llm.Begun {
		w.begun = true
		w.passage.permit.firstByte(time.Now())
	}
}

func (w *guard) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *guard) status() int {
	if w.held {
		return w.code
	}
	return w.ResponseWriter.Status()
}

// restore resets the response to its state before the handlers.
func (w *guard) restore() {
	h := w.Header()
	clear(h)
	maps.Copy(h, w.before)
	w.ResponseWriter.WriteHeader(http.StatusOK)
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *guard) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements http.ResponseWriter.
func (w *guard) Write(p []byte) (int, error) {
	if w.decide(); w.held {
		return len(p), nil
	}
	w.saw(p)
	return w.ResponseWriter.Write(p)
}

// WriteString implements io.StringWriter.
func (w *guard) WriteString(s string) (int, error) {
	if w.decide(); w.held {
		return len(s), nil
	}
	if w.stream != nil {
		w.saw([]byte(s))
	}
	return w.ResponseWriter.WriteString(s)
}

// WriteHeader implements http.ResponseWriter.
func (w *guard) WriteHeader(code int) {
	if !w.held {
		w.ResponseWriter.WriteHeader(code)
	}
}

// WriteHeaderNow implements gin.ResponseWriter.
func (w *guard) WriteHeaderNow() {
	if w.decide(); !w.held {
		w.ResponseWriter.WriteHeaderNow()
	}
}

// Flush implements http.Flusher.
func (w *guard) Flush() { _ = w.FlushError() } // http.Flusher has no error

// FlushError is used by http.ResponseController.
func (w *guard) FlushError() error {
	if w.decide(); w.held {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// SetWriteDeadline is used by http.ResponseController. A handler that cuts a discarded response
// must not cut the fallback's.
func (w *guard) SetWriteDeadline(t time.Time) error {
	if w.held {
		return nil
	}
	return reach.Of(w.passage.outer.Context(), w.ResponseWriter).SetWriteDeadline(t)
}

// Discards reports whether the response is discarded: the connection is the fallback's.
func (w *guard) Discards() bool { return w.held }

// Status implements gin.ResponseWriter.
func (w *guard) Status() int { return w.status() }

// Written implements gin.ResponseWriter.
func (w *guard) Written() bool { return w.held || w.ResponseWriter.Written() }

// Hijack implements http.Hijacker.
func (w *guard) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.ResponseWriter.Hijack()
	if err == nil && !w.decided {
		w.decided = true
		w.stop()
		w.passage.permit.firstByte(time.Now())
	}
	return conn, rw, err
}
