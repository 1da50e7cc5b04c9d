package llm

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"sync"
)

// Request is what a request asks of a model, read once.
type Request struct {
	API API
	// Dialect is the one of which API is [Own]; nil: another is called.
	Dialect *Dialect
	// JSON: the body is one JSON object. RPC: it is of JSON-RPC, a call or several.
	JSON, RPC bool
	// Model is the name that the request goes by: of its path, its JSON, its form or its
	// query; "" if it has none. ModelFault says why it can't be told: [ErrSyntax],
	// [ErrDuplicate] or [ErrType].
	Model      string
	ModelFault error
	// BodyModel is the one in the JSON, where the path has one too.
	BodyModel string
	// Stream: it asks for a stream.
	Stream bool
	// IncludeUsage: the stream is to end with what the server counted.
	IncludeUsage bool
	// Tools: there are some that the model may call.
	Tools bool
	// Schema: the response must fit a JSON schema.
	Schema bool
	// Vision: there is an image.
	Vision bool
	// MaxOutput is the most tokens that each choice may have: the largest of the
	// members that say so, because servers differ in which they follow. 0 is no
	// limit.
	MaxOutput int64
	// N is how many choices are written: n or best_of, the larger; 1 by default.
	N int64
	// InputBytes is how much text the model will read: about four bytes are a
	// token. Images, sound and files count as mediaBytes each, by value or by URL.
	InputBytes int64

	// Where parts stand in the body; zero: nowhere.
	ModelAt, StreamOptionsAt, IncludeUsageAt Span
	// MemberAt is where a member may be put into the object, before those that are
	// there; Bare: there are none.
	MemberAt int
	Bare     bool
}

const (
	mediaBytes = 4000 // about 1000 tokens
	turnBytes  = 12   // what chat templates put around a message: about 3 tokens
	// unknownBytes is what a body of an unknown form counts as.
	unknownBytes = 1000
)

// ReadRequest reads a request and its body, in one pass. The body's bytes are not kept.
func ReadRequest(r *http.Request, body []byte) *Request {
	return ReadRequestIn(DialectsOf(r.Context()), r, body)
}

// ReadRequestIn is [ReadRequest] for a request whose context does not have these dialects.
func ReadRequestIn(list []*Dialect, r *http.Request, body []byte) *Request {
	path := ""
	if r.URL != nil {
		path = r.URL.Path
	}
	api, own := identify(r.Method, path, list)
	q := &Request{API: api, Dialect: own, N: 1}
	contentType := r.Header.Get("Content-Type")
	switch {
	case len(body) == 0:
	case strings.HasPrefix(MediaType(contentType), "multipart/"), MediaType(contentType) == "application/x-www-form-urlencoded" && !looksLikeJSON(body):
		q.readForm(contentType, body)
	case IsJSON(contentType), looksLikeJSON(body), isBatch(body):
		q.readJSON(body)
	default:
		q.InputBytes = min(int64(len(body)), unknownBytes)
	}
	q.name(r, path)
	if q.API == Free {
		q.InputBytes = 0
	}
	return q
}

// ReadBody is [ReadRequest] for a body alone: JSON of any API.
func ReadBody(body []byte) *Request {
	q := &Request{N: 1}
	q.readJSON(body)
	return q
}

// Generates reports whether the request asks a model for text: by its API, or, where that
// is unknown, by asking a model for a stream.
func (q *Request) Generates() bool {
	return q.API.Generates() || q.API == Unknown && q.JSON && q.Stream && q.Model != ""
}

// name finds the model where the body does not name it.
func (q *Request) name(r *http.Request, path string) {
	if named := ModelInPath(path); named != "" {
		if q.Model != named {
			q.BodyModel = q.Model
		}
		q.Model = named
		if errors.Is(q.ModelFault, ErrSyntax) {
			q.ModelFault = nil
		}
		return
	}
	if q.Model == "" && q.ModelFault == nil && r.URL != nil && r.URL.RawQuery != "" {
		switch models := r.URL.Query()["model"]; {
		case len(models) > 1:
			q.ModelFault = ErrDuplicate
		case len(models) == 1:
			q.Model = models[0]
		}
	}
}

// looksLikeJSON reports whether some upstream may read a body as a JSON object,
// whatever its type says: in UTF-8 or UTF-16, with or without a byte order mark.
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
		*q = Request{API: q.API, Dialect: q.Dialect, N: 1, ModelFault: err, InputBytes: int64(len(body)), RPC: isBatch(body)}
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

// isBatch reports whether a body is an array, as several calls of JSON-RPC are.
func isBatch(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) && bytes.Contains(body, []byte(`"jsonrpc"`))
}

// readers are kept, since each is as large as a small body.
//
//nolint:gochecknoglobals // a pool
var readers = sync.Pool{New: func() any {
	r := new(reader)
	r.json = lexer{owner: r, root: requests, only: '{', names: r.named, values: r.member}
	return r
}}

// release makes ready for another request.
func (r *reader) release() {
	names, values := r.json.names, r.json.values
	*r = reader{}
	r.json = lexer{owner: r, root: requests, only: '{', names: names, values: values}
	readers.Put(r)
}

// reader reads the JSON of a request.
type reader struct {
	*Request
	body    []byte
	json    lexer
	members int
	models  int
	folded  bool // a name that another parser takes for model
	isModel bool // of the member that is read
	options bool // and that
	known   bool // something in it is for a model to read
	strange bool // it has a member that no API has

	held  int64 // bytes of a source's data
	plain bool  // they are text
}

// named takes a name of the object.
func (r *reader) named(_ []byte, start, end int) {
	r.members++
	r.strange = r.strange || r.json.at == nil
	same, folded := isName(r.body[start:end], "model")
	r.folded = r.folded || folded && !same
	r.isModel = same
	r.options, _ = isName(r.body[start:end], "stream_options")
	if same {
		r.models++
	}
}

// member takes where a value of the object stands.
func (r *reader) member(start, end int) {
	switch {
	case !isValue(r.body[start:end]):
		r.json.state = broken
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

// isImage: a part of this type is an image, wherever its data is.
func isImage(kind []byte) bool {
	switch string(kind) {
	case "image_url", "input_image", "image":
		return true
	default:
		return false
	}
}

func (r *reader) closed(n *node, empty bool, _, _ int) {
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

// endSource counts the data of a source, now that its type is known: it may come
// last.
func (r *reader) endSource() {
	switch {
	case r.plain:
		r.InputBytes += r.held
	case r.held > 0:
		r.InputBytes += mediaBytes
	}
	r.held, r.plain = 0, false
}
