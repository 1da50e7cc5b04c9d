package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/ginfer/ginfer/cache/internal/jcs"
)

// field says what a member of a request means for its key.
type field uint8

const (
	unknown field = iota
	keyed         // requests with another value are others
	asked         // so, and it is what is asked
	ignored       // it does not matter
	unset         // it has effects beyond the answer, unless it is false or null
)

// knownFields are the members that requests may have: of OpenAI's completions, of chats
// too, embeddings and responses, of Anthropic's messages, and of the servers that speak
// the same.
func knownFields(cfg LLM) map[string]field {
	all := map[string]field{}
	for kind, names := range map[field]string{
		asked:   "messages input instructions prompt system",
		ignored: "stream stream_options user metadata",
		unset:   "store background",
		keyed: `model tools tool_choice parallel_tool_calls functions function_call response_format text modalities audio
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
	for _, name := range cfg.Fields {
		all[name] = keyed
	}
	for _, name := range cfg.Ignored {
		all[name] = ignored
	}
	return all
}

var errUnknownField = errors.New("cache: a member that is not known")

// members looks at the members of a request.
type members struct {
	known map[string]field
	only  field // keep those that are asked, or those that are not; 0: all

	model   string
	settled bool // the temperature is 0
	stream  bool
	usage   bool
}

// Member implements jcs.Visitor.
func (m *members) Member(name, value []byte) (keep bool, err error) {
	kind := m.known[string(name)]
	switch kind {
	case unknown:
		return false, errUnknownField
	case ignored:
		m.look(name, value)
		return false, nil
	case unset:
		if v := string(value); v != "false" && v != "null" {
			return false, errUnknownField
		}
		return false, nil
	case keyed, asked:
		m.look(name, value)
	}
	return m.only == unknown || kind == m.only, nil
}

func (m *members) look(name, value []byte) {
	switch string(name) {
	case "model":
		if m.model == "" && len(value) > 2 && value[0] == '"' {
			m.model = plainString(value)
		}
	case "temperature":
		m.settled = string(value) == "0"
	case "stream":
		m.stream = string(value) == "true"
	case "stream_options":
		m.usage = bytes.Contains(value, []byte(`"include_usage":true`))
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

// reasonOf is a word for why a request has no key.
func reasonOf(err error) string {
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
