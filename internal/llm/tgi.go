package llm

// tgi is /generate and /generate_stream of Hugging Face's text-generation-inference. The
// last event of its stream repeats the whole text.
//
//nolint:gochecknoglobals // a constant
var tgi = dialect{
	api: TGI, owes: true, typed: noTypes,
	fields: join(tgiText, at("[]", tgiText)),
}

//nolint:gochecknoglobals // a constant
var tgiText = fields{
	{"token.text", inText},
	{"generated_text", inWhole},
	{"details.finish_reason", finishAll},
	{"details.generated_tokens", outputCount},
	{"details.input_length", promptCount},
	{"details.prefill_tokens", promptCount},
}
