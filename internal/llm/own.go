package llm

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/ginfer/ginfer/internal/ginctx"
)

// Dialect is an API that the application describes. It is immutable.
type Dialect struct {
	paths    []string
	words    *vocabulary
	requests *node
}

// Places are the paths of values in a dialect's JSON, such as choices[].text.
type Places struct {
	Paths                                                    []string // endings of URL paths
	Text, Reasoning, Calls                                   []string // of responses
	Prompt                                                   []string // of requests
	Finish, Done, Error                                      string
	InputTokens, OutputTokens, CachedTokens, ReasoningTokens string
	Terminal                                                 []string // types of events
	OwesEnd                                                  bool
}

// NewDialect returns the dialect of the places.
func NewDialect(p *Places) *Dialect {
	d := &dialect{api: Own, owes: p.OwesEnd, typed: func(name []byte) kind {
		if slices.Contains(p.Terminal, string(name)) {
			return ending
		}
		return unknownType
	}}
	for r, places := range map[role][]string{
		inText: p.Text, inReasoning: p.Reasoning, inCall: p.Calls, finishAll: {p.Finish}, finished: {p.Done},
		promptCount: {p.InputTokens}, outputCount: {p.OutputTokens}, cachedCount: {p.CachedTokens}, reasoningCount: {p.ReasoningTokens},
	} {
		d.fields = append(d.fields, fieldsOf(r, places)...)
	}
	if p.Error != "" && p.Error != "error" { // which all dialects have
		d.fields = append(d.fields, at(p.Error, fields{{"", errorRoot}, {"message", inMessage}, {"type", errorType}, {"code", errorCode}, {"*", inFault}})...)
	}
	out := &Dialect{paths: p.Paths, words: ready(d), requests: makeRequests()}
	for _, f := range fieldsOf(inPrompt, p.Prompt) {
		out.requests.add(f.path, f.role, Unknown)
	}
	return out
}

func fieldsOf(r role, places []string) (out fields) {
	for _, place := range places {
		if place != "" {
			out = append(out, field{place, r})
		}
	}
	return out
}

type dialectsKey struct{}

// WithDialects returns a context with dialects for its requests, in addition to the known
// APIs. The first with a matching path is used.
func WithDialects(ctx context.Context, list []*Dialect) context.Context {
	return context.WithValue(ctx, dialectsKey{}, list)
}

// DialectsOf returns the dialects of [WithDialects].
func DialectsOf(ctx context.Context) []*Dialect {
	list, _ := ginctx.Value(ctx, dialectsKey{}).([]*Dialect)
	return list
}

// Identify is like [Of], plus the dialects in the request's context. If one matches, the
// API is [Own].
func Identify(r *http.Request) (API, *Dialect) {
	path := ""
	if r.URL != nil {
		path = r.URL.Path
	}
	return identify(r.Method, path, DialectsOf(r.Context()))
}

func identify(method, path string, list []*Dialect) (API, *Dialect) {
	called := strings.TrimSuffix(path, "/")
	for _, d := range list {
		if method == http.MethodPost && slices.ContainsFunc(d.paths, func(end string) bool { return strings.HasSuffix(called, end) }) {
			return Own, d
		}
	}
	return Of(method, path), nil
}

// ResetTo prepares the scanner for the response to a call of a dialect.
func (s *Scanner) ResetTo(d *Dialect, h http.Header) {
	s.Reset(Own, h)
	s.words, s.json.root = d.words, d.words.root
}
