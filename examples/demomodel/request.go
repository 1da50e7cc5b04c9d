package demomodel

import (
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
)

// Bounds and defaults of a request's fields.
const (
	maxBody            = 1 << 20
	maxTokensLimit     = 4096
	maxTokensDefault   = 256
	temperatureLimit   = 2.0
	temperatureDefault = 0.7
	topPDefault        = 1.0
	stopLimit          = 4
)

// request is the body of a request for a text; nil and empty are absent.
type request struct {
	Model               string          `json:"model"`
	Messages            []message       `json:"messages"`
	Prompt              json.RawMessage `json:"prompt"`
	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	Temperature         *float64        `json:"temperature"`
	TopP                *float64        `json:"top_p"`
	N                   *int            `json:"n"`
	Seed                *int64          `json:"seed"`
	Stop                json.RawMessage `json:"stop"`
	IgnoreEOS           bool            `json:"ignore_eos"`
	Stream              bool            `json:"stream"`
	StreamOptions       *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// message is a part of a conversation.
type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// readRequest parses a body of bounded size.
func readRequest(w http.ResponseWriter, r *http.Request) (*request, *apiError) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refusal(http.StatusRequestEntityTooLarge, typeInvalid, "request_too_large", "The request body is larger than 1 MiB.")
	}
	if err != nil {
		return nil, refusal(http.StatusBadRequest, typeInvalid, "unreadable_body", "The request body could not be read.")
	}
	var q request
	err = json.Unmarshal(body, &q)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		return nil, invalid(e.Field, codeType, "Invalid type for '%s': %s is not possible here.", e.Field, e.Value)
	}
	if err != nil {
		return nil, refusal(http.StatusBadRequest, typeInvalid, "invalid_json", "The request body is not a JSON object: "+err.Error())
	}
	return &q, nil
}

// task returns what to write, or the first error in the fields that both
// kinds of request share. Its prompt is not set.
func (q *request) task() (task, *apiError) {
	maxTokens, err := q.maxTokens()
	if err != nil {
		return task{}, err
	}
	t := task{
		maxTokens: maxTokens,
		ignoreEOS: q.IgnoreEOS,
		sampling:  sampling{temperature: temperatureDefault, topP: topPDefault, seed: rand.Uint64()}, //nolint:gosec // no secret
	}
	if q.Temperature != nil {
		t.temperature = *q.Temperature
	}
	if q.TopP != nil {
		t.topP = *q.TopP
	}
	if q.Seed != nil {
		t.seed = uint64(*q.Seed) //nolint:gosec // any bits will do
	}
	switch {
	case t.temperature < 0 || t.temperature > temperatureLimit:
		return task{}, invalid("temperature", codeInvalid, "'temperature' must be between 0 and 2.")
	case t.topP <= 0 || t.topP > 1:
		return task{}, invalid("top_p", codeInvalid, "'top_p' must be above 0 and at most 1.")
	case q.N != nil && *q.N != 1:
		return task{}, invalid("n", codeInvalid, "'n' must be 1: this model writes one text at a time.")
	case q.StreamOptions != nil && !q.Stream:
		return task{}, invalid("stream_options", codeInvalid, "'stream_options' needs 'stream' to be true.")
	}
	t.stop, err = stops(q.Stop)
	return t, err
}

func (q *request) maxTokens() (int, *apiError) {
	name, n := "max_tokens", q.MaxTokens
	if q.MaxCompletionTokens != nil {
		if n != nil {
			return 0, invalid(name, codeInvalid, "'max_tokens' and 'max_completion_tokens' exclude each other.")
		}
		name, n = "max_completion_tokens", q.MaxCompletionTokens
	}
	if n == nil {
		return maxTokensDefault, nil
	}
	if *n < 1 || *n > maxTokensLimit {
		return 0, invalid(name, codeInvalid, "'%s' must be between 1 and %d.", name, maxTokensLimit)
	}
	return *n, nil
}

// stops reads a string or a list of them.
func stops(raw json.RawMessage) ([]string, *apiError) {
	if absent(raw) {
		return nil, nil
	}
	list, ok := texts(raw)
	if !ok {
		return nil, invalid("stop", codeType, "'stop' must be a string or a list of strings.")
	}
	if len(list) > stopLimit || slices.Contains(list, "") {
		return nil, invalid("stop", codeInvalid, "'stop' takes at most %d strings, none of them empty.", stopLimit)
	}
	return list, nil
}

// texts reads a string, as a list of one, or a list of strings.
func texts(raw json.RawMessage) ([]string, bool) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, true
	}
	var list []*string
	if json.Unmarshal(raw, &list) != nil || slices.Contains(list, nil) {
		return nil, false
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = *s
	}
	return out, true
}

// absent reports whether a field is missing or null.
func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
