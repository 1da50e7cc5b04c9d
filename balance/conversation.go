package balance

import (
	"crypto/sha256"
	"hash"
	"net/http"

	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/llm"
)

// promptBytes is how much of a prompt without messages tells conversations apart.
const promptBytes = 1024

// maxOpening is how many messages, and how many parts of each, are looked at: a body may
// have millions.
const maxOpening = 64

// ByConversation takes the key from what all turns of a conversation with a model begin
// with: the model's name, tools, system prompt and the first message of the user, in the
// form of OpenAI's chat completions and responses or Anthropic's messages; of a completion
// the first 1,024 bytes of its prompt. So a turn meets the endpoint that has the turns
// before in its prefix cache, through whichever gateway it comes, and gateways need not
// know of each other. A prompt_cache_key is part of the key.
//
// A request has no key when its body is not one of these, is longer than what is held
// (proxy.Bodies; without a proxy: than 4 MiB, or without GetBody), or goes on with an answer that only
// a server knows (previous_response_id). Of one that goes on with a conversation that a
// server knows, that is the key.
func ByConversation() Key { return conversation }

func conversation(r *http.Request) (string, bool) {
	text, ok := bodies.Whole(r)
	if !ok {
		return "", false
	}
	k := conversationKey{sum: sha256.New()}
	if err := llm.Members(text, k.member); err != nil || !k.found || k.elsewhere {
		return "", false
	}
	return string(k.sum.Sum(nil)[:16]), true
}

// conversationKey is made of the members of a request's body.
type conversationKey struct {
	sum       hash.Hash
	found     bool // there is a question
	elsewhere bool // and what was said before is known to a server only
}

func (k *conversationKey) member(name string, value []byte) bool {
	switch name {
	case "model", "tools", "functions", "system", "instructions", "prompt_cache_key":
		k.add(name, value)
	case "conversation":
		return k.known(name, value)
	case "messages", "input":
		k.found = true
		k.opening(name, value)
	case "prompt":
		k.found = true
		k.add(name, value[:min(len(value), promptBytes)])
	case "previous_response_id":
		k.elsewhere = string(value) != "null"
	}
	return !k.elsewhere
}

// opening adds the messages up to the user's first one, or what is there instead of a list.
func (k *conversationKey) opening(name string, messages []byte) {
	if messages[0] != '[' {
		k.add(name, messages)
		return
	}
	n := 0
	_ = llm.Elements(messages, func(message []byte) bool { // the scan of the object has found it well
		k.message(message)
		role, err := llm.String(message, "role")
		n++
		return n < maxOpening && (err != nil || role != "user")
	})
}

// known makes the key of what a server knows the conversation by: a turn says only what is
// new. It reports whether more matters.
func (k *conversationKey) known(name string, value []byte) bool {
	if string(value) == "null" {
		return true
	}
	k.found = true
	k.sum.Reset()
	k.add(name, value)
	return false
}

// message adds what a message says.
func (k *conversationKey) message(message []byte) {
	err := llm.Members(message, func(name string, value []byte) bool {
		if name != "content" || value[0] != '[' {
			k.add(name, value)
			return true
		}
		n := 0
		_ = llm.Elements(value, func(part []byte) bool { // as above
			k.part(part)
			n++
			return n < maxOpening
		})
		return true
	})
	if err != nil {
		k.add("", message)
	}
}

// part adds a part of a message, but where a cache shall end (Anthropic's cache_control):
// that moves on with each turn.
func (k *conversationKey) part(part []byte) {
	k.add("part", nil)
	err := llm.Members(part, func(name string, value []byte) bool {
		if name != "cache_control" {
			k.add(name, value)
		}
		return true
	})
	if err != nil {
		k.add("", part)
	}
}

// add keeps parts apart, whatever is in them: JSON has no zero byte.
func (k *conversationKey) add(name string, value []byte) {
	k.sum.Write([]byte(name))
	k.sum.Write([]byte{0})
	k.sum.Write(value)
	k.sum.Write([]byte{0})
}
