package cachekey

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/ginfer/ginfer/cache/internal/jcs"
)

// meaning is what a member of a request to a model means for its key.
type meaning uint8

const (
	unknown   meaning = iota
	parameter         // another value is another request
	prompt            // so is another prompt
	ignored           // the value does not matter
	unset             // it has side effects unless it is false or null
)

// Selection selects members of a request.
type Selection uint8

// The selections.
const (
	// All selects all members that matter.
	All Selection = iota
	// Parameters selects those but the prompt.
	Parameters
	// Prompt selects the prompt.
	Prompt
)

// Fields are the members that requests to models may have.
type Fields map[string]meaning

// NewFields returns the members of OpenAI's completions, chats, embeddings and responses,
// of Anthropic's messages, and of compatible servers. Parameters are more members that
// matter, ignores are more that do not.
func NewFields(parameters, ignores []string) Fields {
	all := Fields{}
	for kind, names := range map[meaning]string{
		prompt:  "messages input instructions prompt system",
		ignored: "stream stream_options user metadata",
		unset:   "store background",
		parameter: `model tools tool_choice parallel_tool_calls functions function_call response_format text modalities audio
			temperature top_p top_k min_p top_a typical_p seed n best_of echo suffix
			max_tokens max_completion_tokens max_output_tokens min_tokens ignore_eos
			stop stop_sequences stop_token_ids include_stop_str_in_output
			presence_penalty frequency_penalty repetition_penalty length_penalty no_repeat_ngram_size
			logit_bias logprobs top_logprobs prompt_logprobs
			reasoning reasoning_effort include_reasoning thinking verbosity effort output_config output_format
			encoding_format dimensions input_type truncate truncation include prediction
			service_tier safety_identifier prompt_cache_key anthropic_version
			guided_json guided_regex guided_choice guided_grammar guided_decoding_backend structured_outputs regex ebnf
			chat_template chat_template_kwargs add_generation_prompt continue_final_message add_special_tokens skip_special_tokens
			spaces_between_special_tokens use_beam_search`,
	} {
		for name := range strings.FieldsSeq(names) {
			all[name] = kind
		}
	}
	for _, name := range parameters {
		all[name] = parameter
	}
	for _, name := range ignores {
		all[name] = ignored
	}
	return all
}

// Members is what the members of a request to a model say.
type Members struct {
	// JSON is the canonical JSON (RFC 8785) of the selected members. It is valid until the
	// Builder is used again.
	JSON []byte
	// Model is the model, Deterministic that the temperature is 0.
	Model         string
	Deterministic bool
	// Stream requests a stream, Usage one with the usage at its end.
	Stream, Usage bool

	fields Fields
	only   Selection
}

// Canonical parses the body of a request to a model. [Reason] names the error.
func (b *Builder) Canonical(body []byte, fields Fields, only Selection) (*Members, error) {
	b.members = Members{fields: fields, only: only}
	canonical, err := b.canon.Object(body, &b.members)
	b.members.JSON = canonical
	return &b.members, err
}

var errUnknownField = errors.New("unknown member")

// Member implements jcs.Visitor.
func (m *Members) Member(name, value []byte) (keep bool, err error) {
	switch m.fields[string(name)] {
	case parameter:
		m.read(name, value)
		return m.only != Prompt, nil
	case prompt:
		m.read(name, value)
		return m.only != Parameters, nil
	case ignored:
		m.read(name, value)
		return false, nil
	case unset:
		if v := string(value); v == "false" || v == "null" {
			return false, nil
		}
	case unknown:
	}
	return false, errUnknownField
}

func (m *Members) read(name, value []byte) {
	switch string(name) {
	case "model":
		if m.Model == "" && len(value) > 2 && value[0] == '"' {
			m.Model = plainString(value)
		}
	case "temperature":
		m.Deterministic = string(value) == "0"
	case "stream":
		m.Stream = string(value) == "true"
	case "stream_options":
		m.Usage = bytes.Contains(value, []byte(`"include_usage":true`))
	}
}

// plainString decodes a canonical JSON string.
func plainString(value []byte) (s string) {
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	_ = json.Unmarshal(value, &s) // it is one
	return s
}

// Reason returns a word for why a request has no key.
func Reason(err error) string {
	for _, one := range []struct {
		err  error
		word string
	}{
		{errUnknownField, "unknown-field"},
		{jcs.ErrDuplicate, "duplicate-field"},
		{jcs.ErrDepth, "too-deep"},
		{jcs.ErrNumber, "number"},
		{jcs.ErrUnicode, "not-unicode"},
	} {
		if errors.Is(err, one.err) {
			return one.word
		}
	}
	return "not-json"
}
