package llm

// dialect is what one API calls the parts of its responses.
type dialect struct {
	api    API
	fields fields
	// typed says what the type of an event, or of a response, means.
	typed func(name []byte) kind
	// owes: a stream that had content, and was not finished by anything in it, was cut.
	owes bool
}

// kind is what the type of an event means.
type kind uint8

const (
	untold  = iota
	told    // of the API, and no more is known
	silent  // nothing was said yet
	working // a tool, a search or code is at work: content, and silence may follow
	closing // a part of the content is complete: silence may follow
	resting // and so may the end of the stream
	ending  // the generation is finished
	failing // it failed
)

// Members of errors, which all APIs share.
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

// Usage as OpenAI's APIs, Anthropic's and their followers have it.
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
	{"prompt_cache_hit_tokens", cachedCount}, // DeepSeek
}

// at puts fields below a place.
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

func noTypes([]byte) kind { return untold }

// vocabulary is a dialect, or several, made ready.
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
		if k := d.typed(name); k != untold {
			return k, d.api
		}
	}
	return untold, Unknown
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

// vocabularies are those of each API. What has no path that is known is read as far as
// the APIs are plain to tell apart.
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
	Cohere:        ready(&cohere),
	Transcription: ready(&transcription),
	Speech:        ready(&speech),
	Embeddings:    ready(&embeddings),
	Images:        ready(&images),
	Realtime:      ready(),
	Free:          ready(),
}
