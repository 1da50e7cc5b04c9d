package stream

import (
	"bytes"
	"errors"
	"io"
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

// maxStripped bounds an event that is looked at; a longer one passes as it is.
const maxStripped = 1 << 20

// stripping takes the usage that nobody asked for out of a stream: the last chunk, which
// has nothing else, and the member of the others. Events pass when they are complete.
type stripping struct {
	source io.ReadCloser
	in     []byte // read, not looked at
	looked int    // of in: no event ends before
	out    []byte // ready
	sent   int    // of out
	err    error  // that ended the source
	passes bool   // nothing is looked at any more
}

// Read implements io.Reader.
func (s *stripping) Read(p []byte) (int, error) {
	for s.sent == len(s.out) {
		if s.err != nil {
			return 0, s.err
		}
		s.fill()
	}
	n := copy(p, s.out[s.sent:])
	s.sent += n
	return n, nil
}

// Close implements io.Closer.
func (s *stripping) Close() error { return s.source.Close() }

// fill reads once, and takes the events that are complete.
func (s *stripping) fill() {
	if cap(s.in)-len(s.in) < 512 {
		s.in = slices.Grow(s.in, 4<<10)
	}
	n, err := s.source.Read(s.in[len(s.in):cap(s.in)])
	s.in, s.err = s.in[:len(s.in)+n], err
	s.out, s.sent = s.out[:0], 0
	s.passes = s.passes || hasOldLines(s.in[s.looked:])
	done := 0
	for !s.passes {
		end := eventEnd(s.in[s.looked:])
		if end < 0 {
			s.looked = max(len(s.in)-3, done) // a line end may be cut
			break
		}
		end += s.looked
		s.out = appendStripped(s.out, s.in[done:end])
		done, s.looked = end, end
	}
	s.passes = s.passes || len(s.in)-done > maxStripped
	if s.passes || s.err != nil { // what is left is no whole event
		s.out = append(s.out, s.in[done:]...)
		done = len(s.in)
	}
	rest := copy(s.in, s.in[done:])
	s.in, s.looked = s.in[:rest], max(s.looked-done, 0)
}

// hasOldLines reports whether a line ends with a carriage return alone. No server of a
// model is known that writes so: such a stream passes as it is, rather than late.
func hasOldLines(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 || i == len(b)-1 { // at the end: the next read tells
			return false
		}
		if b[i+1] != '\n' {
			return true
		}
		b = b[i+2:]
	}
}

// eventEnd finds where the first event ends: behind a blank line. -1: it does not.
func eventEnd(b []byte) int {
	for i := 0; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
		switch rest := b[i:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			return i + 1
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return i + 2
		}
	}
}

// appendStripped adds an event without its usage.
func appendStripped(out, event []byte) []byte {
	start, end, ok := soleData(event)
	data := event[start:end]
	if cut, found := bytes.CutSuffix(data, []byte(`,"usage":null}`)); found { // so most servers write it
		out = append(out, event[:start+len(cut)]...)
		return append(out, event[end-1:]...)
	}
	if !ok || !bytes.Contains(data, []byte(`"usage"`)) {
		return append(out, event...)
	}
	if isUsageAlone(data) {
		return out
	}
	from, to, ok := usageMember(data)
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
	end = start + bytes.IndexByte(event[start:], '\n') // an event has a last line end
	if event[end-1] == '\r' {
		end--
	}
	return start, end, true
}

// isUsageAlone reports whether a chunk has usage and no choices.
func isUsageAlone(data []byte) bool {
	at, err := llm.Member(data, "choices")
	if err != nil || data[at.Start] != '[' || len(bytes.TrimSpace(data[at.Start+1:at.End])) != 1 {
		return false
	}
	at, err = llm.Member(data, "usage")
	return err == nil && data[at.Start] == '{'
}

// usageMember finds the usage in a chunk with its name and a comma: data[from:to].
func usageMember(data []byte) (from, to int, ok bool) {
	at, err := llm.Member(data, "usage")
	if err != nil {
		return 0, 0, false
	}
	start, end := at.Start, at.End
	name := []byte(`"usage"`)
	from = bytes.LastIndex(data[:start], name)
	if from < 0 || string(bytes.TrimSpace(data[from+len(name):start])) != ":" { // written with escapes
		return 0, 0, false
	}
	if before := bytes.TrimRight(data[:from], " \t"); bytes.HasSuffix(before, []byte(",")) {
		return len(before) - 1, end, true
	}
	for to = end; data[to] == ' ' || data[to] == '\t'; to++ {
	}
	if data[to] == ',' { // it was the first
		to++
	}
	return from, to, true
}
