package stream

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/llm"
)

const includeUsage = `"include_usage":true`

// isSigned reports whether a server would refuse the request with another body. A mere digest
// is removed when the body is changed; but a signature may cover it.
func isSigned(h http.Header) bool {
	return h.Get("Signature-Input") != "" || h.Get("X-Amz-Content-Sha256") != "" || strings.HasPrefix(h.Get("Authorization"), "AWS4-")
}

// withUsage returns the request for a stream of OpenAI's completions with a request for usage.
// It reports false if the body can't be changed safely.
func withUsage(req *http.Request) (*http.Request, bool) {
	if _, _, held := body.Segments(req); !held && req.GetBody == nil {
		return nil, false // the rest of a streamed body is unknown
	}
	edit := func(q *llm.Request) { q.IncludeUsage = true }
	const name = "stream_options"
	text := body.Text(req)
	if !bytes.Contains(text, []byte(`"`+name+`"`)) {
		return body.Insert(req, []byte(`"stream_options":{`+includeUsage+`}`), edit)
	}
	at, err := llm.Member(text, name)
	if errors.Is(err, llm.ErrNotFound) {
		return body.Insert(req, []byte(`"stream_options":{`+includeUsage+`}`), edit)
	}
	if err != nil {
		return nil, false
	}
	options := at.Of(text)
	if string(options) == "null" {
		return body.Apply(req, body.Patch{At: at, With: []byte("{" + includeUsage + "}")}, edit)
	}
	member, err := llm.Member(options, "include_usage")
	switch {
	case err == nil:
		at = llm.Span{Start: at.Start + member.Start, End: at.Start + member.End}
		return body.Apply(req, body.Patch{At: at, With: []byte("true")}, edit)
	case errors.Is(err, llm.ErrNotFound):
		return body.Apply(req, body.Patch{At: at, With: withMember(options, includeUsage)}, edit)
	}
	return nil, false
}

// withMember inserts a member at the beginning of a JSON object.
func withMember(object []byte, member string) []byte {
	open := bytes.IndexByte(object, '{') + 1
	rest := bytes.TrimLeft(object[open:], " \t\r\n")
	if rest[0] != '}' {
		member += ","
	}
	return slices.Concat(object[:open], []byte(member), rest)
}
