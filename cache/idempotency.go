package cache

import (
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/cache/internal/cachekey"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/upgrade"
)

// maxKey bounds the length of an Idempotency-Key.
const maxKey = 255

// idempotencyPolicy is the policy for requests with an Idempotency-Key.
type idempotencyPolicy struct{ cfg *Config }

func (*idempotencyPolicy) String() string { return "idempotency" }

// planIdempotency plans a request with a key. [notMine] is the reason if it has none.
func (x *exchange) planIdempotency(b *cachekey.Builder) (reason string, err error) {
	req := x.incoming
	values := req.Header["Idempotency-Key"]
	if len(values) == 0 {
		if x.cfg.Idempotency.Required {
			return "", refusal(http.StatusBadRequest, "idempotency_key_missing", "The request needs an Idempotency-Key.")
		}
		return notMine, nil
	}
	text, ok := idempotencyKey(values)
	if !ok {
		return "", refusal(http.StatusBadRequest, "idempotency_key_invalid", "The Idempotency-Key is not one text of up to 255 visible characters.")
	}
	if upgrade.Requested(req) {
		return "upgrade", nil
	}
	x.policy, x.api = x.idempotency, llm.Of(req.Method, req.URL.Path)
	body, reason, err := x.ownBody(b)
	if err != nil || reason != "" {
		return reason, err
	}
	x.findVersion(x.g, &x.request)
	b.Reset()
	b.Add("request")
	b.Add(req.Method)
	b.AddPath(req, x.keyHeaders)
	b.Add(req.Header.Get("Content-Type"))
	b.AddBytes(body)
	mark := b.Sum()
	x.mark = mark.String()
	b.Reset()
	b.Add("idempotency")
	b.AddBytes(x.scope[:])
	b.Add(text)
	x.setKey(b.Sum())
	return "", nil
}

// idempotencyKey parses the header: a string of structured fields, or, as most clients
// send it, bare text.
func idempotencyKey(values []string) (text string, ok bool) {
	if len(values) != 1 {
		return "", false
	}
	text = strings.TrimSpace(values[0])
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return "", false
		}
	}
	return text, text != "" && len(text) <= maxKey
}

// conflict returns the error of a request that must not follow the flight of its key.
func (p *idempotencyPolicy) conflict(r *request, of *shared) error {
	switch {
	case of.mark != r.mark:
		return errReused()
	case p.cfg.Idempotency.Conflict:
		return errInUse()
	}
	return nil
}

// errReused is the error if the key belongs to another request.
func errReused() error {
	return refusal(http.StatusUnprocessableEntity, "idempotency_key_reused", "The Idempotency-Key was used for another request.")
}

// errInUse is the error if the request of the key is under way.
func errInUse() error {
	return &apierror.Error{Status: http.StatusConflict, Code: "idempotency_key_in_use", Message: "A request with this Idempotency-Key is under way.", RetryAfter: time.Second}
}

func (*idempotencyPolicy) judge(r *request, e *Entry, now time.Time) (verdict, error) {
	if e.Mark != r.mark {
		return verdict{}, errReused()
	}
	return verdict{use: now.Before(e.FreshUntil)}, nil
}

func (*idempotencyPolicy) render(_ *request, e *Entry, now time.Time) (reply, bool) {
	return e.reply(now), true
}

func (*idempotencyPolicy) fits(*request, *shared, *flight.Head) flight.Outcome { return flight.Live }

func (*idempotencyPolicy) outgoing(r *request, _ *Entry) *http.Request {
	req := r.incoming.Clone(r.incoming.Context())
	req.Header.Del("Accept-Encoding") // an encoded response cannot be parsed
	return req
}

func (*idempotencyPolicy) admit(_ *request, res *response) admission {
	switch {
	case isFailure(res.Status):
		return admission{share: flight.Failed, reason: "status"}
	case res.Status >= http.StatusMultipleChoices:
		return admission{share: flight.Live, reason: "status"}
	}
	return admission{share: flight.Live}
}

func (p *idempotencyPolicy) conclude(r *request, res *response) (e *Entry, reason string) {
	if (isStream(res.Header) || isJSON(res.Header.Get("Content-Type"))) && !res.hasEnded(r) {
		return nil, "incomplete"
	}
	now := time.Now()
	e = newEntry(r, res, now)
	e.Mark = r.mark
	e.FreshUntil = now.Add(p.cfg.Idempotency.TTL)
	e.ExpiresAt = e.FreshUntil
	return e, ""
}

// claims has a request wait for as long as another replica sends it: a second one could do
// twice what may be done once.
func (p *idempotencyPolicy) claims(*request) (claimTerms, bool) {
	return claimTerms{wait: math.MaxInt64, outage: claimTTL, conflict: p.cfg.Idempotency.Conflict}, true
}
