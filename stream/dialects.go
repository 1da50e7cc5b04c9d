package stream

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/llm"
)

// Dialect describes the API of a model server that this module does not know, so that the
// meter, limits and verdicts can read its responses. A place is a path of JSON members, such as
// "outputs[].text"; [] stands for each element of an array. A place that is left out is
// unknown, and never counts as a failure.
type Dialect struct {
	// Paths are the suffixes of the paths that are called by POST, such as "/v1/invoke". Required.
	Paths []string
	// Text, Reasoning and ToolCalls are the places of the model's output, in JSON and in the
	// events of a stream: its text, its reasoning, and the names and arguments of calls.
	// Default: none.
	Text, Reasoning, ToolCalls []string
	// Prompt are the places of the text in requests, for estimates. Members that many APIs
	// share (prompt, input and messages) need not be named. Default: none.
	Prompt []string
	// InputTokens, OutputTokens, CachedTokens and ReasoningTokens are the places of token
	// counts. Default: none, tokens are estimated.
	InputTokens, OutputTokens, CachedTokens, ReasoningTokens string
	// Finish is the place of the finish reason, a string. Default: none.
	Finish string
	// Done is the place of a boolean that is true in the last event. Default: none.
	Done string
	// Terminal are the types of a stream's last event: its SSE name or its member "type".
	// "[DONE]" always ends a stream. Default: none.
	Terminal []string
	// Error is the place of an error: a string, or an object with message, type and code.
	// Default: "error".
	Error string
	// OwesEnd makes a stream with content, but without any of Finish, Done and Terminal, a
	// broken one. Default: false, such a stream is complete.
	OwesEnd bool
}

// Dialects is a set of additional APIs of model servers. It is safe for concurrent use.
type Dialects struct{ list []*llm.Dialect }

// NewDialects returns a set of dialects. It returns an error that joins all faults. A request
// belongs to the first dialect with a matching path.
func NewDialects(dialects ...Dialect) (*Dialects, error) {
	var faults []error
	out := &Dialects{list: make([]*llm.Dialect, 0, len(dialects))}
	for i := range dialects {
		d := &dialects[i]
		if err := d.check(); err != nil {
			faults = append(faults, fmt.Errorf("stream: dialect %d: %w", i, err))
			continue
		}
		out.list = append(out.list, llm.NewDialect(&llm.Places{
			Paths: slices.Clone(d.Paths), Text: d.Text, Reasoning: d.Reasoning, Calls: d.ToolCalls, Prompt: d.Prompt,
			InputTokens: d.InputTokens, OutputTokens: d.OutputTokens, CachedTokens: d.CachedTokens, ReasoningTokens: d.ReasoningTokens,
			Finish: d.Finish, Done: d.Done, Error: d.Error, Terminal: slices.Clone(d.Terminal), OwesEnd: d.OwesEnd,
		}))
	}
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	return out, nil
}

// Middleware returns the handler that applies the dialects to requests and responses. Place it
// first, before any stage that reads a body.
func (d *Dialects) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Request = c.Request.WithContext(llm.WithDialects(c.Request.Context(), d.list))
		c.Next()
	}
}

func (d *Dialect) check() error {
	var faults []error
	if len(d.Paths) == 0 {
		faults = append(faults, errors.New("no path"))
	}
	for _, p := range d.Paths {
		if !strings.HasPrefix(p, "/") || len(p) == 1 || strings.HasSuffix(p, "/") {
			faults = append(faults, fmt.Errorf("path %q must begin with a slash, and end without one", p))
		}
	}
	for _, place := range slices.Concat(d.Text, d.Reasoning, d.ToolCalls, d.Prompt,
		[]string{d.InputTokens, d.OutputTokens, d.CachedTokens, d.ReasoningTokens, d.Finish, d.Done, d.Error}) {
		if place != "" && !isPlace(place) {
			faults = append(faults, fmt.Errorf("place %q must be members joined by dots, as choices[].text", place))
		}
	}
	return fault.Join(faults...)
}

// isPlace reports whether each part of a place is a name, optionally followed by []. The first
// part may be [] alone: the text is an array then.
func isPlace(place string) bool {
	for i, part := range strings.Split(place, ".") {
		name := part
		for strings.HasSuffix(name, "[]") {
			name = strings.TrimSuffix(name, "[]")
		}
		if name == "" && (i > 0 || part == "") || strings.ContainsAny(name, "[]") {
			return false
		}
	}
	return true
}
