package llm

import "bytes"

// maxOpening is the number of messages, and of parts of each, that identify a conversation:
// a body may have millions.
const maxOpening = 64

// Conversation is the parts of a request that all turns of a conversation begin with. A
// zero Span is absent.
type Conversation struct {
	Tools, Functions, System, Instructions, CacheKey Span
	// Messages are those up to the user's first one, or a value in place of a list.
	Messages Span
	Prompt   Span
	// Known and Previous are IDs of a conversation that the server stores.
	Known, Previous Span
	// Cuts are the parts of Messages, in order, that change with each turn.
	Cuts []Span
}

// place returns where to store the span of a member's value; nil if it is not needed.
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

// opening is the state of reading the first messages.
type opening struct {
	end      int // of the messages that count; 0 if not known yet
	messages int
	user     bool // the current message is the user's
	parts    int  // of its content
	cut      int  // start of the surplus parts; 0 if none
}

// Depths of the elements of messages, and of the parts of their content.
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

// aroundMember returns the span of a member with the comma that separates it from others.
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
