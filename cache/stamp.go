package cache

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// stamp marks an answer that passes with what the cache did, when its head is written:
// then an upstream's own mark is there, and ours comes after it.
type stamp struct {
	gin.ResponseWriter
	x    *exchange
	done bool
}

func (s *stamp) mark() {
	if !s.done && !s.Written() {
		s.x.putMark(s.Header())
	}
	s.done = true
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (s *stamp) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Write implements http.ResponseWriter.
func (s *stamp) Write(p []byte) (int, error) {
	s.mark()
	return s.ResponseWriter.Write(p)
}

// WriteString implements io.StringWriter.
func (s *stamp) WriteString(text string) (int, error) {
	s.mark()
	return s.ResponseWriter.WriteString(text)
}

// WriteHeaderNow implements gin.ResponseWriter.
func (s *stamp) WriteHeaderNow() {
	s.mark()
	s.ResponseWriter.WriteHeaderNow()
}

// Flush implements http.Flusher.
func (s *stamp) Flush() {
	s.mark()
	s.ResponseWriter.Flush()
}

// FlushError is what http.ResponseController calls.
func (s *stamp) FlushError() error {
	s.mark()
	return http.NewResponseController(s.ResponseWriter).Flush()
}
