package llm

import "strings"

// role is the meaning of the value at a place in a JSON text.
type role uint8

const (
	ignored = iota

	// Strings of any length, which are reported in pieces. Objects and arrays at these
	// places count as a whole.
	inText      // content
	inReasoning // reasoning
	inCall      // the name or the arguments of a tool call
	inMedia     // data of audio or of an image
	inMessage   // the message of an error
	inFault     // another member of an error
	inLoose     // the message beside an error
	inWhole     // repeats the text of all events of a stream; in JSON, the text
	refusal     // the model's, as text
	inPrompt    // of a request: the model's input
	inTools     // of a request: tools of the model
	inSchema    // of a request: the schema of the response
	inSource    // of a request: the text, URL or base64 data of a source
	turn        // of a request: an element of the messages
	turns
	cacheMark // of a request: a cache breakpoint

	// Values that are short enough to be stored whole.
	values
	anyContent // content, unless it is null or empty
	calls      // the list of tool calls
	choices
	choice // an element of the choices
	choiceIndex
	eventType
	objectType
	finish    // the finish reason of a choice
	finishAll // the finish reason of the generation
	finished  // true: the generation has finished
	rpc       // the version of JSON-RPC
	status    // of a response of the Responses API
	errorRoot // the error itself, if it is a string
	errorType
	errorCode
	looseType // beside an error
	looseCode
	itemType  // of an item of the Responses API's output, or of its content
	blockType // of a content block of a message
	incomplete
	sequence   // the number of an event
	responseID // of the stream's response
	usageRoot
	promptCount
	inputCount
	outputCount
	totalCount
	cachedCount
	cacheReadCount
	cacheWriteCount
	reasoningCount
	thoughtCount // of reasoning, which the output excludes
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

// node is a place in a JSON text. A tree of nodes is a dialect's JSON.
type node struct {
	role    role
	api     API            // of the only dialect that has the place; Unknown for several
	first   [buckets]int16 // the last of the names in a bucket, from 1
	next    []int16        // the one before it in the same bucket
	names   []string
	members []*node
	others  *node // members with any other name
	element *node // elements of an array
}

// inner reports whether objects and arrays at n are parsed.
func (n *node) inner() bool {
	return n != nil && (len(n.names) > 0 || n.others != nil || n.element != nil)
}

// member returns the place of a member; nil if it is unknown.
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

// link adds a place below n.
func (n *node) link(name string, to *node) {
	b := bucket(name)
	n.names, n.members, n.next = append(n.names, name), append(n.members, to), append(n.next, n.first[b])
	n.first[b] = int16(len(n.names)) //nolint:gosec // no dialect has as many
}

// field is a place, such as choices[].delta.content, and its role. The name * matches every
// other one.
type field struct {
	path string
	role role
}

// fields is a dialect's JSON.
type fields []field

// tree returns the places of one or several dialects.
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
