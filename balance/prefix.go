package balance

import (
	"crypto/sha256"
	"hash"
	"net/http"

	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/llm"
)

// promptBytes is the length of the part of a prompt without messages that identifies a
// conversation.
const promptBytes = 1024

// ByPrefix returns a Key that is common to all turns of a conversation with a model: the
// model's name, tools, system prompt and the first message of the user, in the format of
// OpenAI's chat completions and responses or Anthropic's messages; of a completion the first
// 1,024 bytes of its prompt. So a turn reaches the endpoint that has the earlier turns in its
// prefix cache, through any gateway and without coordination between gateways. A
// prompt_cache_key is part of the key.
//
// A request has no key if its body has another format, is beyond the limit of proxy.Bodies
// (without a proxy: 4 MiB, or without GetBody), or continues a response that only a server
// knows (previous_response_id). If it continues a conversation that a server knows, that is the
// key.
func ByPrefix() Key { return conversation }

func conversation(r *http.Request) (string, bool) {
	q, text, ok := bodies.Parsed(r)
	if !ok || !q.JSON {
		return "", false
	}
	k, o := conversationKey{sum: sha256.New(), text: text}, &q.Conversation
	switch {
	case !isNull(o.Previous, text):
		return "", false // only a server knows the earlier turns
	case !isNull(o.Known, text): // stored by a server: a turn contains only what is new
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
	prompt := o.Prompt // a copy: the request is shared
	prompt.End = min(prompt.End, prompt.Start+promptBytes)
	k.add("prompt", prompt)
	return k.key(), true
}

// isNull reports whether a member is missing or null.
func isNull(at llm.Span, text []byte) bool { return at.IsZero() || string(at.Of(text)) == "null" }

// conversationKey hashes parts of a request's body.
type conversationKey struct {
	sum  hash.Hash
	text []byte
}

func (k *conversationKey) key() string { return string(k.sum.Sum(nil)[:16]) }

// messages adds the messages, without the parts that change with each turn.
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

// write separates parts, whatever they contain: JSON has no zero byte.
func (k *conversationKey) write(name string, value []byte) {
	k.sum.Write([]byte(name))
	k.sum.Write([]byte{0})
	k.sum.Write(value)
	k.sum.Write([]byte{0})
}
