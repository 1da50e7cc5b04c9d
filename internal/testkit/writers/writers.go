// Package writers has response writers as other people's middlewares have them: each counts the
// bytes of a response and hides more or less of the writer that it wraps.
package writers

import (
	"bufio"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
)

// Embedding has no Unwrap method. It embeds the writer, as most do.
func Embedding(c *gin.Context) {
	c.Writer = &embedding{ResponseWriter: c.Writer}
	c.Next()
}

type embedding struct {
	gin.ResponseWriter
	n int
}

func (w *embedding) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n += n
	return n, err
}

func (w *embedding) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// Unwrapping has an Unwrap method.
func Unwrapping(c *gin.Context) {
	c.Writer = &unwrapping{embedding{ResponseWriter: c.Writer}}
	c.Next()
}

type unwrapping struct{ embedding }

func (w *unwrapping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Opaque has neither an Unwrap method nor an exported field.
func Opaque(c *gin.Context) {
	c.Writer = &opaque{w: c.Writer}
	c.Next()
}

type opaque struct {
	w gin.ResponseWriter
	n int
}

func (w *opaque) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += n
	return n, err
}

func (w *opaque) WriteString(s string) (int, error)            { return w.Write([]byte(s)) }
func (w *opaque) Header() http.Header                          { return w.w.Header() }
func (w *opaque) WriteHeader(code int)                         { w.w.WriteHeader(code) }
func (w *opaque) WriteHeaderNow()                              { w.w.WriteHeaderNow() }
func (w *opaque) Status() int                                  { return w.w.Status() }
func (w *opaque) Size() int                                    { return w.w.Size() }
func (w *opaque) Written() bool                                { return w.w.Written() }
func (w *opaque) Flush()                                       { w.w.Flush() }
func (w *opaque) CloseNotify() <-chan bool                     { return w.w.CloseNotify() }
func (w *opaque) Pusher() http.Pusher                          { return w.w.Pusher() }
func (w *opaque) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.w.Hijack() }
