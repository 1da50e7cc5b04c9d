package llm

import "strings"

// role is what a value at some place in a JSON text means.
type role uint8

const (
	ignored = iota

	// Strings of any length, which are reported in pieces. Objects and arrays there are
	// not looked into: all that is in them counts.
	inText      // the model wrote this
	inReasoning // the model thought this
	inCall      // the name or the arguments of a tool's call
	inMedia     // data of sound or of an image
	inMessage   // what an error says
	inFault     // another member of an error
	inLoose     // what an error beside it says
	inWhole     // all that a stream's events said before, once more; of JSON the text
	refusal     // the model's, in words
	inPrompt    // of a request: what the model reads
	inTools     // of a request: what the model may call
	inSchema    // of a request: what its response must fit
	inSource    // of a request: the text, URL or base64 data of a source
	turn        // of a request: an element of the messages
	turns
	cacheMark // of a request: where a cache shall end

	// Values that are kept while they are short, whole.
	values
	says  // content, unless it is null or empty
	calls // the list of tool calls
	choices
	choice // an element of them
	choiceIndex
	eventType
	objectType
	finish    // why a choice ended
	finishAll // why the generation ended
	finished  // true: it did
	rpc       // the version of JSON-RPC
	status    // of a response of the Responses API
	errorRoot // the error itself, when it is a string
	errorType
	errorCode
	looseType // beside an error
	looseCode
	itemType  // of an item of the Responses API's output, or of its content
	blockType // of a block of a message
	incomplete
	sequence   // the number of an event
	responseID // of the response that a stream is of
	usageRoot
	promptCount
	inputCount
	outputCount
	totalCount
	cachedCount
	cacheReadCount
	cacheWriteCount
	reasoningCount
	thoughtCount // of reasoning, which the output does not include
	model
	stream
	includeUsage
	maxOutput
	times
	partType
	formatType
	sourceType
	mediaPart // an object or a URL
	imagePart
	streamOptions
	source
	turnRole
	roles
)

// node is a place in a JSON text: a tree of these is what a dialect knows of its JSON.
type node struct {
	role    role
	api     API            // of the only dialect that knows the place; Unknown: of several
	first   [buckets]int16 // the last of the names in a bucket, from 1
	next    []int16        // the one before it in the same
	names   []string
	members []*node
	others  *node // members of any other name
	element *node // elements of an array
}

// inner reports whether objects and arrays at n are looked into.
func (n *node) inner() bool {
	return n != nil && (len(n.names) > 0 || n.others != nil || n.element != nil)
}

// member is the place of a member; nil if nothing is known of it.
func (n *node) member(name []byte) *node {
	if len(name) == 0 {
		return n.others
	}
	for i := n.first[bucket(name)]; i > 0; i = n.next[i-1] {
		if string(name) == n.names[i-1] {
			return n.members[i-1]
		}
	}
	return n.others
}

const buckets = 32

func bucket[T string | []byte](name T) int {
	return (len(name) ^ int(name[0])<<2 ^ int(name[len(name)-1])) % buckets
}

// link puts a place below n.
func (n *node) link(name string, to *node) {
	b := bucket(name)
	n.names, n.members, n.next = append(n.names, name), append(n.members, to), append(n.next, n.first[b])
	n.first[b] = int16(len(n.names)) //nolint:gosec // no dialect has as many
}

// field is a place, as choices[].delta.content, and its role. A name * stands for every
// other one.
type field struct {
	path string
	role role
}

// fields is a dialect's JSON.
type fields []field

// tree makes the places of one or several dialects.
func tree(dialects ...*dialect) *node {
	root := &node{}
	for _, d := range dialects {
		for _, f := range d.fields {
			root.add(f.path, f.role, d.api)
		}
	}
	return root
}

func (n *node) add(path string, r role, api API) {
	for path != "" {
		name, rest, _ := strings.Cut(path, ".")
		depth := strings.Count(name, "[]")
		name = strings.TrimSuffix(name, strings.Repeat("[]", depth))
		if name != "" {
			n = n.child(name)
		}
		for range depth {
			if n.element == nil {
				n.element = &node{}
			}
			n = n.element
		}
		path = rest
	}
	switch {
	case n.role == ignored:
		n.role, n.api = r, api
	case n.api != api:
		n.api = Unknown
	}
}

func (n *node) child(name string) *node {
	if name == "*" {
		if n.others == nil {
			n.others = &node{}
		}
		return n.others
	}
	for i, known := range n.names {
		if known == name {
			return n.members[i]
		}
	}
	made := &node{}
	n.link(name, made)
	return made
}
