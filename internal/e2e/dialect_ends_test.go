package e2e_test

import (
	"slices"
	"strings"

	"github.com/ginfer/ginfer/internal/testkit/faulty"
)

// The ways in which a response can end.
const (
	endProper      = "proper"
	endNoMarker    = "without marker"
	endCutBefore   = "cut before content"
	endCleanBefore = "clean end before content"
	endCutAfter    = "cut after content"
	endCleanAfter  = "clean end after content"
	endFirst       = "error first, " // followed by the kind
	endLate        = "error late, "
	endStatus      = "status, "
	endNoBytes     = "empty, by its length"
	endNoChunks    = "empty, chunked"
	endSpace       = "white space"
)

func dialectEnds() []string {
	return []string{
		endProper, endNoMarker, endCutBefore, endCleanBefore, endCutAfter, endCleanAfter,
		endFirst + kindServer, endFirst + kindRequest, endFirst + kindQuota, endFirst + kindUnknown,
		endLate + kindServer, endLate + kindRequest, endLate + kindUnknown,
		endStatus + kindServer, endStatus + kindRequest, endStatus + kindQuota,
		endNoBytes, endNoChunks, endSpace,
	}
}

// isError returns the kind of an end with that prefix.
func isError(end, prefix string) (kind string, ok bool) { return strings.CutPrefix(end, prefix) }

// script is what an upstream sends: its status, its bytes, and the steps of its connection.
type script struct {
	line, media string
	body        string
	steps       faulty.Response
}

// play returns the script of an end. It reports false when the dialect has no such end.
func (d *dialect) play(s *dialectShape, end string) (script, bool) {
	if kind, ok := isError(end, endStatus); ok {
		response, known := d.errorStatuses[kind]
		return script{response.line, "application/json", response.body, faulty.Plain(response.line, "Content-Type: application/json\r\n", response.body)}, known
	}
	parts, cut, ok := d.parts(s, end)
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" }) // an empty chunk would be the last one
	out := script{line: "200 OK", media: d.media, body: strings.Join(parts, "")}
	switch {
	case end == endNoBytes:
		out.steps = faulty.Plain(out.line, "Content-Type: "+d.media+"\r\n", "")
	case cut:
		out.steps = faulty.Broken(d.media, parts, faulty.Cut())
	default:
		out.steps = faulty.Chunked(d.media, parts...)
	}
	return out, ok
}

// parts returns the parts of a response with status 200, and whether its connection then
// breaks.
func (d *dialect) parts(s *dialectShape, end string) (parts []string, cut, ok bool) {
	if kind, first := isError(end, endFirst); first {
		body, known := d.errorBodies[kind]
		return []string{s.opening, body}, false, known
	}
	if kind, late := isError(end, endLate); late {
		body, known := d.errorBodies[kind]
		return []string{s.opening, s.content, body}, false, known && d.form != formDocument
	}
	switch end {
	case endProper:
		return []string{s.opening, s.content, s.finish, s.marker}, false, true
	case endNoMarker:
		return []string{s.opening, s.content, s.finish}, false, s.marker != ""
	case endCutBefore:
		return []string{s.opening}, true, true
	case endCleanBefore:
		return []string{s.opening}, false, s.opening != ""
	case endCutAfter:
		return []string{s.opening, s.content}, true, s.content != ""
	case endCleanAfter:
		return []string{s.opening, s.content}, false, s.content != "" && !d.openEnded
	case endSpace:
		return []string{" \n", "\r\n\n"}, false, d.form != formBinary
	case endNoBytes, endNoChunks:
		return nil, false, true
	}
	return nil, false, false
}

// dialectFacts are the properties of an end that hold in every chain.
type dialectFacts struct {
	blame string // "": no failure

	// beforeContent: the client has no content yet, so the response may be replaced.
	beforeContent bool
	// knownFromHead: the head of the response is enough to know it.
	knownFromHead bool
	// retrySame: a retry at the same endpoint may succeed; retryOther: one at another upstream.
	retrySame, retryOther bool
	// passThrough: the client gets the upstream's own error.
	passThrough bool
	// retryOptional: a retry is allowed but not required.
	retryOptional bool
	// anyOutcome: the log may report a success or a failure.
	anyOutcome bool
}

const (
	blameEndpoint   = "endpoint"
	blameRequest    = "request"
	blameCredential = "credential"
)

// facts are the rules:
//   - a finished response is whole, with or without a marker;
//   - a response that is cut, lacks the end that its dialect requires, or is empty is the
//     endpoint's failure: before content it is replaced, after content it is visibly broken;
//   - a server error is the endpoint's failure; a request error is never retried, a credential
//     error never at the same endpoint, and neither opens a circuit;
//   - an error of an unknown kind within a 200 is not a failure;
//   - the error of the last attempt reaches the client unchanged when it is more specific than
//     ours.
func (d *dialect) facts(end string) dialectFacts {
	for _, prefix := range []string{endFirst, endLate, endStatus} {
		if kind, ok := isError(end, prefix); ok {
			f := factsOf(kind)
			f.beforeContent, f.knownFromHead = prefix != endLate, prefix == endStatus
			f.anyOutcome = f.blame != blameEndpoint && prefix != endStatus
			return f
		}
	}
	lost := dialectFacts{blame: blameEndpoint, retrySame: true, retryOther: true}
	switch end {
	case endCutBefore, endCleanBefore, endNoChunks, endSpace:
		lost.beforeContent = true
		return lost
	case endNoBytes:
		lost.beforeContent, lost.retryOptional = true, true // visible in the head, which need not be checked
		return lost
	case endCutAfter, endCleanAfter:
		lost.beforeContent = d.form == formDocument // half a document is not content
		return lost
	}
	return dialectFacts{}
}

func factsOf(kind string) dialectFacts {
	switch kind {
	case kindServer:
		return dialectFacts{blame: blameEndpoint, retrySame: true, retryOther: true, passThrough: true}
	case kindRequest:
		return dialectFacts{blame: blameRequest, passThrough: true}
	case kindQuota:
		return dialectFacts{blame: blameCredential, retryOther: true, passThrough: true}
	}
	return dialectFacts{retrySame: true, retryOther: true, passThrough: true, retryOptional: true}
}

// excludedCells are the cells that do not apply, with the reason.
var excludedCells = []struct {
	reason   string
	dialects []string
	ends     []string
}{
	{
		"one document has no marker, and ends with its error",
		[]string{"openai chat JSON", "anthropic messages JSON", "converse", "embeddings", "images"},
		[]string{endNoMarker, endLate + kindServer, endLate + kindRequest, endLate + kindUnknown},
	},
	{"its last event finishes it", []string{"gemini", "ollama chat", "ollama generate", "llama.cpp", "tgi", "cohere", "speech events", "image events"}, []string{endNoMarker}},
	{
		"it sends nothing before content: this is the empty response",
		[]string{"openai chat JSON", "openai completions", "anthropic messages JSON", "gemini", "ollama chat", "ollama generate", "llama.cpp", "tgi", "converse", "transcription", "speech events", "embeddings", "images", "image events"},
		[]string{endCleanBefore},
	},
	{
		"sound has no marker, no events, no white space, and owes no end",
		[]string{"speech"},
		[]string{
			endNoMarker, endCleanBefore, endCleanAfter, endSpace, endFirst + kindServer, endFirst + kindRequest, endFirst + kindQuota, endFirst + kindUnknown,
			endLate + kindServer, endLate + kindRequest, endLate + kindUnknown,
		},
	},
	{
		"its errors within a 200 are texts without a kind",
		[]string{"ollama chat", "ollama generate"},
		[]string{endFirst + kindServer, endFirst + kindRequest, endFirst + kindQuota, endLate + kindServer, endLate + kindRequest},
	},
	{"its server has no accounts", []string{"llama.cpp", "tgi"}, []string{endFirst + kindQuota, endStatus + kindQuota}},
	{"its errors have a status of their own", []string{"converse"}, []string{endFirst + kindServer, endFirst + kindRequest, endFirst + kindQuota, endFirst + kindUnknown}},
	{
		"its only error within a 200 is that the generation failed",
		[]string{"cohere"},
		[]string{endFirst + kindRequest, endFirst + kindQuota, endFirst + kindUnknown, endLate + kindRequest, endLate + kindUnknown},
	},
}

// excludedReason returns why a dialect has no such end; "": it has one.
func excludedReason(dialect, end string) string {
	for _, s := range excludedCells {
		if slices.Contains(s.dialects, dialect) && slices.Contains(s.ends, end) {
			return s.reason
		}
	}
	return ""
}
