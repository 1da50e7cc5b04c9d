package cache

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ginfer/ginfer/cache/internal/cachekey"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/ginfer/ginfer/cache/internal/recent"
	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	"github.com/ginfer/ginfer/internal/llm"
)

// llmPolicy is the policy for requests to models.
type llmPolicy struct {
	cfg      *Config
	unstored recent.Times // by key: until when its responses are known not to be storable
}

func (*llmPolicy) String() string { return "llm" }

// planLLM plans a request to a model.
func (x *exchange) planLLM(b *cachekey.Builder) (reason string, err error) {
	req, cfg := x.incoming, &x.cfg.LLM
	x.policy, x.api = x.llm, llm.Of(req.Method, req.URL.Path)
	optIn := ""
	if cfg.OptIn != "" {
		optIn = req.Header.Get(cfg.OptIn)
	}
	if cc := req.Header["Cache-Control"]; len(cc) > 0 {
		x.control = rfc9111.ParseControl(cc)
		x.refetch = x.control.NoCache || x.control.MaxAge == 0
	}
	if x.control.NoStore || strings.EqualFold(optIn, "off") {
		x.status.Forward = "request"
		return "no-store", nil
	}
	body, reason, err := x.ownBody(b)
	if err != nil || reason != "" {
		return reason, err
	}
	m, err := b.Canonical(body, x.fields, cachekey.All)
	if err != nil {
		return cachekey.Reason(err), nil
	}
	x.model, x.stream, x.usage = m.Model, m.Stream, m.Usage
	if !m.Deterministic && x.api != llm.Embeddings && !cfg.AllowNonZeroTemperature && !strings.EqualFold(optIn, "on") {
		return "temperature", nil
	}
	x.findVersion(x.g, &x.request)
	x.beginKey(b, "llm", &x.request)
	b.AddBytes(m.JSON)
	x.setKey(b.Sum())
	if x.cfg.Semantic != nil {
		x.planQuery(b, body)
	}
	return "", nil
}

// planQuery makes the query for a Semantic: the prompt apart from all else.
func (x *exchange) planQuery(b *cachekey.Builder, body []byte) {
	m, err := b.Canonical(body, x.fields, cachekey.Parameters)
	if err != nil {
		return
	}
	x.beginKey(b, "query", &x.request)
	b.AddBytes(m.JSON)
	base := b.Sum()
	partition, _ := x.generations.key(&base, &x.request)
	if m, err = b.Canonical(body, x.fields, cachekey.Prompt); err != nil {
		return
	}
	x.query = &Query{Partition: partition, Model: x.model, Prompt: append([]byte(nil), m.JSON...)}
}

func (p *llmPolicy) judge(r *request, e *Entry, now time.Time) (verdict, error) {
	switch {
	case e.stream() != r.stream && !r.api.Converts():
		return verdict{}, nil
	case now.Before(e.FreshUntil):
		return verdict{use: true, refresh: refreshEarly(p.cfg, e, now)}, nil
	case now.Before(e.FreshUntil.Add(e.StaleWhileRevalidate)):
		return verdict{use: true, refresh: true, detail: "stale"}, nil
	}
	return verdict{validate: true}, nil // it may replace an error
}

func (*llmPolicy) render(r *request, e *Entry, now time.Time) (a reply, ok bool) {
	a = e.reply(now)
	openAI := r.api == llm.Chat || r.api == llm.Completions
	switch stream := e.stream(); {
	case stream && r.stream && openAI && !r.usage:
		a.body = llm.WithoutUsage(e.Body)
		return a, true
	case stream == r.stream:
		return a, true
	}
	var err error
	a.header = http.Header{"Content-Type": {"application/json"}}
	if r.stream {
		a.header = http.Header{"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache, no-transform"}, "X-Accel-Buffering": {"no"}}
		a.body, err = llm.ToStream(r.api, e.Body, r.usage)
	} else {
		a.body, err = llm.ToJSON(r.api, e.Body)
	}
	return a, err == nil
}

func (*llmPolicy) fits(r *request, _ *shared, head *flight.Head) flight.Outcome {
	switch {
	case head.Status != http.StatusOK, isStream(head.Header) == r.stream:
		return flight.Live
	case r.api.Converts():
		return flight.Stored
	}
	return flight.Alone
}

func (*llmPolicy) outgoing(r *request, _ *Entry) *http.Request {
	req := r.incoming.Clone(r.incoming.Context())
	req.Header.Del("Accept-Encoding") // an encoded response cannot be parsed
	return req
}

func (p *llmPolicy) admit(_ *request, res *response) admission {
	encoding := res.Header.Get("Content-Encoding")
	for name := range res.Header {
		if !isOfResponse(name) {
			delete(res.Header, name)
		}
	}
	switch {
	case isFailure(res.Status):
		return admission{share: flight.Failed, reason: "status"}
	case isPersonal(res.Status) && p.cfg.Shared && res.lastAttempt:
		return admission{share: flight.Alone, reason: "status"} // it may concern this client only
	case isPersonal(res.Status):
		return admission{share: flight.Failed, reason: "status"}
	case encoding != "":
		return admission{share: flight.Alone, reason: "encoding"}
	case res.Status != http.StatusOK:
		return admission{share: flight.Live, reason: "status"}
	case !isStream(res.Header) && !isJSON(res.Header.Get("Content-Type")):
		return admission{share: flight.Live, reason: "content-type"}
	}
	return admission{share: flight.Live}
}

// isPersonal reports whether a status concerns the caller or its quota.
func isPersonal(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusConflict:
		return true
	}
	return false
}

// isOfResponse reports whether a header belongs to a model's response, whoever the caller
// is.
func isOfResponse(name string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Content-Language", "Cache-Control", "X-Accel-Buffering", "Retry-After":
		return true
	}
	return false
}

func (p *llmPolicy) conclude(r *request, res *response) (e *Entry, reason string) {
	l := &p.cfg.LLM
	if err := res.check(r, l.ToolCalls); err != nil {
		return nil, err.Error()
	}
	now := time.Now()
	e = newEntry(r, res, now)
	e.Header.Del("Retry-After")
	e.FreshUntil = now.Add(l.TTL)
	e.StaleWhileRevalidate, e.StaleIfError = l.StaleWhileRevalidate, l.StaleIfError
	e.ExpiresAt = e.FreshUntil.Add(max(l.StaleWhileRevalidate, l.StaleIfError))
	if r.query != nil {
		e.Mark = r.query.Partition
	}
	return e, ""
}

// claims has a request wait for the response of another replica, except for one that will
// not be stored.
func (p *llmPolicy) claims(r *request) (claimTerms, bool) {
	if p.cfg.LLM.ReplicaWait == 0 || r.refetch || p.unstored.After(r.key, time.Now()) {
		return claimTerms{}, false
	}
	return claimTerms{wait: p.cfg.LLM.ReplicaWait}, true
}

// check is [llm.Check] of a recorded response.
func (res *response) check(r *request, toolCalls bool) error {
	if res.summary != nil {
		return res.summary.Check(toolCalls)
	}
	return llm.Check(r.api, isStream(res.Header), res.body, toolCalls)
}

// hasEnded is [llm.Ended] of a recorded response.
func (res *response) hasEnded(r *request) bool {
	if res.summary != nil {
		return res.summary.Ended
	}
	return llm.Ended(r.api, isStream(res.Header), res.body)
}

// semanticTimeout bounds each call of a Semantic.
const semanticTimeout = time.Second

// Semantic finds the response to another request with the same meaning, for instance by
// embeddings. This package has none: only the application knows how similar is similar
// enough, and a wrong response is worse than a miss.
//
// Find is called when there is no entry for exactly the same request, Add for each entry
// that is stored. Both are called concurrently; an error is a miss.
type Semantic interface {
	// Find returns the key of an entry that also fits the query, or "". It must search
	// only queries with the same Partition.
	Find(ctx context.Context, q Query) (key string, err error)
	// Add adds the query of an entry that was stored. The entry may be evicted at any time.
	Add(ctx context.Context, q Query, key string) error
}

// Query is what a request asks a model for.
type Query struct {
	// Partition is equal for requests that differ in nothing but the prompt: of the same
	// scope, model, version, path and parameters, and since the last purge.
	Partition string
	// Model is the name of the model.
	Model string
	// Prompt is the prompt as canonical JSON: the members messages, input, instructions,
	// prompt and system, as far as they are present.
	Prompt []byte
}

// similar finds an entry by the prompt.
func (x *exchange) similar(ctx context.Context) *Entry {
	if x.cfg.Semantic == nil || x.query == nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, semanticTimeout)
	defer cancel()
	found, err := x.cfg.Semantic.Find(limited, *x.query)
	if err != nil {
		x.failed(ctx, fmt.Errorf("cache: Semantic.Find: %w", err))
		return nil
	}
	if found == "" {
		return nil
	}
	e, err := x.cfg.Store.Get(limited, found)
	if err != nil || e.Mark != x.query.Partition { // whatever a Semantic returns, scopes stay apart
		return nil
	}
	x.status.Detail = "semantic"
	return e
}

// addSimilar adds an entry that was stored.
func (x *exchange) addSimilar(ctx context.Context, stored string) {
	if x.cfg.Semantic == nil || x.query == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, semanticTimeout)
	defer cancel()
	if err := x.cfg.Semantic.Add(ctx, *x.query, stored); err != nil {
		x.failed(ctx, fmt.Errorf("cache: Semantic.Add: %w", err))
	}
}
