package body

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/llm"
)

// Held is a request's body in memory: all of it, or its beginning. It is safe for concurrent
// use. Its bytes must not be modified.
type Held struct {
	// Whole reports that all of the body is in memory.
	Whole bool

	raw      []byte // as it was sent
	lease    *lease // of raw; nil: the garbage collector frees it
	encoding string // of raw; "": identity
	flows    bool   // bidirectional: nothing is read
	head     head   // selects how the body is parsed
	rec      *record
	owned    bool // rec ends with Release
	limit    int64
	whole    content // without patches
	own      reader  // the body of the inbound request

	once   sync.Once
	decode sync.Once
	text   []byte
	fault  error

	parse   sync.Once
	request *llm.Request
}

// head is the part of a request that selects how its body is parsed. It is a copy: the request
// may be changed meanwhile.
type head struct{ llm.Head }

func headOf(r *http.Request) head {
	h := head{llm.Head{Method: r.Method, ContentType: r.Header.Get("Content-Type"), Dialects: llm.DialectsOf(r.Context())}}
	if r.URL != nil {
		h.Path, h.Query = r.URL.Path, r.URL.RawQuery
	}
	return h
}

func (h *head) read(b []byte) *llm.Request { return llm.ReadRequest(h.Head, b) }

// isForm reports whether a body is a form, which has no spans.
func (h *head) isForm() bool {
	t := llm.MediaType(h.ContentType)
	return strings.HasPrefix(t, "multipart/") || t == "application/x-www-form-urlencoded"
}

// Release marks the end of a request with a body held by [HoldFor].
func (h *Held) Release() {
	if h.owned {
		h.rec.end()
	}
}

// plain returns the body without patches.
func (h *Held) plain() *content {
	h.once.Do(func() { h.whole.held, h.whole.size = h, int64(len(h.raw)) })
	return &h.whole
}

// Len returns the number of bytes in memory, as they were sent.
func (h *Held) Len() int { return len(h.raw) }

// Flows reports whether the body streams in both directions at once, as in gRPC.
func (h *Held) Flows() bool { return h.flows }

// Bytes returns the decoded body, or its decoded beginning; nil if it can't be decoded.
func (h *Held) Bytes() []byte {
	if h.lease.gone() {
		return nil
	}
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

// Err returns the reason why the body can't be read: an *apierror.Error with status 413, 415,
// 400 or 503. A body that is too long to hold is no error.
func (h *Held) Err() error {
	h.Bytes()
	return h.fault
}

// Request returns the parsed request. If the body can't be read, it has only what path and
// query contain.
func (h *Held) Request() *llm.Request {
	h.parse.Do(func() {
		h.request = h.head.read(h.Bytes())
		if h.fault != nil || h.flows || !h.Whole && len(h.raw) == 0 {
			h.request.InputBytes = unknownBytes
		}
	})
	return h.request
}

// unknownBytes is the assumed input of a body in an unknown format.
const unknownBytes = 1000

// begin parses the beginning of a long body, before its bytes are shared.
func (h *Held) begin() {
	b := h.Bytes()
	read := readPrefix(&h.head, b[:min(int64(len(b)), h.limit)])
	if !read.JSON {
		read.InputBytes = min(read.InputBytes, unknownBytes)
	}
	h.parse.Do(func() { h.request = read })
}

// Model returns the model that the request names, "" if it names none. An error is an
// *apierror.Error that describes the fault of the body.
func (h *Held) Model() (string, error) {
	if err := h.Err(); err != nil {
		return "", err
	}
	q := h.Request()
	switch {
	case q.JSON && h.Bytes()[0] == '\xef': // a byte order mark: servers disagree on whether it is allowed
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
