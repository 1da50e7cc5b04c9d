package llm

import (
	"net/http"
	"strings"
)

// API is the kind of call that a request makes.
type API uint8

// The kinds of calls. Unknown is any other.
const (
	Unknown API = iota
	Chat        // this and the following, up to Cohere, generate text
	Completions
	Responses
	Messages
	Gemini
	Ollama
	LlamaCPP
	TGI
	Own // described by a [Dialect]
	Converse
	Cohere
	Transcription
	Speech
	Embeddings
	Images
	Realtime
	// Free are calls without generation: counting tokens, tokenizing, moderation.
	Free
	apis
)

// String returns the name in logs.
func (a API) String() string {
	return [apis]string{
		"unknown", "chat", "completions", "responses", "messages", "gemini", "ollama", "llama.cpp", "tgi", "own", "converse", "cohere",
		"transcription", "speech", "embeddings", "images", "realtime", "free",
	}[a]
}

// endings are the last segments of the paths of each API, the longest first.
//
//nolint:gochecknoglobals // a constant
var endings = [...]struct {
	path string
	api  API
}{
	{"/chat/completions", Chat},
	{"/messages/count_tokens", Free},
	{"/responses/input_tokens", Free},
	{"/audio/transcriptions", Transcription},
	{"/audio/translations", Transcription},
	{"/audio/speech", Speech},
	{"/images/generations", Images},
	{"/images/edits", Images},
	{"/images/variations", Images},
	{"/api/chat", Ollama},
	{"/api/generate", Ollama},
	{"/api/embeddings", Embeddings},
	{"/api/embed", Embeddings},
	{"/converse", Converse},
	{"/v2/chat", Cohere},
	{"/v2/embed", Embeddings},
	{"/generate_stream", TGI},
	{"/generate", TGI},
	{"/completions", Completions},
	{"/completion", LlamaCPP},
	{"/infill", LlamaCPP},
	{"/responses", Responses},
	{"/messages", Messages},
	{"/embeddings", Embeddings},
	{"/moderations", Free},
	{"/tokenize", Free},
	{"/detokenize", Free},
	{"/apply-template", Free},
}

// Of returns the API that a request calls, by its method and path. Prefixes are ignored:
// /openai/v1/chat/completions is Chat.
func Of(method, path string) API {
	path = strings.TrimSuffix(path, "/")
	if method != http.MethodPost {
		if strings.HasSuffix(path, "/realtime") {
			return Realtime
		}
		return Unknown
	}
	if api, ok := ofGemini(path); ok {
		return api
	}
	for i := range endings {
		if strings.HasSuffix(path, endings[i].path) {
			return endings[i].api
		}
	}
	return Unknown
}

// ofGemini returns the API by the verb after the last colon of a path.
func ofGemini(path string) (API, bool) {
	i := strings.LastIndexByte(path, ':')
	if i < 0 {
		return Unknown, false
	}
	switch path[i+1:] {
	case "generateContent", "streamGenerateContent":
		return Gemini, true
	case "embedContent", "batchEmbedContents", "asyncBatchEmbedContent":
		return Embeddings, true
	case "countTokens", "computeTokens":
		return Free, true
	}
	return Unknown, false
}

// ModelInPath returns the model's name in a path: of a deployment (Azure OpenAI), of
// Gemini's models/NAME:verb, or of Bedrock's model/NAME/invoke. "" if there is none.
func ModelInPath(path string) string {
	if rest, ok := after(path, "/deployments/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		return name
	}
	if rest, ok := after(path, "/models/"); ok {
		if i := strings.LastIndexByte(rest, ':'); i > 0 && !strings.Contains(rest, "/") {
			return rest[:i]
		}
	}
	if rest, ok := after(path, "/model/"); ok {
		if name, verb, cut := strings.Cut(rest, "/"); cut && (strings.HasPrefix(verb, "invoke") || strings.HasPrefix(verb, "converse")) {
			return name
		}
	}
	return ""
}

func after(path, part string) (string, bool) {
	i := strings.LastIndex(path, part)
	if i < 0 {
		return "", false
	}
	return path[i+len(part):], true
}

// Generates reports whether a successful response to the API has content: an empty one is a
// failure.
func (a API) Generates() bool {
	return a >= Chat && a <= Cohere
}

// Converts reports whether the API's JSON can be converted to a stream, and back.
func (a API) Converts() bool { return a == Chat || a == Completions || a == Messages }

// HasStreamOptions reports whether a stream of the API may be requested with usage.
func (a API) HasStreamOptions() bool { return a == Chat || a == Completions }
