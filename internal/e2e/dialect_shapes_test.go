package e2e_test

import "strings"

// dialectForm is the format of the body of a response.
type dialectForm int

const (
	formEvents   dialectForm = iota // server-sent events
	formLines                       // one JSON document per line
	formDocument                    // one JSON document
	formBinary
)

// The kinds of errors that a server can report.
const (
	kindServer  = "server"  // the server failed
	kindRequest = "request" // the request is invalid everywhere
	kindQuota   = "quota"   // of the credential
	kindUnknown = "unknown" // unspecified
)

// dialect is an API of models as real servers implement it.
type dialect struct {
	name          string
	form          dialectForm
	cached        bool            // a whole response is cacheable
	shapes        []dialectShape  // the first one runs through the whole matrix
	errorBodies   dialectErrors   // errors in a response with status 200, by kind
	errorStatuses dialectStatuses // errors with a status of their own, by kind
	media         string          // of the response
	// openEnded: the dialect has no end that a gateway could recognize.
	openEnded bool
}

type (
	dialectErrors   map[string]string
	dialectStatuses map[string]dialectStatus
)

type dialectStatus struct{ line, body string }

// dialectShape is one exchange: the request, and the parts of the response that ends of the
// matrix leave out.
type dialectShape struct {
	name string
	dialectRequest

	opening string // before content
	content string // the model's
	finish  string // finishes the generation
	marker  string // the last event; "": none after finish

	// usage are the sums of tokens that may be charged; nil: the server reports none.
	usage []int64
	// atMost bounds the charge when the server reports no usage. Default: 600 tokens.
	atMost int64
}

func (s *dialectShape) whole() string { return s.opening + s.content + s.finish + s.marker }

func (s *dialectShape) bound() int64 {
	if s.atMost > 0 {
		return s.atMost
	}
	return 600
}

// dialects returns all dialects but realtime, which is a tunnel.
func dialects() []dialect {
	return []dialect{
		openAIChat(), openAIChatJSON(), openAICompletions(), openAIResponses(), anthropicMessages(), anthropicMessagesJSON(), geminiStream(), ollamaChat(),
		ollamaGenerate(), llamaCPP(), textGenerationInference(), cohereChat(), converse(), transcription(), speech(), speechEvents(), embeddings(), images(), imageEvents(),
	}
}

// dataEvents writes each text as the data of an event.
func dataEvents(data ...string) string {
	if len(data) == 0 {
		return ""
	}
	return "data: " + strings.Join(data, "\n\ndata: ") + "\n\n"
}

// typedOf writes events named after the type in their data, the first member.
func typedOf(data ...string) string {
	var b strings.Builder
	for _, d := range data {
		kind, _, _ := strings.Cut(strings.TrimPrefix(strings.ReplaceAll(d[:min(len(d), 80)], `": "`, `":"`), `{"type":"`), `"`)
		b.WriteString("event: " + kind + "\ndata: " + d + "\n\n")
	}
	return b.String()
}

func linesOf(data ...string) string { return strings.Join(data, "\n") + "\n" }

// halves cuts a document in two.
func halves(document string) (content, finish string) {
	return document[:len(document)/2], document[len(document)/2:]
}
