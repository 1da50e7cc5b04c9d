package routing

import (
	"net/http"
	"sync"

	"github.com/ginfer/ginfer/internal/body"
)

// maxContext bounds Capabilities.Context.
const maxContext = 1_000_000_000

// Capabilities are the abilities of a version. Requests that need more go to another
// version. An ability that is left out is missing. The needs of a request are read from its
// JSON body; a request with another body, or one that streams through, has no needs.
type Capabilities struct {
	// Tools is set when the model calls functions. Requests with tools need it. Default:
	// false.
	Tools bool `json:"tools,omitempty"`
	// JSONSchema is set when responses fit a given JSON schema. Default: false.
	JSONSchema bool `json:"json_schema,omitempty"`
	// Vision is set when the model accepts images. Default: false.
	Vision bool `json:"vision,omitempty"`
	// Context is the size of the model's context window in tokens, input and output. A
	// request needs its output limit plus one token per four bytes of input, also for
	// whole batches of embeddings. Default: no limit.
	Context int `json:"context,omitempty"`
}

// The values of [Event].Lacks.
const (
	lacksTools   = "tools"
	lacksSchema  = "json_schema"
	lacksVision  = "vision"
	lacksContext = "context"
)

// lacks returns the first need that is not met, or "".
func (c *Capabilities) lacks(n needs) string {
	switch {
	case c == nil: // unknown: assume anything
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

// room returns the declared context in tokens, or 0 when there is none.
func (c *Capabilities) room() int64 {
	if c == nil {
		return 0
	}
	return int64(max(c.Context, 0))
}

// same reports whether two versions declare the same capabilities.
func (c *Capabilities) same(other *Capabilities) bool {
	if c == nil || other == nil {
		return c == other
	}
	return *c == *other
}

// needs are the capabilities that a request needs.
type needs struct {
	tools, schema, vision bool
	tokens                int64
}

// needsOf returns the needs of a request. One of an unknown API has none.
func needsOf(req *http.Request) needs {
	r := body.Request(req)
	if r == nil || !r.JSON {
		return needs{}
	}
	return needs{r.Tools, r.Schema, r.Vision, (r.InputBytes+3)/4 + r.MaxOutput}
}

// lazyNeeds are computed on first use, once for all attempts.
type lazyNeeds struct {
	once  sync.Once
	needs needs
}

// of returns the needs of a request. There are none if no route declares capabilities, or
// if the body is not in memory.
func (l *lazyNeeds) of(req *http.Request) needs {
	if l == nil {
		return needs{}
	}
	l.once.Do(func() { l.needs = needsOf(req) })
	return l.needs
}
