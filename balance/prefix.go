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

// ByPrefix takes the key from what all turns of a conversation with a model begin
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
func ByPrefix() Key { return conversation }

func conversation(r *http.Request) (string, bool) {
	q, text, ok := bodies.Parsed(r)
	if !ok || !q.JSON {
		return "", false
	}
	k, o := conversationKey{sum: sha256.New(), text: text}, &q.Conversation
	switch {
	case !isNull(o.Previous, text):
		return "", false // what was said before is known to a server only
	case !isNull(o.Known, text): // as a server knows it: a turn says only what is new
		k.add("conversation", o.Known)
		return k.key(), true
	case o.Messages.IsZero() && o.Prompt.IsZero():
		return "", false
	}
	k.write("model", []byte(q.Model))
	k.add("tools", o.Tools)
	k.add("functions", o.Functions)
	k.add("system", o.System)
	k.add("instructions", o.Instructions)
	k.add("prompt_cache_key", o.CacheKey)
	k.messages(o)
	prompt := o.Prompt // the request is shared
	prompt.End = min(prompt.End, prompt.Start+promptBytes)
	k.add("prompt", prompt)
	return k.key(), true
}

// isNull reports whether a member is not there, or null.
func isNull(at llm.Span, text []byte) bool { return at.IsZero() || string(at.Of(text)) == "null" }

// conversationKey is made of parts of a request's body.
type conversationKey struct {
	sum  hash.Hash
	text []byte
}

func (k *conversationKey) key() string { return string(k.sum.Sum(nil)[:16]) }

// messages adds those that count, without what moves on with each turn.
func (k *conversationKey) messages(o *llm.Conversation) {
	if o.Messages.IsZero() {
		return
	}
	k.sum.Write([]byte("messages"))
	at := o.Messages.Start
	for _, cut := range o.Cuts {
		k.sum.Write(k.text[at:max(cut.Start, at)])
		at = max(cut.End, at)
	}
	k.sum.Write(k.text[at:max(o.Messages.End, at)])
	k.sum.Write([]byte{0})
}

func (k *conversationKey) add(name string, at llm.Span) {
	if !at.IsZero() {
		k.write(name, at.Of(k.text))
	}
}

// write keeps parts apart, whatever is in them: JSON has no zero byte.
func (k *conversationKey) write(name string, value []byte) {
	k.sum.Write([]byte(name))
	k.sum.Write([]byte{0})
	k.sum.Write(value)
	k.sum.Write([]byte{0})
}
