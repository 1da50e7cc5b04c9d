package body

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/ginfer/ginfer/internal/llm"
)

// content is the body of outbound requests: a held body with patches. It is immutable.
type content struct {
	held    *Held
	patches []Patch      // in order, without overlap
	request *llm.Request // as patched; nil: as held
	size    int64

	alone sync.Once
	sole  [1][]byte // the only segment, without patches

	join   sync.Once
	joined []byte
}

// source returns the bytes that the patches apply to.
func (c *content) source() []byte {
	if len(c.patches) == 0 {
		return c.held.raw
	}
	return c.held.Bytes()
}

// segments returns the parts that are sent, in order.
func (c *content) segments() [][]byte {
	source := c.source()
	if len(c.patches) == 0 {
		c.alone.Do(func() { c.sole[0] = source })
		return c.sole[:]
	}
	out := make([][]byte, 0, 2*len(c.patches)+1)
	at := 0
	for _, p := range c.patches {
		out = append(out, source[at:p.At.Start], p.With)
		at = p.At.End
	}
	return append(out, source[at:])
}

// bytes returns everything that is sent.
func (c *content) bytes() []byte {
	if len(c.patches) == 0 {
		return c.held.raw
	}
	c.join.Do(func() {
		c.joined = make([]byte, 0, c.size)
		for _, s := range c.segments() {
			c.joined = append(c.joined, s...)
		}
	})
	return c.joined
}

// reader sends a content once. One of an outbound request keeps the content's memory until it is
// closed. Closed, it can be read as long as the memory is there: a balancer sends a request that
// an endpoint did not take to another one.
type reader struct {
	*content
	first [1][]byte
	rest  [][]byte
	keeps atomic.Bool
}

// newReader returns a reader that keeps the content's memory.
func newReader(c *content) *reader {
	r := new(reader)
	r.read(c)
	r.keeps.Store(c.held.lease.acquire())
	return r
}

func (r *reader) read(c *content) {
	r.content = c
	if len(c.patches) == 0 {
		r.first[0] = c.held.raw
		r.rest = r.first[:]
	} else {
		r.rest = c.segments()
	}
}

// Held returns the body without patches.
func (r *reader) Held() *Held { return r.held }

// Read implements io.Reader.
func (r *reader) Read(p []byte) (n int, err error) {
	if !r.held.lease.acquire() {
		return 0, http.ErrBodyReadAfterClose
	}
	defer r.held.lease.release()
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) > 0 && n < len(p) {
		moved := copy(p[n:], r.rest[0])
		n += moved
		if r.rest[0] = r.rest[0][moved:]; len(r.rest[0]) == 0 {
			r.rest = r.rest[1:]
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// WriteTo implements io.WriterTo.
func (r *reader) WriteTo(w io.Writer) (n int64, err error) {
	if !r.held.lease.acquire() {
		return 0, http.ErrBodyReadAfterClose
	}
	defer r.held.lease.release()
	for ; len(r.rest) > 0 && err == nil; r.rest = r.rest[1:] {
		var wrote int
		wrote, err = w.Write(r.rest[0])
		n += int64(wrote)
	}
	return n, err
}

// Close implements io.Closer.
func (r *reader) Close() error {
	if r.keeps.CompareAndSwap(true, false) {
		r.held.lease.release()
	}
	return nil
}

// Borrow keeps the memory of an outbound body, which [Segments] has returned, until the function that
// it returns is called. It reports false if that is too late.
func Borrow(req *http.Request) (release func(), ok bool) {
	c := of(req)
	if c == nil || c.held.lease == nil {
		return func() {}, true
	}
	return c.held.lease.release, c.held.lease.acquire()
}

// Set makes b the body of an outbound request, with Content-Length and GetBody. An empty b means
// no body.
func Set(req *http.Request, b []byte) {
	set(req, &content{held: &Held{Whole: true, raw: b, head: headOf(req), encoding: encodingOf(req.Header), limit: maxCopy, rec: uncounted()}, size: int64(len(b))})
}

// Send makes h the body of an outbound request. It must be whole.
func Send(req *http.Request, h *Held) { set(req, h.plain()) }

func set(req *http.Request, c *content) {
	req.ContentLength = c.size
	if c.size == 0 { // with a Body net/http would take the length for unknown
		req.Body, req.GetBody = nil, nil
		return
	}
	req.Body = newReader(c)
	req.GetBody = func() (io.ReadCloser, error) { return newReader(c), nil }
}

// of returns an outbound request's content; nil: it is not held.
func of(req *http.Request) *content {
	if r, ok := req.Body.(*reader); ok {
		return r.content
	}
	return nil
}

func isEmpty(req *http.Request) bool { return req.Body == nil || req.Body == http.NoBody }

// Bytes returns the whole body of an outbound request as it is sent, without reading it, if it is
// in memory. The bytes must not be modified.
func Bytes(req *http.Request) ([]byte, bool) {
	if c := of(req); c != nil {
		return c.bytes(), true
	}
	return nil, isEmpty(req)
}

// Segments is like [Bytes], in parts and without a copy. Size is their total length.
func Segments(req *http.Request) (parts [][]byte, size int64, ok bool) {
	if c := of(req); c != nil {
		return c.segments(), c.size, true
	}
	return nil, 0, isEmpty(req)
}

// Replay returns a function that opens an outbound body again; nil if that is not possible.
func Replay(req *http.Request) func() (io.ReadCloser, error) {
	if isEmpty(req) {
		return func() (io.ReadCloser, error) { return nil, nil }
	}
	if c := of(req); c != nil {
		return func() (io.ReadCloser, error) { return newReader(c), nil }
	}
	return req.GetBody
}

// maxCopy is the largest body that is copied for inspection, in bytes.
const maxCopy = 4 << 20

// Whole returns the body of an outbound request, decoded and with patches, if it is held in
// memory; else a copy of up to 4 MiB if the request has a GetBody. It reports false for a body
// that is empty or not available. The bytes must not be modified.
func Whole(req *http.Request) ([]byte, bool) {
	c := of(req)
	switch {
	case c != nil && len(c.patches) > 0:
		return c.bytes(), true
	case c != nil:
		b := c.held.Bytes()
		return b, len(b) > 0
	case isEmpty(req) || req.GetBody == nil || req.ContentLength <= 0 || req.ContentLength > maxCopy:
		return nil, false
	}
	again, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	defer func() { _ = again.Close() }()
	b, err := io.ReadAll(io.LimitReader(again, maxCopy))
	return b, err == nil && int64(len(b)) == req.ContentLength
}

// Parsed returns an outbound request, parsed, and the text that its spans refer to, without
// patches. It reports false if the body is not in memory and can't be copied as by [Whole].
func Parsed(req *http.Request) (q *llm.Request, text []byte, ok bool) {
	if c := of(req); c != nil {
		text = c.held.Bytes()
		return c.parsed(), text, len(text) > 0
	}
	text, ok = Whole(req)
	if !ok {
		return nil, nil, false
	}
	head := headOf(req)
	return head.read(text), text, true
}

// Request returns an outbound request, parsed; nil if it has no body or the body is not
// available. A body that was held by [Hold] is not parsed again.
func Request(req *http.Request) *llm.Request {
	if c := of(req); c != nil {
		if c.request != nil {
			return c.request
		}
		if c.held.Err() != nil {
			return nil
		}
		return c.held.Request()
	}
	if p, ok := req.Body.(*patched); ok {
		return p.parsed()
	}
	if b, ok := req.Body.(holder); ok {
		if h := b.Held(); h != nil && h.Len() > 0 && h.Err() == nil {
			return h.Request()
		}
		return nil
	}
	if b, ok := Whole(req); ok {
		head := headOf(req)
		return head.read(b)
	}
	return nil
}
