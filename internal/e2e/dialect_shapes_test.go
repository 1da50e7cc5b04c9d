package e2e_test

import "strings"

// dialectForm is how the body of a response is made up.
type dialectForm int

const (
	formEvents   dialectForm = iota // server-sent events
	formLines                       // one JSON text a line
	formDocument                    // one JSON text
	formBinary
)

// The kinds of errors that a server can tell of.
const (
	kindServer  = "server"  // its own fault
	kindRequest = "request" // anybody else would say the same
	kindQuota   = "quota"   // of the credential
	kindUnknown = "unknown" // it does not say whose fault it is
)

// dialect is an API of models as its real servers write it.
type dialect struct {
	name          string
	form          dialectForm
	cached        bool            // a whole response is served again to the same request
	shapes        []dialectShape  // the first one goes through the whole matrix
	errorBodies   dialectErrors   // errors in a response with status 200, by kind
	errorStatuses dialectStatuses // errors with a status of their own, by kind
	media         string          // of the response
	// openEnded: its servers owe no end that a gateway could know of.
	openEnded bool
}

type (
	dialectErrors   map[string]string
	dialectStatuses map[string]dialectStatus
)

type dialectStatus struct{ line, body string }

// dialectShape is one exchange: the request, and the response in the parts that the ends
// of the matrix leave out.
type dialectShape struct {
	name string
	dialectRequest

	opening string // before content
	content string // the model's
	finish  string // says that it finished
	marker  string // the last event; "": there is none beside finish

	// usage are the sums of tokens that are right to charge; nil: the server does not say.
	usage []int64
	// atMost bounds what is charged when the server does not say; default 600.
	atMost int64
}

func (s *dialectShape) whole() string { return s.opening + s.content + s.finish + s.marker }

func (s *dialectShape) bound() int64 {
	if s.atMost > 0 {
		return s.atMost
	}
	return 600
}

// dialects are all of them but realtime, which is no response.
func dialects() []dialect {
	return []dialect{
		openAIChat(), openAIChatJSON(), openAICompletions(), openAIResponses(), anthropicMessages(), anthropicMessagesJSON(), geminiStream(), ollamaChat(),
		ollamaGenerate(), llamaCPP(), textGenerationInference(), cohereChat(), transcription(), speech(), speechEvents(), embeddings(), images(), imageEvents(),
	}
}

// dataEvents writes each text as the data of an event.
func dataEvents(data ...string) string {
	if len(data) == 0 {
		return ""
	}
	return "data: " + strings.Join(data, "\n\ndata: ") + "\n\n"
}

// typedOf writes events whose name is the type in their data, which stands first.
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
