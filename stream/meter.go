package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

// ErrResponse is the error in Usage.Err when the response is an error or contains one.
var ErrResponse = errors.New("stream: the response is an error")

// MeterConfig configures a Meter. At least one of the callbacks is required.
type MeterConfig struct {
	// OnUsage is called once for every attempt of a request to a model, after its response has
	// ended or did not come, including failed attempts and the losers of a hedge. The context
	// is the attempt's. It may be called concurrently. Default: nil.
	OnUsage func(context.Context, Usage)
	// Report is called with the tokens of every attempt that delivered something, or was
	// canceled while it might. Use ratelimit.Report. Default: nil.
	Report func(ctx context.Context, input, output int64)
	// OnToken is called at each event with text but the first, with the time since the previous
	// one. It must be fast. Default: nil.
	OnToken func(context.Context, time.Duration)
	// Stall is the pause between two events with text that counts as a stall. Default: 1 s.
	Stall time.Duration
	// NoInject disables the change of requests. Otherwise requests for streams of OpenAI's
	// completions ask for usage, and usage that the client did not request is removed from the
	// stream. If an upstream rejects such a request, it is sent once more without the change,
	// and later ones are not changed for 10 minutes. Default: false.
	NoInject bool
	// NoInjectFor disables the change for the requests for which it returns true. Default: nil,
	// none.
	NoInjectFor func(*http.Request) bool
}

// Meter counts the tokens of requests to models, however their responses end. It is safe for
// concurrent use.
type Meter struct{ cfg MeterConfig }

// NewMeter returns a Meter, or an error if cfg is invalid.
func NewMeter(cfg MeterConfig) (*Meter, error) {
	if cfg.OnUsage == nil && cfg.Report == nil {
		return nil, errors.New("stream: MeterConfig: OnUsage or Report is required")
	}
	cfg.Stall = cmp.Or(cfg.Stall, time.Second)
	if cfg.Stall < 0 {
		return nil, fmt.Errorf("stream: MeterConfig.Stall: %v is negative", cfg.Stall)
	}
	return &Meter{cfg}, nil
}

// Transport returns a RoundTripper that meters requests and responses of next. Place it above
// the balancer, and below the layer that chooses between models. Responses pass byte for byte,
// except for usage that only the meter requested. Upstreams are asked for uncompressed
// responses.
func (m *Meter) Transport(next http.RoundTripper) http.RoundTripper {
	return metered{Meter: m, next: next, refusals: new(refusals)}
}

type metered struct {
	*Meter

	next     http.RoundTripper
	refusals *refusals
}

// RoundTrip implements http.RoundTripper.
func (m metered) RoundTrip(req *http.Request) (*http.Response, error) {
	parsed := body.Request(req)
	if parsed == nil || !parsed.JSON && parsed.API != llm.Transcription {
		return m.next.RoundTrip(req)
	}
	if changed, ok := m.inject(req, parsed); ok {
		return m.changed(req, changed, parsed)
	}
	res, _, err := m.send(req, parsed)
	return res, err
}

// changed sends a request with a request for usage that the client did not make. If that is
// rejected, it sends the client's request.
func (m metered) changed(req, changed *http.Request, parsed *llm.Request) (*http.Response, error) {
	a, req := exchange.Start(req)
	res, last, err := m.send(changed.WithContext(req.Context()), parsed)
	switch {
	case err != nil:
		return nil, err
	case isRefused(res) && !a.Gone() && mayBeOurs(last):
		_ = res.Body.Close() // ends the attempt, so that the next one follows it
		res, _, err = m.send(req, parsed)
		if err == nil && !isRefused(res) { // else the change was not the cause
			m.refusals.add(req.URL.Host, time.Now())
		}
		return res, err
	case !llm.IsEventStream(res.Header.Get("Content-Type")) || llm.Encoded(res.Header) || exchange.KeepsUsage(req.Context()):
		return res, nil
	}
	last.SetFilter(llm.StripUsage)
	res.Header.Del("Content-Length")
	res.ContentLength = -1
	return res, nil
}

// isRefused reports whether a response may reject what was added to its request.
func isRefused(res *http.Response) bool {
	return res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnprocessableEntity
}

// mayBeOurs reports whether the addition may be the cause of a rejection: the response names no
// other.
func mayBeOurs(last *exchange.Attempt) bool {
	last.Prefetch()
	k := last.Kind()
	return k == llm.BadRequest || k == llm.UnknownKind
}

// send makes one attempt and meters it.
func (m metered) send(req *http.Request, parsed *llm.Request) (*http.Response, *exchange.Attempt, error) {
	a, out := exchange.Start(identity(req))
	a.SetDecode()
	res, err := a.Call(out, m.next, func(*exchange.Attempt) {
		a.Each(func(made *exchange.Attempt) {
			t := &tally{meter: m.Meter, ctx: out.Context(), parsed: parsed}
			made.OnEvent(t.saw)
			made.OnEnd(t.ended)
		})
	})
	return res, a.Latest(), err
}

// identity returns the request for an uncompressed response.
func identity(req *http.Request) *http.Request {
	if accepted := req.Header.Get("Accept-Encoding"); accepted == "" || accepted == "identity" {
		return req
	}
	out := req.WithContext(req.Context())
	out.Header = req.Header.Clone()
	out.Header.Set("Accept-Encoding", "identity")
	return out
}

// inject returns the request with a request for usage, and reports whether to use it.
func (m metered) inject(req *http.Request, parsed *llm.Request) (*http.Request, bool) {
	switch {
	case m.cfg.NoInject, !parsed.Stream, parsed.IncludeUsage, !parsed.API.HasStreamOptions(), isSigned(req.Header):
		return nil, false
	case m.cfg.NoInjectFor != nil && m.cfg.NoInjectFor(req), m.refusals.has(req.URL.Host, time.Now()):
		return nil, false
	}
	return withUsage(req)
}
