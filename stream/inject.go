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

// isSigned reports whether a server would refuse the request with another body. A mere
// digest goes when the body is changed; but a signature may cover it.
func isSigned(h http.Header) bool {
	return h.Get("Signature-Input") != "" || h.Get("X-Amz-Content-Sha256") != "" || strings.HasPrefix(h.Get("Authorization"), "AWS4-")
}

// withUsage has the request for a stream of OpenAI's completions ask for usage. It
// reports false when the body is not such that this is sure to be right.
func withUsage(req *http.Request) (*http.Request, bool) {
	if _, _, held := body.Segments(req); !held && req.GetBody == nil {
		return nil, false // of a body that streams the rest is not known
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

// withMember puts a member first into a JSON object.
func withMember(object []byte, member string) []byte {
	open := bytes.IndexByte(object, '{') + 1
	rest := bytes.TrimLeft(object[open:], " \t\r\n")
	if rest[0] != '}' {
		member += ","
	}
	return slices.Concat(object[:open], []byte(member), rest)
}

// withoutUsage takes out of an event what is there only because the gateway asked: the
// chunk that has usage and no choice, and a usage of null. Usage beside a choice stays:
// servers that write it do so unasked.
func withoutUsage(out, event []byte, e llm.Event) []byte {
	if e.Usage == [2]int{} || e.Error {
		return append(out, event...)
	}
	start, end, ok := soleData(event)
	if !ok || e.Usage[1] > end-start {
		return append(out, event...)
	}
	data := event[start:end]
	from, to := e.Usage[0], e.Usage[1]
	switch {
	case data[from] == '{' && !e.Choices && !e.Content:
		return out
	case string(data[from:to]) != "null":
		return append(out, event...)
	}
	from, to, ok = named(data, from, to)
	if !ok {
		return append(out, event...)
	}
	out = append(out, event[:start+from]...)
	return append(out, event[start+to:]...)
}

// soleData finds the data of an event that has one line of it: event[start:end].
func soleData(event []byte) (start, end int, ok bool) {
	field := []byte("data:")
	at := bytes.Index(event, field)
	if at < 0 || at > 0 && event[at-1] != '\n' || bytes.Contains(event[at+len(field):], []byte("\ndata:")) {
		return 0, 0, false
	}
	start = at + len(field)
	if start < len(event) && event[start] == ' ' {
		start++
	}
	length := bytes.IndexByte(event[start:], '\n')
	if length < 0 { // lines end with a carriage return alone
		return 0, 0, false
	}
	end = start + length
	if end > start && event[end-1] == '\r' {
		end--
	}
	return start, end, bytes.IndexByte(event[start:end], '\r') < 0
}

// named extends the place of a chunk's usage by its name and a comma.
func named(data []byte, start, end int) (from, to int, ok bool) {
	name := []byte(`"usage"`)
	from = bytes.LastIndex(data[:start], name)
	if from < 0 || string(bytes.TrimSpace(data[from+len(name):start])) != ":" { // written with escapes
		return 0, 0, false
	}
	if before := bytes.TrimRight(data[:from], " \t"); bytes.HasSuffix(before, []byte(",")) {
		return len(before) - 1, end, true
	}
	for to = end; to < len(data) && (data[to] == ' ' || data[to] == '\t'); to++ {
	}
	if to < len(data) && data[to] == ',' { // it was the first
		to++
	}
	return from, to, true
}
