package llm

// dialect is the vocabulary of an API's responses.
type dialect struct {
	api    API
	fields fields
	// typed returns the meaning of the type of an event or of a response.
	typed func(name []byte) kind
	// owes means that a stream with content but without a finish was cut.
	owes bool
}

// kind is the meaning of the type of an event.
type kind uint8

const (
	unknownType = iota
	knownType   // of the API, without further meaning
	silent      // no content yet
	working     // a tool, a search or code is running: content, and silence may follow
	closing     // a part of the content is complete: silence may follow
	resting     // and so may the end of the stream
	ending      // the generation is finished
	failing     // the generation failed
)

// Members of errors, common to all APIs.
//
//nolint:gochecknoglobals // a constant
var faults = fields{
	{"error", errorRoot},
	{"error.message", inMessage},
	{"error.type", errorType},
	{"error.status", errorType},
	{"error.code", errorCode},
	{"error.http_status_code", errorCode},
	{"error.*", inFault},
	{"error[]", inFault},
	{"error_type", looseType},
	{"response.error.message", inMessage},
	{"response.error.code", errorCode},
	{"code", looseCode},
	{"detail", inLoose},
	{"message", inLoose},
	{"type", eventType},
	{"object", objectType},
	{"jsonrpc", rpc},
}

// Usage of OpenAI's APIs, Anthropic's and compatible ones.
//
//nolint:gochecknoglobals // a constant
var counts = fields{
	{"", usageRoot},
	{"prompt_tokens", promptCount},
	{"input_tokens", inputCount},
	{"completion_tokens", outputCount},
	{"output_tokens", outputCount},
	{"total_tokens", totalCount},
	{"prompt_tokens_details.cached_tokens", cachedCount},
	{"input_tokens_details.cached_tokens", cachedCount},
	{"completion_tokens_details.reasoning_tokens", reasoningCount},
	{"output_tokens_details.reasoning_tokens", reasoningCount},
	{"cache_read_input_tokens", cacheReadCount},
	{"cache_creation_input_tokens", cacheWriteCount},
	{"prompt_cache_hit_tokens", cachedCount},                      // DeepSeek
	{"cached_tokens", cachedCount},                                // Moonshot
	{"prompt_tokens_details.cache_write_tokens", cacheWriteCount}, // OpenRouter
}

// at returns fields below a place.
func at(place string, all fields) fields {
	out := make(fields, len(all))
	for i, f := range all {
		out[i] = f
		switch {
		case f.path == "":
			out[i].path = place
		case place != "":
			out[i].path = place + "." + f.path
		}
	}
	return out
}

func join(all ...fields) fields {
	var out fields
	for _, f := range all {
		out = append(out, f...)
	}
	return out
}

func noTypes([]byte) kind { return unknownType }

// vocabulary is the tree of one or several dialects.
type vocabulary struct {
	root     *node
	dialects [apis]*dialect
}

func (v *vocabulary) typed(api API, name []byte) (kind, API) {
	if d := v.dialects[api]; d != nil {
		return d.typed(name), api
	}
	for _, d := range v.dialects {
		if d == nil {
			continue
		}
		if k := d.typed(name); k != unknownType {
			return k, d.api
		}
	}
	return unknownType, Unknown
}

func ready(dialects ...*dialect) *vocabulary {
	v := &vocabulary{root: tree(dialects...)}
	for _, f := range faults {
		v.root.add(f.path, f.role, Unknown)
	}
	for _, d := range dialects {
		v.dialects[d.api] = d
	}
	return v
}

// vocabularies are the vocabularies of each API. Unknown paths are read as far as the APIs
// can be knownType apart by their JSON.
//
//nolint:gochecknoglobals // constants
var vocabularies = [apis]*vocabulary{
	Unknown:       ready(&chat, &completions, &responses, &messages, &geminiEvents),
	Chat:          ready(&chat),
	Completions:   ready(&completions),
	Responses:     ready(&responses),
	Messages:      ready(&messages),
	Gemini:        ready(&gemini),
	Ollama:        ready(&ollama),
	LlamaCPP:      ready(&llamaCPP),
	TGI:           ready(&tgi),
	Own:           ready(),
	Converse:      ready(&converse),
	Cohere:        ready(&cohere),
	Transcription: ready(&transcription),
	Speech:        ready(&speech),
	Embeddings:    ready(&embeddings),
	Images:        ready(&images),
	Realtime:      ready(),
	Free:          ready(),
}
