package llm

import "bytes"

// maxOpening is how many messages, and how many parts of each, tell conversations apart: a
// body may have millions.
const maxOpening = 64

// Conversation is where the parts of a request stand with which all turns of a conversation
// begin. A zero Span is nowhere.
type Conversation struct {
	Tools, Functions, System, Instructions, CacheKey Span
	// Messages are those up to the user's first one, or what stands instead of a list.
	Messages Span
	Prompt   Span
	// Known and Previous name what was said before to who knows it.
	Known, Previous Span
	// Cuts are within Messages, in order: what moves on with each turn.
	Cuts []Span
}

// place is where the value of a member is to be noted; nil: nowhere.
func (o *Conversation) place(quoted []byte) *Span {
	switch string(quoted[1 : len(quoted)-1]) {
	case "tools":
		return &o.Tools
	case "functions":
		return &o.Functions
	case "system":
		return &o.System
	case "instructions":
		return &o.Instructions
	case "prompt_cache_key":
		return &o.CacheKey
	case "messages", "input":
		return &o.Messages
	case "prompt":
		return &o.Prompt
	case "conversation":
		return &o.Known
	case "previous_response_id":
		return &o.Previous
	}
	return nil
}

// opening follows the messages while the request is read.
type opening struct {
	end      int // of those that count; 0: not known yet
	messages int
	user     bool // the message that is read is the user's
	parts    int  // of its content
	cut      int  // where the parts begin that are too many; 0: nowhere
}

// The depth at which elements of the messages are read, and parts of their content.
const (
	messageDepth = 2
	partDepth    = 4
)

// element is called before each element of a list.
func (r *reader) element() {
	o := &r.turns
	if o.end > 0 || r.place != &r.Conversation.Messages {
		return
	}
	switch r.json.depth {
	case messageDepth:
		o.user, o.parts, o.cut = false, 0, 0
		if o.messages++; o.messages > maxOpening {
			o.end = r.json.pos
		}
	case partDepth:
		if o.parts++; o.parts > maxOpening && o.cut == 0 {
			o.cut = r.json.pos
		}
	}
}

// ended is called at the end of an object or array within the messages.
func (r *reader) ended(n *node, end int) {
	o := &r.turns
	if o.end > 0 || r.place != &r.Conversation.Messages {
		return
	}
	switch depth := r.json.depth; {
	case n.role == cacheMark:
		r.Conversation.Cuts = append(r.Conversation.Cuts, aroundMember(r.body, r.json.name, end))
	case depth == partDepth-1 && o.cut > 0: // of the content
		r.Conversation.Cuts = append(r.Conversation.Cuts, Span{o.cut, end})
		o.cut = 0
	case depth == messageDepth && n.role == turn && o.user:
		o.end = end
	}
}

// aroundMember is the place of a member with the comma that parts it from others.
func aroundMember(b []byte, start, end int) Span {
	if before := bytes.TrimRight(b[:start], " \t\r\n"); bytes.HasSuffix(before, []byte(",")) {
		return Span{len(before) - 1, end}
	}
	after := bytes.TrimLeft(b[end:], " \t\r\n")
	if bytes.HasPrefix(after, []byte(",")) {
		end = len(b) - len(bytes.TrimLeft(after[1:], " \t\r\n"))
	}
	return Span{start, end}
}
