package demomodel

import "encoding/json"

// response is a response or a stream event, for chats and completions. They
// differ in which fields of a choice are set.
type response struct {
	ID          string           `json:"id"`
	Object      string           `json:"object"`
	Created     int64            `json:"created"`
	Model       string           `json:"model"`
	Fingerprint string           `json:"system_fingerprint"`
	Choices     []responseChoice `json:"choices"`
	Usage       json.RawMessage  `json:"usage,omitempty"`
}

// responseChoice is the only choice of a response.
type responseChoice struct {
	Index    int       `json:"index"`
	Text     *string   `json:"text,omitempty"`
	Message  *reply    `json:"message,omitempty"`
	Delta    *reply    `json:"delta,omitempty"`
	Logprobs *struct{} `json:"logprobs"`
	Finish   *string   `json:"finish_reason"`
}

// reply is a message of the model, or a delta of one.
type reply struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

// usage returns the counts of tokens.
func (o outcome) usage() json.RawMessage {
	raw, _ := json.Marshal(map[string]int{ // ints cannot fail
		"prompt_tokens":     o.prompt,
		"completion_tokens": o.completion,
		"total_tokens":      o.prompt + o.completion,
	})
	return raw
}

// style is how an endpoint presents a text.
type style struct {
	prefix, object, chunk string // of the id, of the response, of an event
	chat                  bool
}

func chatStyle() style {
	return style{prefix: "chatcmpl-", object: "chat.completion", chunk: "chat.completion.chunk", chat: true}
}

func textStyle() style {
	return style{prefix: "cmpl-", object: "text_completion", chunk: "text_completion"}
}

// whole presents a finished text.
func (s style) whole(text, finish string) responseChoice {
	if s.chat {
		return responseChoice{Message: &reply{Role: "assistant", Content: &text}, Finish: &finish}
	}
	return responseChoice{Text: &text, Finish: &finish}
}

// opening presents the start of a stream; only chats have one.
func (s style) opening() (a responseChoice, ok bool) {
	return responseChoice{Delta: &reply{Role: "assistant", Content: new("")}}, s.chat
}

// part presents the next part of a text.
func (s style) part(text string) responseChoice {
	if s.chat {
		return responseChoice{Delta: &reply{Content: &text}}
	}
	return responseChoice{Text: &text}
}

// closing presents the end of a stream.
func (s style) closing(finish string) responseChoice {
	if s.chat {
		return responseChoice{Delta: &reply{}, Finish: &finish}
	}
	return responseChoice{Text: new(""), Finish: &finish}
}
