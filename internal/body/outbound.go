package body

import (
	"io"
	"net/http"
	"sync"

	"github.com/ginfer/ginfer/internal/llm"
)

// content is the body of outbound requests: what is held, with patches. It is never
// changed.
type content struct {
	held    *Held
	patches []Patch      // in order; none overlaps another
	request *llm.Request // as patched; nil: the held one
	size    int64

	alone sync.Once
	sole  [1][]byte // what is sent, without patches

	join   sync.Once
	joined []byte
}

// source is what the patches are for.
func (c *content) source() []byte {
	if len(c.patches) == 0 {
		return c.held.raw
	}
	return c.held.Bytes()
}

// segments are the parts that are sent, one after the other.
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

// bytes is all that is sent.
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

// reader sends a content once.
type reader struct {
	*content
	first [1][]byte
	rest  [][]byte
}

func newReader(c *content) *reader {
	r := new(reader)
	r.read(c)
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

// Held returns what is sent, without patches.
func (r *reader) Held() *Held { return r.held }

// Read implements io.Reader.
func (r *reader) Read(p []byte) (n int, err error) {
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
	for ; len(r.rest) > 0 && err == nil; r.rest = r.rest[1:] {
		var wrote int
		wrote, err = w.Write(r.rest[0])
		n += int64(wrote)
	}
	return n, err
}

// Close implements io.Closer.
func (*reader) Close() error { return nil }

// Set makes b the body of an outbound request, with Content-Length and GetBody. An empty b
// means no body.
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

// of is an outbound request's content; nil: it is not held.
func of(req *http.Request) *content {
	if r, ok := req.Body.(*reader); ok {
		return r.content
	}
	return nil
}

func isEmpty(req *http.Request) bool { return req.Body == nil || req.Body == http.NoBody }

// Bytes returns the whole body of an outbound request when it is held in memory, as it is
// sent, without reading it. The bytes must not be modified.
func Bytes(req *http.Request) ([]byte, bool) {
	if c := of(req); c != nil {
		return c.bytes(), true
	}
	return nil, isEmpty(req)
}

// Segments is [Bytes] in parts, without a copy. Size is their length.
func Segments(req *http.Request) (parts [][]byte, size int64, ok bool) {
	if c := of(req); c != nil {
		return c.segments(), c.size, true
	}
	return nil, 0, isEmpty(req)
}

// Replay returns how to send an outbound body once more; nil when that can't be done.
func Replay(req *http.Request) func() (io.ReadCloser, error) {
	if isEmpty(req) {
		return func() (io.ReadCloser, error) { return nil, nil }
	}
	if c := of(req); c != nil {
		return func() (io.ReadCloser, error) { return newReader(c), nil }
	}
	return req.GetBody
}

// maxCopy is the largest body, in bytes, that is copied to be looked at.
const maxCopy = 4 << 20

// Whole returns the text of an outbound request, decoded and with patches, when it is held
// in memory, else a copy where there can be one (GetBody, as net/http sets it) of up to
// 4 MiB. It reports false when there is none, or an empty one. The bytes must not be
// modified.
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

// Parsed returns what an outbound request asks for and the text in which its parts stand, as
// it was before patches; ok is false when that is not in memory, and can't be copied as
// [Whole] does.
func Parsed(req *http.Request) (q *llm.Request, text []byte, ok bool) {
	if c := of(req); c != nil {
		text = c.held.Bytes()
		return c.asks(), text, len(text) > 0
	}
	text, ok = Whole(req)
	if !ok {
		return nil, nil, false
	}
	head := headOf(req)
	return head.read(text), text, true
}

// Request returns what an outbound request asks for; nil when that can't be seen, or it has
// no body. What was held by [Hold] is not parsed again.
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
		return p.asks()
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
