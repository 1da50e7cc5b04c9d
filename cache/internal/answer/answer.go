// Package answer knows the answers of model servers: whether one is whole and worth
// keeping, and how a stream of events and a JSON text say the same.
//
// It reads OpenAI completions, of chats too, embeddings and responses, and Anthropic
// messages. Whatever it can't read, or can't say in the other form without
// loss, is an error and no guess.
package answer

import (
	"errors"
	"strings"
)

// API is a kind of answer.
type API uint8

// The kinds. Of Other nothing is known but that it is JSON.
const (
	Other API = iota
	Chat
	Completion
	Embedding
	Responses
	Messages
)

// Of is the API that a path belongs to.
func Of(path string) API {
	switch path = strings.TrimSuffix(path, "/"); {
	case strings.HasSuffix(path, "/chat/completions"):
		return Chat
	case strings.HasSuffix(path, "/completions"):
		return Completion
	case strings.HasSuffix(path, "/embeddings"):
		return Embedding
	case strings.HasSuffix(path, "/responses"):
		return Responses
	case strings.HasSuffix(path, "/messages"):
		return Messages
	}
	return Other
}

// Converts reports whether both forms of an answer can be made of one.
func (a API) Converts() bool { return a == Chat || a == Completion || a == Messages }

// ErrForm: the answer can't be said in the other form.
var ErrForm = errors.New("answer: no other form")

// Why an answer is not worth keeping.
var (
	ErrIncomplete = errors.New("incomplete")
	ErrFailed     = errors.New("error")
	ErrFiltered   = errors.New("content-filter")
	ErrToolCalls  = errors.New("tool-calls")
	ErrUnreadable = errors.New("unreadable")
)

// Check reports why a whole answer is not worth keeping, or nil. Calls of tools are
// worth it only if so said.
func Check(a API, stream bool, body []byte, toolCalls bool) error {
	var s summary
	var err error
	if stream {
		err = s.stream(a, body)
	} else {
		err = s.json(a, body)
	}
	switch {
	case err != nil:
		return err
	case s.calls && !toolCalls:
		return ErrToolCalls
	}
	return nil
}

// ToJSON is what a whole stream says, as JSON. Usage is in it if the stream told it.
func ToJSON(a API, body []byte) ([]byte, error) {
	switch a {
	case Chat, Completion:
		return openAIToJSON(a, body)
	case Messages:
		return messagesToJSON(body)
	case Other, Embedding, Responses:
	}
	return nil, ErrForm
}

// ToStream is what a JSON answer says, as a stream. Usage says whether an OpenAI
// stream ends with what was counted.
func ToStream(a API, body []byte, usage bool) ([]byte, error) {
	switch a {
	case Chat, Completion:
		return openAIToStream(a, body, usage)
	case Messages:
		return messagesToStream(body)
	case Other, Embedding, Responses:
	}
	return nil, ErrForm
}
