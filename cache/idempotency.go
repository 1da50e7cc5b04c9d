package cache

import (
	"net/http"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// maxKey bounds an Idempotency-Key.
const maxKey = 255

// idempotency is the policy for requests with an Idempotency-Key.
type idempotency struct{}

func (*idempotency) String() string { return "idempotency" }

// planIdempotency looks for a key. [notMine] is the reason if there is none.
func (x *exchange) planIdempotency(s *scratch) (reason string, err error) {
	values := x.req.Header["Idempotency-Key"]
	if len(values) == 0 {
		if x.cfg.Idempotency.Required {
			return "", refusal(http.StatusBadRequest, "idempotency_key_missing", "The request needs an Idempotency-Key.")
		}
		return notMine, nil
	}
	key, ok := idempotencyKey(values)
	if !ok {
		return "", refusal(http.StatusBadRequest, "idempotency_key_invalid", "The Idempotency-Key is not one text of up to 255 visible characters.")
	}
	if upgrades(x.req) {
		return "upgrade", nil
	}
	x.policy, x.api = x.idempotency, llm.Of(x.req.Method, x.req.URL.Path)
	body, reason, err := x.ownBody(s)
	if err != nil || reason != "" {
		return reason, err
	}
	x.findVersion()
	s.reset()
	s.add("request")
	s.add(x.req.Method)
	s.address(x)
	s.add(x.req.Header.Get("Content-Type"))
	s.addBytes(body)
	mark := s.done()
	x.mark = encodeKey(&mark)
	s.reset()
	s.add("idempotency")
	s.addBytes(x.scope[:])
	s.add(key)
	x.base = s.done()
	x.at(x.base)
	return "", nil
}

// idempotencyKey reads the header: a string of structured fields, or, as most clients
// send it, a bare text.
func idempotencyKey(values []string) (key string, ok bool) {
	if len(values) != 1 {
		return "", false
	}
	key = strings.TrimSpace(values[0])
	if n := len(key); n >= 2 && key[0] == '"' && key[n-1] == '"' {
		key = key[1 : n-1]
	}
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return "", false
		}
	}
	return key, key != "" && len(key) <= maxKey
}

// errReused: the key belongs to another request.
func errReused() error {
	return refusal(http.StatusUnprocessableEntity, "idempotency_key_reused", "The Idempotency-Key was used for another request.")
}

// conflicts refuses what must not follow a request that is under way.
func (x *exchange) conflicts(f *flight) bool {
	if x.policy != policy(x.idempotency) {
		return false
	}
	switch {
	case f.about.mark != x.mark:
		x.refuse(errReused())
		return true
	case x.cfg.Idempotency.Conflict:
		x.refuse(errInUse())
		return true
	}
	return false
}

func (*idempotency) judge(x *exchange, e *Entry, now time.Time) (verdict, error) {
	switch {
	case e.Mark != x.mark:
		return useless, errReused()
	case now.Before(e.FreshUntil):
		return use, nil
	}
	return useless, nil
}

func (*idempotency) render(_ *exchange, e *Entry, now time.Time) (rendered, bool) {
	return rendered{status: e.Status, header: e.Header, body: e.Body, age: max(now.Sub(e.ResponseTime), 0)}, true
}

func (*idempotency) fits(*exchange, *flight) outcome { return live }

func (*idempotency) outgoing(x *exchange, _ *Entry) *http.Request {
	req := x.req.Clone(x.req.Context())
	req.Header.Del("Accept-Encoding") // what is packed can't be looked at
	return req
}

func (*idempotency) admit(_ *exchange, _ *flight, h *head) (share outcome, reason string) {
	switch {
	case isFailure(h.status):
		return failed, "status"
	case h.status >= http.StatusMultipleChoices:
		return live, "status"
	}
	return live, ""
}

func (*idempotency) conclude(x *exchange, f *flight, body []byte) (e *Entry, reason string) {
	stream := isStream(f.head.header)
	if (stream || isJSON(f.head.header.Get("Content-Type"))) && !x.hasEnded(f, body) {
		return nil, "incomplete"
	}
	now := time.Now()
	e = &Entry{
		Status: f.head.status, Header: f.head.header.Clone(), Body: body, Mark: x.mark,
		RequestTime: x.start, ResponseTime: now, FreshUntil: now.Add(x.cfg.Idempotency.TTL), FetchDuration: now.Sub(x.start),
	}
	e.Header.Del("Content-Length")
	e.ExpiresAt = e.FreshUntil
	return e, ""
}
