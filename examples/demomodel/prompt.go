package demomodel

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// chatPrompt returns the texts of the messages and an empty one after them: in
// training a response was a text of its own.
func (q *request) chatPrompt() ([]string, *apiError) {
	if len(q.Messages) == 0 {
		return nil, invalid("messages", codeMissing, "'messages' must hold at least one message.")
	}
	prompt := make([]string, len(q.Messages)+1)
	for i, m := range q.Messages {
		at := fmt.Sprintf("messages[%d]", i)
		if !slices.Contains([]string{"system", "developer", "user", "assistant", "tool"}, m.Role) {
			return nil, invalid(at+".role", codeInvalid, "'%s.role' must be system, developer, user, assistant or tool.", at)
		}
		text, err := m.text(at + ".content")
		if err != nil {
			return nil, err
		}
		prompt[i] = text
	}
	return prompt, nil
}

// text returns the content: a string, or the text of its parts. Only an
// assistant that called tools has none.
func (m message) text(param string) (string, *apiError) {
	if absent(m.Content) {
		if m.Role == "assistant" {
			return "", nil
		}
		return "", invalid(param, codeMissing, "'%s' is missing.", param)
	}
	var text string
	if json.Unmarshal(m.Content, &text) == nil {
		return text, nil
	}
	var parts []struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		return "", invalid(param, codeType, "'%s' must be a string or a list of text parts.", param)
	}
	lines := make([]string, len(parts))
	for i, p := range parts {
		if p.Type != "text" || p.Text == nil {
			return "", invalid(fmt.Sprintf("%s[%d]", param, i), codeInvalid, "'%s[%d]' must be of type text: this model reads nothing else.", param, i)
		}
		lines[i] = *p.Text
	}
	return strings.Join(lines, "\n"), nil
}

// textPrompt returns the prompt of a completion.
func (q *request) textPrompt() ([]string, *apiError) {
	if absent(q.Prompt) {
		return nil, invalid("prompt", codeMissing, "'prompt' is missing.")
	}
	list, ok := texts(q.Prompt)
	if !ok || len(list) != 1 {
		return nil, invalid("prompt", codeType, "'prompt' must be a string or a list of one string.")
	}
	return list, nil
}
