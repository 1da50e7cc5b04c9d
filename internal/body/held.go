package body

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/llm"
)

// Held is a request's body in memory: all of it, or its beginning. It is safe for
// concurrent use; its bytes must not be modified.
type Held struct {
	// Whole: all of the body is here.
	Whole bool

	raw      []byte // as it came
	encoding string // of raw: "" is identity
	flows    bool   // both ways at once: nothing is read
	head     head   // what a body is read by
	rec      *record
	limit    int64

	decode sync.Once
	text   []byte
	fault  error

	parse   sync.Once
	request *llm.Request
}

// head is what a request is read by, beside its body: the request itself may be changed
// meanwhile.
type head struct {
	method, path, query, contentType string
	dialects                         []*llm.Dialect
}

func headOf(r *http.Request) head {
	h := head{method: r.Method, contentType: r.Header.Get("Content-Type"), dialects: llm.DialectsOf(r.Context())}
	if r.URL != nil {
		h.path, h.query = r.URL.Path, r.URL.RawQuery
	}
	return h
}

func (h *head) read(b []byte) *llm.Request {
	r := http.Request{Method: h.method, URL: &url.URL{Path: h.path, RawQuery: h.query}, Header: http.Header{"Content-Type": {h.contentType}}}
	q := llm.ReadRequestIn(h.dialects, &r, b)
	q.RPC = q.RPC || isBatch(b)
	return q
}

// isBatch reports whether a body is several calls of JSON-RPC, whatever its type says.
func isBatch(b []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(b[:min(len(b), 64)], " \t\r\n"), []byte("[")) && bytes.Contains(b, []byte(`"jsonrpc"`))
}

// isForm reports whether a body is a form, which has no spans.
func (h *head) isForm() bool {
	t := llm.MediaType(h.contentType)
	return strings.HasPrefix(t, "multipart/") || t == "application/x-www-form-urlencoded"
}

// Len is how many bytes there are, as they came.
func (h *Held) Len() int { return len(h.raw) }

// Flows reports whether the body is one of two that flow at once, as gRPC has them.
func (h *Held) Flows() bool { return h.flows }

// Raw returns the body as it came, in whatever encoding.
func (h *Held) Raw() []byte { return h.raw }

// Bytes returns the decoded body, or its decoded beginning; nil if it can't be decoded.
func (h *Held) Bytes() []byte {
	if h.encoding == "" {
		return h.raw
	}
	h.decode.Do(func() {
		text, err := decode(h.raw, h.encoding, h.limit, h.Whole, h.rec)
		if err != nil {
			h.fault = decodeFault(h.encoding, h.limit, err)
			return
		}
		h.text = text
	})
	return h.text
}

// Err returns why the body can't be read: an *apierror.Error with status 413, 415, 400 or
// 503. A body that is too long to hold is none.
func (h *Held) Err() error {
	h.Bytes()
	return h.fault
}

// Request returns what the request asks for. Of a body that can't be read it is what
// stands in path and query.
func (h *Held) Request() *llm.Request {
	h.parse.Do(func() {
		h.request = h.head.read(h.Bytes())
		if h.fault != nil || h.flows || !h.Whole && len(h.raw) == 0 {
			h.request.InputBytes = unknownBytes
		}
	})
	return h.request
}

// unknownBytes is what a body of an unknown form counts as.
const unknownBytes = 1000

// begin reads the beginning of a long body, before anybody else has its bytes.
func (h *Held) begin() {
	b := h.Bytes()
	read := readPrefix(&h.head, b[:min(int64(len(b)), h.limit)])
	if !read.JSON {
		read.InputBytes = min(read.InputBytes, unknownBytes)
	}
	h.parse.Do(func() { h.request = read })
}

// Model returns the name of the model that the request asks for, "" if it names none. An
// error is an *apierror.Error that says what is wrong with the body.
func (h *Held) Model() (string, error) {
	if err := h.Err(); err != nil {
		return "", err
	}
	q := h.Request()
	switch {
	case q.JSON && h.Bytes()[0] == '\xef': // a byte order mark: servers differ in whether it may be there
		return "", modelFault(llm.ErrSyntax, false)
	case q.ModelFault != nil && !h.Whole && errors.Is(q.ModelFault, llm.ErrSyntax):
		return "", h.unseen()
	case q.ModelFault != nil:
		return "", modelFault(q.ModelFault, h.head.isForm())
	case q.Model == "" && !h.Whole && !h.flows:
		return "", h.unseen()
	}
	return q.Model, nil
}

func (h *Held) unseen() error {
	return &apierror.Error{Status: http.StatusRequestEntityTooLarge, Code: "request_too_large", Message: "The request body is too large to find its model in.", Err: ErrTooLarge}
}
