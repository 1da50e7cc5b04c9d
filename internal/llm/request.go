package llm

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"sync"
)

// Request is a request to a model, read once.
type Request struct {
	API API
	// Dialect is set if API is [Own].
	Dialect *Dialect
	// JSON means that the body is one JSON object, RPC that it is one or several calls of
	// JSON-RPC.
	JSON, RPC bool
	// Model is the model's name in the path, the JSON, the form or the query; "" if there
	// is none. ModelFault is the reason why it can't be determined: [ErrSyntax],
	// [ErrDuplicate] or [ErrType].
	Model      string
	ModelFault error
	// BodyModel is the name in the JSON, if the path has one too.
	BodyModel string
	// Stream means that a stream is requested.
	Stream bool
	// IncludeUsage means that the stream is to end with usage.
	IncludeUsage bool
	// Tools means that the model may call tools.
	Tools bool
	// Schema means that the response must fit a JSON schema.
	Schema bool
	// Vision means that the input has an image.
	Vision bool
	// MaxOutput is the maximum number of tokens per choice: the largest of the members that
	// limit it, because servers differ in which they follow. 0 is no limit.
	MaxOutput int64
	// N is the number of choices: the larger of n and best_of. Default: 1.
	N int64
	// InputBytes is the size of the model's input as text, of which about four bytes are a
	// token. Images, audio and files count as mediaBytes each, by value or by URL.
	InputBytes int64

	// Conversation is the beginning that all turns share.
	Conversation Conversation

	// Spans of members in the body; zero if absent.
	ModelAt, StreamOptionsAt, IncludeUsageAt Span
	// MemberAt is where a member can be inserted into the object, before the others; Bare
	// means that there are no others.
	MemberAt int
	Bare     bool
}

const (
	mediaBytes = 4000 // about 1000 tokens
	turnBytes  = 12   // of chat templates around a message: about 3 tokens
	// unknownBytes is the InputBytes of a body of an unknown form.
	unknownBytes = 1000
)

// Head is the part of a request beside its body.
type Head struct {
	Method, Path, Query, ContentType string
	// Dialects are described by the application.
	Dialects []*Dialect
}

// ReadRequest reads a request and its body, in one pass. It does not retain the body.
func ReadRequest(h Head, body []byte) *Request {
	api, own := identify(h.Method, h.Path, h.Dialects)
	q := &Request{API: api, Dialect: own, N: 1}
	contentType := h.ContentType
	switch {
	case len(body) == 0:
	case strings.HasPrefix(MediaType(contentType), "multipart/"), MediaType(contentType) == "application/x-www-form-urlencoded" && !looksLikeJSON(body):
		q.readForm(contentType, body)
	case IsJSON(contentType), looksLikeJSON(body), isBatch(body):
		q.readJSON(body)
	default:
		q.InputBytes = min(int64(len(body)), unknownBytes)
	}
	q.RPC = q.RPC || isBatch(body)
	q.name(h)
	if q.API == Free {
		q.InputBytes = 0
	}
	return q
}

// Generates reports whether the request asks for generation: by its API, or, if that is
// unknown, by a model and a stream.
func (q *Request) Generates() bool {
	return q.API.Generates() || q.API == Unknown && q.JSON && q.Stream && q.Model != ""
}

// name finds the model if the body does not name it.
func (q *Request) name(h Head) {
	if named := ModelInPath(h.Path); named != "" {
		if q.Model != named {
			q.BodyModel = q.Model
		}
		q.Model = named
		if errors.Is(q.ModelFault, ErrSyntax) {
			q.ModelFault = nil
		}
		return
	}
	if q.Model == "" && q.ModelFault == nil && h.Query != "" {
		values, _ := url.ParseQuery(h.Query) // the valid part counts
		switch models := values["model"]; {
		case len(models) > 1:
			q.ModelFault = ErrDuplicate
		case len(models) == 1:
			q.Model = models[0]
		}
	}
}

// looksLikeJSON reports whether an upstream may parse a body as a JSON object, whatever its
// type: in UTF-8 or UTF-16, with or without a byte order mark.
func looksLikeJSON(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body[:min(len(body), 64)], " \t\r\n\x00\xef\xbb\xbf\xff\xfe"), []byte("{"))
}

// readJSON reads a JSON object.
func (q *Request) readJSON(body []byte) {
	r := readers.Get().(*reader) //nolint:forcetypeassert // it has no others
	defer r.release()
	r.Request, r.body = q, body
	if q.Dialect != nil {
		r.json.root = q.Dialect.requests
	}
	if err := r.json.all(body); err != nil {
		*q = Request{API: q.API, Dialect: q.Dialect, N: 1, ModelFault: err, InputBytes: int64(len(body))}
		return
	}
	q.JSON = true
	q.MemberAt = bytes.IndexByte(body, '{') + 1
	q.Bare = r.members == 0
	if r.models > 1 || r.folded {
		q.Model, q.ModelFault = "", ErrDuplicate
	}
	if !r.known && r.strange {
		q.InputBytes += min(int64(len(body)), unknownBytes)
	}
}

// isBatch reports whether a body is an array, such as several calls of JSON-RPC.
func isBatch(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) && bytes.Contains(body, []byte(`"jsonrpc"`))
}

// readers are pooled, since each is as large as a small body.
//
//nolint:gochecknoglobals // a pool
var readers = sync.Pool{New: func() any {
	r := new(reader)
	r.json = lexer{owner: r, root: requests, only: '{', names: r.named, values: r.member, elements: r.element}
	return r
}}

// release prepares the reader for another request.
func (r *reader) release() {
	names, values, elements := r.json.names, r.json.values, r.json.elements
	*r = reader{}
	r.json = lexer{owner: r, root: requests, only: '{', names: names, values: values, elements: elements}
	readers.Put(r)
}

// reader reads the JSON of a request.
type reader struct {
	*Request
	body    []byte
	json    lexer
	members int
	models  int
	folded  bool  // a name that another parser takes for model
	isModel bool  // of the current member
	options bool  // of the current member
	place   *Span // where to store its span
	turns   opening
	known   bool // it has input of a model
	strange bool // it has a member that no API has

	held  int64 // bytes of a source's data
	plain bool  // they are text
}

// named reads a name of the object.
func (r *reader) named(_ []byte, start, end int) {
	r.members++
	r.strange = r.strange || r.json.at == nil
	same, folded := isName(r.body[start:end], "model")
	r.folded = r.folded || folded && !same
	r.isModel = same
	r.place = r.Conversation.place(r.body[start:end])
	r.options, _ = isName(r.body[start:end], "stream_options")
	if same {
		r.models++
	}
}

// member stores the span of a value of the object.
func (r *reader) member(start, end int) {
	switch {
	case !isValue(r.body[start:end]):
		r.json.state = broken
	case r.place != nil:
		*r.place = Span{start, end}
		if r.place == &r.Conversation.Messages && r.turns.end > 0 {
			r.place.End = r.turns.end
		}
		r.place = nil
	case r.isModel:
		r.ModelAt = Span{start, end}
		r.Model, r.ModelFault = text(r.body[start:end], "model")
	case r.options:
		r.StreamOptionsAt = Span{start, end}
	}
}

func (r *reader) text(n *node, p []byte) {
	size := int64(len(p))
	switch n.role {
	case inSource:
		r.held += size
		return
	case inTools:
		r.Tools = true
	case inSchema:
		r.Schema = true
	case inPrompt, turn, turns:
		r.known = true
	default:
		return
	}
	r.InputBytes += size
}

func (r *reader) value(n *node, v []byte, start, end int) {
	bare := !r.json.quoted
	switch n.role {
	case imagePart:
		r.Vision = r.media(v) || r.Vision
	case mediaPart:
		r.media(v)
	case partType:
		r.Vision = r.Vision || isImage(v)
	case formatType:
		r.Schema = r.Schema || string(v) == "json_schema"
	case turnRole:
		if r.json.depth == messageDepth+1 {
			r.turns.user = string(v) == "user"
		}
	case sourceType:
		r.plain = string(v) == "text"
	case stream:
		r.Stream = bare && string(v) == "true"
	case includeUsage:
		r.IncludeUsage, r.IncludeUsageAt = bare && string(v) == "true", Span{start, end}
	case maxOutput:
		if n, ok := count(v); ok && bare {
			r.MaxOutput = max(r.MaxOutput, n)
		}
	case times:
		if n, ok := count(v); ok && bare {
			r.N = max(r.N, n)
		}
	case rpc:
		r.RPC = true
	}
}

func (r *reader) media(v []byte) bool {
	if isNull(v) {
		return false
	}
	r.known = true
	r.InputBytes += mediaBytes
	return true
}

// isImage reports whether a part of this type is an image, wherever its data is.
func isImage(kind []byte) bool {
	switch string(kind) {
	case "image_url", "input_image", "image":
		return true
	default:
		return false
	}
}

func (r *reader) closed(n *node, empty bool, _, end int) {
	r.ended(n, end)
	switch n.role {
	case turn:
		r.known = true
		r.InputBytes += turnBytes
	case turns, inPrompt:
		r.known = true
	case source:
		r.endSource()
	case inTools:
		r.Tools = r.Tools || !empty
	case inSchema:
		r.Schema = r.Schema || !empty
	}
}

// endSource counts the data of a source once its type is known: it may come last.
func (r *reader) endSource() {
	switch {
	case r.plain:
		r.InputBytes += r.held
	case r.held > 0:
		r.InputBytes += mediaBytes
	}
	r.held, r.plain = 0, false
}
