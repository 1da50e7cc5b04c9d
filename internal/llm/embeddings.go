package llm

import "bytes"

// embeddings is OpenAI's, Ollama's and Cohere's. It has no output.
//
//nolint:gochecknoglobals // a constant
var embeddings = dialect{
	api: Embeddings, typed: noTypes,
	fields: join(
		fields{{"data", choices}, {"embeddings", choices}, {"embedding", choices}, {"prompt_eval_count", promptCount}, {"meta.billed_units.input_tokens", promptCount}},
		at("usage", counts),
	),
}

// images is OpenAI's /images/generations, /edits and /variations.
//
//nolint:gochecknoglobals // a constant
var images = dialect{
	api: Images, owes: true,
	fields: join(
		fields{{"data", choices}, {"embeddings", choices}, {"embedding", choices}, {"data[].b64_json", inMedia}, {"data[].url", anyContent}, {"b64_json", inMedia}},
		at("usage", counts),
	),
	typed: func(name []byte) kind {
		if bytes.HasSuffix(name, []byte(".completed")) {
			return ending
		}
		return unknownType
	},
}
