package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

// ErrAnswer: a response says that it failed.
var ErrAnswer = errors.New("stream: the response says that it failed")

// MeterConfig describes a Meter. At least one of the callbacks is required.
type MeterConfig struct {
	// OnUsage is called with every attempt of a request to a model, once, when its response
	// has ended or did not come: also with those that failed, and with the losers of a
	// hedge. The context is the attempt's. It may be called by many goroutines at once.
	OnUsage func(context.Context, Usage)
	// Report is called with what an attempt took: the tokens of all that delivered
	// something, or were given up while they might. ratelimit.Report fits.
	Report func(ctx context.Context, input, output int64)
	// OnToken is called at each event with text but the first, with the time since the one
	// before it. It must be fast. Optional.
	OnToken func(context.Context, time.Duration)
	// Stall is the pause between two events with text that counts as one. Default: 1 s.
	Stall time.Duration
	// NoInject leaves requests as they are. By default those for streams of OpenAI's
	// completions are made to ask for usage, and what the client did not ask for is
	// taken out of the stream again. An upstream that refuses such a request is asked once
	// more without the change, and not changed for 10 minutes. Default: false.
	NoInject bool
	// NoInjectFor is NoInject for the requests that it reports true for. Optional.
	NoInjectFor func(*http.Request) bool
}

// Meter counts what requests to models take, whatever way their responses end. It is
// safe for concurrent use.
type Meter struct{ cfg MeterConfig }

// NewMeter checks cfg and returns a Meter.
func NewMeter(cfg MeterConfig) (*Meter, error) {
	if cfg.OnUsage == nil && cfg.Report == nil {
		return nil, errors.New("stream: MeterConfig: OnUsage or Report is required")
	}
	cfg.Stall = orDefault(cfg.Stall, time.Second)
	if cfg.Stall < 0 {
		return nil, fmt.Errorf("stream: MeterConfig.Stall: %v is negative", cfg.Stall)
	}
	return &Meter{cfg}, nil
}

// Transport returns a RoundTripper that meters what passes to next and comes back. It
// stands above the balancer, and below what chooses between models. Responses pass byte
// for byte as they come, but for usage that it asked for itself. It has upstreams
// respond without compression, to be read.
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
	asks := body.Request(req)
	if asks == nil || !asks.JSON && asks.API != llm.Transcription {
		return m.next.RoundTrip(req)
	}
	if changed, ok := m.inject(req, asks); ok {
		return m.changed(req, changed, asks)
	}
	res, _, err := m.send(req, asks)
	return res, err
}

// changed sends a request that asks for usage although the client did not. One that is
// refused is sent as the client wrote it.
func (m metered) changed(req, changed *http.Request, asks *llm.Request) (*http.Response, error) {
	a, req := exchange.Start(req)
	res, last, err := m.send(changed.WithContext(req.Context()), asks)
	switch {
	case err != nil:
		return nil, err
	case isRefused(res) && !a.Gone() && mayBeOurs(last):
		_ = res.Body.Close() // ends the attempt, so that the next one stands beside it
		res, _, err = m.send(req, asks)
		if err == nil && !isRefused(res) { // else it was not the change
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

// isRefused reports whether a response may refuse what was added to its request.
func isRefused(res *http.Response) bool {
	return res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnprocessableEntity
}

// mayBeOurs reports whether a refusal may be of what was added: not one that names another
// cause.
func mayBeOurs(last *exchange.Attempt) bool {
	last.Prefetch()
	k := last.Kind()
	return k == llm.BadRequest || k == llm.UnknownKind
}

// send makes one attempt, and meters it.
func (m metered) send(req *http.Request, asks *llm.Request) (*http.Response, *exchange.Attempt, error) {
	a, out := exchange.Start(identity(req))
	a.SetDecode()
	res, err := a.Call(out, m.next, func(*exchange.Attempt) {
		a.Each(func(made *exchange.Attempt) {
			t := &tally{meter: m.Meter, ctx: out.Context(), asks: asks}
			made.OnEvent(t.saw)
			made.OnEnd(t.ended)
		})
	})
	return res, a.Latest(), err
}

// identity asks for no compression.
func identity(req *http.Request) *http.Request {
	if accepted := req.Header.Get("Accept-Encoding"); accepted == "" || accepted == "identity" {
		return req
	}
	out := req.WithContext(req.Context())
	out.Header = req.Header.Clone()
	out.Header.Set("Accept-Encoding", "identity")
	return out
}

// inject returns the request that asks for usage, and whether it is to.
func (m metered) inject(req *http.Request, asks *llm.Request) (*http.Request, bool) {
	switch {
	case m.cfg.NoInject, !asks.Stream, asks.IncludeUsage, !asks.API.HasStreamOptions(), isSigned(req.Header):
		return nil, false
	case m.cfg.NoInjectFor != nil && m.cfg.NoInjectFor(req), m.refusals.has(req.URL.Host, time.Now()):
		return nil, false
	}
	return withUsage(req)
}
