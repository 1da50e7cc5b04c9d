package usage

// Request is what the body of a request says of tokens, and of what a model must
// be able to do for it.
type Request struct {
	// Known is false for a body that is no JSON object: of such a one, nothing is
	// known but its size.
	Known  bool
	Model  string // "" if it has none, or one of more than 127 bytes
	Stream bool
	// IncludeUsage: the stream is to end with what the server counted.
	IncludeUsage bool
	// Tools: there are some that the model may call.
	Tools bool
	// Schema: the answer must fit a JSON schema.
	Schema bool
	// Vision: there is an image.
	Vision bool
	// MaxOutput is the most tokens that each answer may have: the largest of the
	// members that say so, because servers differ in which they follow. 0 is no
	// limit.
	MaxOutput int64
	// N is how many answers are written: n or best_of, the larger; 1 by default.
	N int64
	// InputBytes is how much text the model will read: about four bytes are a
	// token. Images, sound and files count as mediaBytes each, by value or by URL.
	InputBytes int64
}

const (
	mediaBytes = 4000 // about 1000 tokens
	turnBytes  = 12   // what chat templates put around a message: about 3 tokens
)

// ReadRequest reads a body of any of the forms that the package knows, in one
// pass. All text in it counts as input, but for the names of members that the
// model does not see; a text that only looks like data is text. A body that is
// not a JSON object says nothing, and counts whole.
func ReadRequest(body []byte) Request {
	r := requestReader{Request: Request{Known: true, N: 1}}
	r.json.owner, r.json.root = &r, atRequest
	r.json.write(body)
	if r.json.state != complete {
		return Request{N: 1, InputBytes: int64(len(body))}
	}
	return r.Request
}

type requestReader struct {
	Request
	json  lexer
	held  int64 // bytes of a source's data
	plain bool  // they are text
}

func (r *requestReader) text(p place, size int) {
	switch p {
	case atSourceData:
		r.held += int64(size)
		return
	case atTool:
		r.Tools = true
	case atSchema:
		r.Schema = true
	}
	r.InputBytes += int64(size)
}

func (r *requestReader) value(p place, v []byte) {
	switch p {
	case atModel:
		r.Model = string(v)
	case atImage:
		r.Vision = true
		r.InputBytes += mediaBytes
	case atMedia:
		r.InputBytes += mediaBytes
	case atPartType:
		r.Vision = r.Vision || isImage(v)
	case atFormatType:
		r.Schema = r.Schema || string(v) == "json_schema"
	case atSourceType:
		r.plain = string(v) == "text"
	case atStream:
		r.Stream = string(v) == "true"
	case atIncludeUsage:
		r.IncludeUsage = string(v) == "true"
	case atMaxOutput:
		n, _ := count(v)
		r.MaxOutput = max(r.MaxOutput, n)
	case atTimes:
		n, _ := count(v)
		r.N = max(r.N, n)
	}
}

// isImage: a part of this type is an image, wherever its data is.
func isImage(kind []byte) bool {
	switch string(kind) {
	case "image_url", "input_image", "image":
		return true
	default:
		return false
	}
}

func (r *requestReader) closed(p place) {
	switch p {
	case atTurn:
		r.InputBytes += turnBytes
	case atSource:
		r.endSource()
	}
}

// endSource counts the data of a source, now that its type is known: it may come
// last.
func (r *requestReader) endSource() {
	switch {
	case r.plain:
		r.InputBytes += r.held
	case r.held > 0:
		r.InputBytes += mediaBytes
	}
	r.held, r.plain = 0, false
}

func inRequest(name []byte) place {
	switch string(name) {
	case "model":
		return atModel
	case "stream":
		return atStream
	case "stream_options":
		return atStreamOptions
	case "max_tokens", "max_completion_tokens", "max_output_tokens":
		return atMaxOutput
	case "n", "best_of":
		return atTimes
	case "messages", "input":
		return atTurns
	case "tools", "functions":
		return atTools
	case "response_format", "output_format":
		return atFormat
	case "text", "output_config": // of the responses API, and of messages
		return atFormats
	case "guided_json":
		return atSchema
	case "structured_outputs":
		return atGuides
	default:
		return atBody
	}
}

// inOption is for the other objects at the root of a request.
func inOption(p place, name []byte) place {
	switch {
	case p == atFormat && string(name) == "type":
		return atFormatType
	case p == atFormats && string(name) == "format":
		return atFormat
	case p == atGuides && string(name) == "json":
		return atSchema
	case p == atStreamOptions && string(name) == "include_usage":
		return atIncludeUsage
	default:
		return atBody
	}
}

// inPart is for messages and for the parts of their content, which may have
// parts themselves: the result of a tool, for example.
func inPart(name []byte) place {
	switch string(name) {
	case "content", "output":
		return atParts
	case "type":
		return atPartType
	case "image_url":
		return atImage
	case "video_url", "audio_url", "input_audio", "file", "file_data":
		return atMedia
	case "source":
		return atSource
	default:
		return atBody
	}
}

func inSource(name []byte) place {
	switch string(name) {
	case "data", "url":
		return atSourceData
	case "type":
		return atSourceType
	case "content":
		return atParts
	default:
		return atBody
	}
}

func inMedia(p place, name []byte) place {
	switch string(name) {
	case "url", "data", "file_data":
		return p
	default:
		return atBody
	}
}
