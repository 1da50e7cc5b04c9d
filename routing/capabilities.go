package routing

import (
	"net/http"
	"sync"

	"github.com/ginfer/ginfer/internal/body"
)

// maxContext bounds Capabilities.Context.
const maxContext = 1_000_000_000

// Capabilities are what a version can do, so that requests that need more of it
// go to another one. What is left out it can't do. What a request needs is read
// from its JSON body; one whose body is something else, or streams through the
// gateway, needs nothing.
type Capabilities struct {
	// Tools: the model calls functions. Needed by requests with tools.
	Tools bool `json:"tools,omitempty"`
	// JSONSchema: answers fit a JSON schema where one is given.
	JSONSchema bool `json:"json_schema,omitempty"`
	// Vision: the model sees images.
	Vision bool `json:"vision,omitempty"`
	// Context is how many tokens the model holds, of its input and its answer. A
	// request needs as many as its answer may have, and one for each four bytes of
	// its input, whole batches of embeddings too. Default: no bound.
	Context int `json:"context,omitempty"`
}

// What a version may lack, as it is told in [Event].
const (
	lacksTools   = "tools"
	lacksSchema  = "json_schema"
	lacksVision  = "vision"
	lacksContext = "context"
)

// lacks names the first need that is not met, or "".
func (c *Capabilities) lacks(n needs) string {
	switch {
	case c == nil: // nothing is known of it
		return ""
	case n.tools && !c.Tools:
		return lacksTools
	case n.schema && !c.JSONSchema:
		return lacksSchema
	case n.vision && !c.Vision:
		return lacksVision
	case c.Context > 0 && n.tokens > int64(c.Context):
		return lacksContext
	}
	return ""
}

// room is how many tokens the version is said to hold; 0: nothing is said.
func (c *Capabilities) room() int64 {
	if c == nil {
		return 0
	}
	return int64(max(c.Context, 0))
}

// same reports whether two versions are said to be able of the same.
func (c *Capabilities) same(other *Capabilities) bool {
	if c == nil || other == nil {
		return c == other
	}
	return *c == *other
}

// needs are what a version must be able to do for a request.
type needs struct {
	tools, schema, vision bool
	tokens                int64
}

// needsOf is what a request needs. One of a kind that is not known needs nothing.
func needsOf(req *http.Request) needs {
	r := body.Request(req)
	if r == nil || !r.JSON {
		return needs{}
	}
	return needs{r.Tools, r.Schema, r.Vision, (r.InputBytes+3)/4 + r.MaxOutput}
}

// lazyNeeds are read when somebody asks for them, once for all tries.
type lazyNeeds struct {
	once  sync.Once
	needs needs
}

// of returns what a request needs: nothing, if nobody cares or its body is not
// held in memory.
func (l *lazyNeeds) of(req *http.Request) needs {
	if l == nil {
		return needs{}
	}
	l.once.Do(func() { l.needs = needsOf(req) })
	return l.needs
}
