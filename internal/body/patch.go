package body

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/ginfer/ginfer/internal/llm"
)

// Patch replaces a part of a body. With an empty part it inserts.
type Patch struct {
	At   llm.Span
	With []byte
}

func (p *Patch) inserts() bool { return p.At.End == p.At.Start }

func (p *Patch) grows() int64 { return int64(len(p.With)) - int64(p.At.End-p.At.Start) }

// put adds a patch, in order. It replaces one of the same part; of two that begin at the same byte
// the later one, which inserts, comes first.
func put(patches []Patch, p Patch) []Patch {
	out := slices.Clone(patches)
	for i := range out {
		if out[i].At == p.At && !p.inserts() {
			out[i] = p
			return out
		}
		if out[i].At.Start >= p.At.Start {
			return slices.Insert(out, i, p)
		}
	}
	return append(out, p)
}

// Apply returns the request with a patch, without the header fields that described the old body.
// The edit applies the same change to the parsed request. It reports false if the body can't be
// changed. A compressed body is sent uncompressed.
func Apply(req *http.Request, p Patch, edit func(*llm.Request)) (*http.Request, bool) {
	c, source, ok := contentOf(req)
	if !ok {
		return nil, false
	}
	return c.apply(req, source, put(c.patches, p), edit), true
}

func (c *content) apply(req *http.Request, source io.ReadCloser, patches []Patch, edit func(*llm.Request)) *http.Request {
	request := *c.parsed()
	edit(&request)
	next := &content{held: c.held, patches: patches, request: &request, size: int64(len(c.held.Bytes()))}
	for i := range patches {
		next.size += patches[i].grows()
	}
	out := req.WithContext(req.Context())
	out.Header = req.Header.Clone()
	for _, name := range [...]string{"Content-Length", "Content-Encoding", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		out.Header.Del(name)
	}
	if source == nil {
		set(out, next)
		return out
	}
	out.Body, out.GetBody = &patched{content: next, source: source}, nil
	if req.ContentLength > 0 {
		out.ContentLength += next.size - c.size
	}
	return out
}

func (c *content) parsed() *llm.Request {
	if c.request != nil {
		return c.request
	}
	return c.held.Request()
}

// contentOf returns the part of a request that can be patched: all of the body, or the
// beginning of source.
func contentOf(req *http.Request) (c *content, source io.ReadCloser, ok bool) {
	switch b := req.Body.(type) {
	case *reader:
		return b.content, nil, b.held.Err() == nil
	case *patched:
		return b.content, b.source, true
	case holder:
		h := b.Held()
		if h == nil || h.Len() == 0 || h.encoding != "" {
			return nil, nil, false
		}
		return &content{held: h, size: int64(len(h.raw))}, req.Body, true
	}
	b, ok := Whole(req)
	if !ok {
		return nil, nil, false
	}
	h := &Held{Whole: true, raw: b, head: headOf(req), encoding: encodingOf(req.Header), limit: maxCopy, rec: uncounted()}
	return &content{held: h, size: int64(len(b))}, nil, h.Err() == nil
}

// Text returns the text that the spans of an outbound request's [Request] refer to: the decoded
// body, or its beginning, without patches.
func Text(req *http.Request) []byte {
	c, _, ok := contentOf(req)
	if !ok {
		return nil
	}
	return c.held.Bytes()
}

// Insert returns the request with a member added at the beginning of its JSON object.
func Insert(req *http.Request, member []byte, edit func(*llm.Request)) (*http.Request, bool) {
	c, source, ok := contentOf(req)
	if !ok || !c.parsed().JSON {
		return nil, false
	}
	return c.apply(req, source, put(c.patches, c.insertion(member)), edit), true
}

// insertion returns the patch that puts a member first, with the comma that it needs.
func (c *content) insertion(member []byte) Patch {
	q, text := c.parsed(), c.held.Bytes()
	p := Patch{llm.Span{Start: q.MemberAt, End: q.MemberAt}, member}
	others := false
	for i := range c.patches {
		others = others || c.patches[i].At.Start == q.MemberAt
	}
	if !others {
		rest := text[q.MemberAt:]
		p.At.End += len(rest) - len(bytes.TrimLeft(rest, " \t\r\n"))
	}
	if others || !q.Bare {
		p.With = append(slices.Clip(member), ',')
	}
	return p
}

const modelMember = `"model":`

// Rename returns the request with another model in its body; every other byte stays. It reports
// false if that is not possible: the model is in the path, or the body has an unknown format.
func Rename(req *http.Request, model string) (*http.Request, bool) {
	c, source, ok := contentOf(req)
	if !ok || c.parsed().ModelFault != nil {
		return nil, false
	}
	q := c.parsed()
	edit := func(q *llm.Request) {
		if q.BodyModel != "" {
			q.BodyModel = model
		} else {
			q.Model = model
		}
	}
	name, err := json.Marshal(model)
	if err != nil { // impossible for a string
		return nil, false
	}
	member := append([]byte(modelMember), name...)
	for i, p := range c.patches { // inserted before
		if p.At.Start != q.MemberAt || !bytes.HasPrefix(p.With, []byte(modelMember)) {
			continue
		}
		patches := slices.Clone(c.patches)
		if patches[i].With = member; bytes.HasSuffix(p.With, []byte(",")) {
			patches[i].With = append(member, ',') //nolint:gocritic // a slice of its own
		}
		return c.apply(req, source, patches, edit), true
	}
	switch at := formModel(c.held, c.held.Request()); {
	case q.JSON && !q.ModelAt.IsZero():
		return c.apply(req, source, put(c.patches, Patch{q.ModelAt, name}), edit), true
	case q.JSON && q.Model == "" && c.held.Whole:
		return c.apply(req, source, put(c.patches, c.insertion(member)), edit), true
	case !at.IsZero():
		return c.apply(req, source, put(c.patches, Patch{at, []byte(model)}), edit), true
	}
	return nil, false
}

// formModel finds the model in a multipart form: the only field of that name, in its usual
// spelling.
func formModel(h *Held, q *llm.Request) llm.Span {
	if q.JSON || q.Model == "" || !strings.HasPrefix(llm.MediaType(h.head.ContentType), "multipart/") {
		return llm.Span{}
	}
	text := h.Bytes()
	_, params, err := mime.ParseMediaType(h.head.ContentType)
	if err != nil {
		return llm.Span{}
	}
	var found llm.Span
	for at := 0; ; {
		n := bytes.Index(text[at:], []byte(`name="model"`))
		if n < 0 {
			return found
		}
		at += n + len(`name="model"`)
		start := bytes.Index(text[at:], []byte("\r\n\r\n"))
		if start < 0 {
			return found
		}
		start += at + len("\r\n\r\n")
		if bytes.HasPrefix(text[start:], []byte(q.Model+"\r\n--"+params["boundary"])) {
			if !found.IsZero() {
				return llm.Span{}
			}
			found = llm.Span{Start: start, End: start + len(q.Model)}
		}
	}
}

// patched is a stream with patches at its beginning.
type patched struct {
	*content
	source io.ReadCloser
	at     int // position in the source
	next   int // index of the next patch
	with   []byte
}

// Held returns the held beginning, without patches.
func (p *patched) Held() *Held { return p.held }

// Close implements io.Closer.
func (p *patched) Close() error { return p.source.Close() }

// Read implements io.Reader.
func (p *patched) Read(b []byte) (int, error) {
	for len(b) > 0 && len(p.with) == 0 && p.next < len(p.patches) && p.patches[p.next].At.Start == p.at {
		patch := &p.patches[p.next]
		p.next++
		p.with = patch.With
		if _, err := io.CopyN(io.Discard, p.source, int64(patch.At.End-patch.At.Start)); err != nil {
			return 0, err
		}
		p.at = patch.At.End
	}
	if len(p.with) > 0 {
		n := copy(b, p.with)
		p.with = p.with[n:]
		return n, nil
	}
	if p.next < len(p.patches) {
		b = b[:min(len(b), p.patches[p.next].At.Start-p.at)]
	}
	n, err := p.source.Read(b)
	p.at += n
	return n, err
}
