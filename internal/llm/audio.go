package llm

// transcription is OpenAI's /audio/transcriptions and /audio/translations.
//
//nolint:gochecknoglobals // a constant
var transcription = dialect{
	api: Transcription, owes: true,
	fields: join(fields{{"delta", inText}, {"text", inWhole}}, at("usage", counts)),
	typed: func(name []byte) kind {
		if string(name) == "transcript.text.done" {
			return ending
		}
		return unknownType
	},
}

// speech is OpenAI's /audio/speech as a stream of events. As bytes it is not read.
//
//nolint:gochecknoglobals // a constant
var speech = dialect{
	api: Speech, owes: true,
	fields: join(fields{{"audio", inMedia}}, at("usage", counts)),
	typed: func(name []byte) kind {
		if string(name) == "speech.audio.done" {
			return ending
		}
		return unknownType
	},
}
