package cache

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/ginfer/ginfer/cache/internal/directive"
	"github.com/ginfer/ginfer/internal/llm"
)

// llmPolicy is the policy for requests to models.
type llmPolicy struct{}

func (*llmPolicy) String() string { return "llm" }

// planLLM looks at a request to a model. A reason says that it is not cached.
func (x *exchange) planLLM(s *scratch) (reason string, err error) {
	x.policy, x.api = x.llm, llm.Of(x.req.Method, x.req.URL.Path)
	optIn := ""
	if name := x.cfg.LLM.OptIn; name != "" {
		optIn = x.req.Header.Get(name)
	}
	if cc := x.req.Header["Cache-Control"]; len(cc) > 0 {
		x.control = directive.Parse(cc)
		x.refetch = x.control.NoCache || x.control.MaxAge == 0
	}
	if x.control.NoStore || strings.EqualFold(optIn, "off") {
		x.status.Forward = "request"
		return "no-store", nil
	}
	body, reason, err := x.ownBody(s)
	if err != nil || reason != "" {
		return reason, err
	}
	s.body = members{known: x.fields}
	canonical, err := s.canon.Object(body, &s.body)
	if err != nil {
		return reasonOf(err), nil
	}
	m := &s.body
	x.model, x.stream, x.usage = m.model, m.stream, m.usage
	if !m.settled && x.api != llm.Embeddings && !x.cfg.LLM.AllowNonZeroTemperature && !strings.EqualFold(optIn, "on") {
		return "temperature", nil
	}
	x.findVersion()
	s.begin("llm", x)
	s.addBytes(canonical)
	x.base = s.done()
	x.at(x.base)
	if x.cfg.Semantic != nil {
		x.ask(s, body)
	}
	return "", nil
}

// ask makes the query for a Semantic: what is asked apart from all else.
func (x *exchange) ask(s *scratch, body []byte) {
	rest := members{known: x.fields, only: keyed}
	canonical, err := s.canon.Object(body, &rest)
	if err != nil {
		return
	}
	s.begin("query", x)
	s.addBytes(canonical)
	base := s.done()
	x.generations.apply(&base, &x.plan)
	prompt, err := s.canon.Object(body, &members{known: x.fields, only: asked})
	if err != nil {
		return
	}
	x.query = &Query{Partition: base64.RawURLEncoding.EncodeToString(base[:]), Model: x.model, Prompt: append([]byte(nil), prompt...)}
}

func (*llmPolicy) judge(x *exchange, e *Entry, now time.Time) (verdict, error) {
	if e.stream() != x.stream && !x.api.Converts() {
		return useless, nil
	}
	switch {
	case now.Before(e.FreshUntil) && x.early(e, now):
		return useAndRefresh, nil
	case now.Before(e.FreshUntil):
		return use, nil
	case now.Before(e.FreshUntil.Add(e.StaleWhileRevalidate)):
		x.status.Detail = "stale"
		return useAndRefresh, nil
	}
	return validate, nil // an error may still be worse
}

func (*llmPolicy) render(x *exchange, e *Entry, now time.Time) (a rendered, ok bool) {
	a = rendered{status: e.Status, header: e.Header, body: e.Body, age: max(now.Sub(e.ResponseTime), 0)}
	openAI := x.api == llm.Chat || x.api == llm.Completions
	switch stream := e.stream(); {
	case stream && x.stream && openAI && !x.usage:
		a.body = llm.WithoutUsage(e.Body)
		return a, true
	case stream == x.stream:
		return a, true
	}
	var err error
	a.header = http.Header{"Content-Type": {"application/json"}}
	if x.stream {
		a.header = http.Header{"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache, no-transform"}, "X-Accel-Buffering": {"no"}}
		a.body, err = llm.ToStream(x.api, e.Body, x.usage)
	} else {
		a.body, err = llm.ToJSON(x.api, e.Body)
	}
	return a, err == nil
}

func (*llmPolicy) fits(x *exchange, f *flight) outcome {
	switch {
	case f.head.status != http.StatusOK, isStream(f.head.header) == x.stream:
		return live
	case x.api.Converts():
		return stored
	}
	return alone
}

func (*llmPolicy) outgoing(x *exchange, _ *Entry) *http.Request {
	req := x.req.Clone(x.req.Context())
	req.Header.Del("Accept-Encoding") // what is packed can't be looked at
	return req
}

func (*llmPolicy) admit(x *exchange, f *flight, h *head) (share outcome, reason string) {
	encoding := h.header.Get("Content-Encoding")
	for name := range h.header {
		if !isOfAnswer(name) {
			delete(h.header, name)
		}
	}
	contentType := h.header.Get("Content-Type")
	switch {
	case isFailure(h.status):
		return failed, "status"
	case isPersonal(h.status) && x.cfg.Shared && f.attempt >= maxAttempts:
		return alone, "status" // it may be about this client only
	case isPersonal(h.status):
		return failed, "status"
	case encoding != "":
		return alone, "encoding"
	case h.status != http.StatusOK:
		return live, "status"
	case !isStream(h.header) && !isJSON(contentType):
		return live, "content-type"
	}
	return live, ""
}

// isPersonal: a status that is about who asks, or how often.
func isPersonal(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusConflict:
		return true
	}
	return false
}

// isOfAnswer: a header that belongs to a model's answer, whoever asked.
func isOfAnswer(name string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Content-Language", "Cache-Control", "X-Accel-Buffering", "Retry-After":
		return true
	}
	return false
}

func (*llmPolicy) conclude(x *exchange, f *flight, body []byte) (e *Entry, reason string) {
	if err := x.check(f, body); err != nil {
		return nil, err.Error()
	}
	l, now := &x.cfg.LLM, time.Now()
	e = &Entry{
		Status: f.head.status, Header: f.head.header.Clone(), Body: body,
		RequestTime: x.start, ResponseTime: now, FreshUntil: now.Add(l.TTL), FetchDuration: now.Sub(x.start),
		StaleWhileRevalidate: l.StaleWhileRevalidate, StaleIfError: l.StaleIfError,
	}
	e.Header.Del("Content-Length")
	e.Header.Del("Retry-After")
	e.ExpiresAt = e.FreshUntil.Add(max(l.StaleWhileRevalidate, l.StaleIfError))
	if x.query != nil {
		e.Mark = x.query.Partition
	}
	return e, ""
}

func isJSON(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.TrimSpace(mediaType)
	return strings.EqualFold(mediaType, "application/json") || len(mediaType) > 5 && strings.EqualFold(mediaType[len(mediaType)-5:], "+json")
}
