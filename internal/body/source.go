package body

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/gin-gonic/gin"
)

// tracked is a server's body that counts what is read of it, by whichever handler.
type tracked struct {
	io.ReadCloser
	n atomic.Int64
}

// Read implements io.Reader.
func (t *tracked) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.n.Add(int64(n))
	return n, err
}

// source is what is known of an inbound body before it is read.
type source struct {
	native   bool   // the server's own: it breaks off with an error, never with a clean end
	inMemory int64  // length of one that a handler has read and put back; -1: unknown
	announce int64  // Content-Length; -1: unknown
	before   int64  // bytes that other handlers have read of it
	kept     []byte // the copy that gin keeps of a body that a handler has read
}

func sourceOf(c *gin.Context, rec *record) source {
	kept, _ := c.Get(gin.BodyBytesKey)
	s := source{announce: c.Request.ContentLength}
	s.native, s.inMemory = inspect(c.Request.Body)
	s.kept, _ = kept.([]byte)
	if rec.tracked != nil {
		s.before = rec.tracked.n.Load()
	}
	return s
}

// consumed reports whether a body that ended after n bytes, or failed, was read by a handler
// before. A body that a middleware has decoded may have any length but 0.
func (s *source) consumed(n int64, ended bool, err error) bool {
	switch {
	case errors.Is(err, http.ErrBodyReadAfterClose):
		return true
	case err != nil || !ended:
		return false
	case n == 0:
		return s.announce > 0 || s.before > 0 || len(s.kept) > 0
	}
	return s.native && (n < s.announce || s.before > 0)
}

// replace returns gin's copy of a body that a handler has read. There is nothing else to read.
func (s *source) replace() ([]byte, error) {
	if len(s.kept) == 0 {
		return nil, ErrConsumed
	}
	b := s.kept
	*s = source{native: s.native, inMemory: -1, announce: -1}
	return b, nil
}

// stream returns what follows n bytes of the body. The length of one that another handler has
// replaced is not known: a middleware that decodes it leaves that of the encoded body.
func (s *source) stream(r *http.Request, n int) io.Reader {
	if !s.native && s.announce != s.inMemory {
		forgetLength(r)
	}
	return &streamed{source: *s, Reader: r.Body, n: int64(n)}
}

func forgetLength(r *http.Request) {
	r.ContentLength = -1
	r.Header.Del("Content-Length")
}

// streamed is a body that is read while it is sent.
type streamed struct {
	source
	io.Reader
	n int64
}

// Read implements io.Reader.
func (s *streamed) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.n += int64(n)
	ended := errors.Is(err, io.EOF)
	if err == nil || !s.consumed(s.n, ended, notEOF(err)) {
		return n, err
	}
	b, missing := s.replace()
	if missing != nil || s.n > 0 {
		return n, readFault(ErrConsumed)
	}
	s.Reader = bytes.NewReader(b)
	return s.Read(p)
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// inspect reports whether a body is net/http's own and not one that a handler put in its place.
// Of one that a handler has read and put back it returns the length, else -1.
func inspect(b io.Reader) (native bool, inMemory int64) {
	if t, ok := b.(*tracked); ok {
		b = t.ReadCloser
	}
	v := reflect.Indirect(reflect.ValueOf(b))
	if !v.IsValid() {
		return false, -1
	}
	switch t := v.Type(); {
	case t.PkgPath() == "io" && v.Kind() == reflect.Struct && v.NumField() == 1: // of io.NopCloser
		if held, ok := reflect.TypeAssert[interface{ Len() int }](v.Field(0)); ok {
			return false, int64(held.Len())
		}
	case t.PkgPath() == "net/http" && t.Name() == "maxBytesReader":
		return isServers(v.FieldByName("r")), -1
	}
	return isServers(v), -1
}

// isServers reports whether the type of v is one of net/http.
func isServers(v reflect.Value) bool {
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) {
		v = v.Elem()
	}
	if !v.IsValid() {
		return false
	}
	if v.Type() == reflect.TypeFor[tracked]() {
		return isServers(v.Field(0))
	}
	pkg := v.Type().PkgPath()
	return pkg == "net/http" || strings.HasPrefix(pkg, "net/http/internal") || strings.HasPrefix(pkg, "golang.org/x/net/http2")
}
