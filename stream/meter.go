package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/usage"
)

// ErrAnswer: an answer says that it failed.
var ErrAnswer = errors.New("stream: the answer says that it failed")

// MeterConfig describes a Meter. At least one of the callbacks is required.
type MeterConfig struct {
	// OnUsage is told of every try of a request to a model, once, when its answer is
	// closed or did not come: also of those that failed, and of the losers of a hedge.
	// The context is the try's. It may be called by many goroutines at once.
	OnUsage func(context.Context, Usage)
	// Report is told what a try took: the tokens of all that delivered something, or
	// were given up while they might. ratelimit.Report fits.
	Report func(ctx context.Context, input, output int64)
	// OnToken is told of each event with text but the first, and how long after the one
	// before it came. It must be fast. Optional.
	OnToken func(context.Context, time.Duration)
	// Stall is the pause between two events with text that counts as one. Default 1 s.
	Stall time.Duration
	// NoInject leaves requests as they are. By default those for streams of OpenAI's
	// completions are made to ask for usage, and what the client did not ask for is
	// taken out of the stream again.
	NoInject bool
}

// Meter counts what requests to models take, whatever way their answers end. It is
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
// stands above the balancer, and below what chooses between models. Answers pass byte
// for byte as they come, but for usage that it asked for itself. It has upstreams
// answer without compression, to be read.
func (m *Meter) Transport(next http.RoundTripper) http.RoundTripper { return metered{m, next} }

type metered struct {
	*Meter
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (m metered) RoundTrip(req *http.Request) (*http.Response, error) {
	asks := body.Request(req)
	if asks == nil || !asks.JSON {
		return m.next.RoundTrip(req)
	}
	out, injected := m.outbound(req, asks)
	t := &tally{meter: m.Meter, ctx: req.Context(), start: time.Now(), asks: asks}
	res, err := m.next.RoundTrip(out)
	if err != nil {
		t.failed(err)
		return nil, err
	}
	t.answered(res)
	res.Body = t.watch(res.Body)
	if injected && t.stream && t.scanner.Readable() { // in a compressed one nobody finds events
		res.Body = &stripping{source: res.Body}
		res.Header.Del("Content-Length")
		res.ContentLength = -1
	}
	return res, nil
}

// outbound is the request as it is sent.
func (m *Meter) outbound(req *http.Request, asks *llm.Request) (out *http.Request, injected bool) {
	if !m.cfg.NoInject && asks.Stream && !asks.IncludeUsage && isCompletion(req.URL.Path) && !isSigned(req.Header) {
		var changed *http.Request
		if changed, injected = withUsage(req); injected {
			req = changed
		}
	}
	if accepted := req.Header.Get("Accept-Encoding"); accepted != "" && accepted != "identity" {
		header := req.Header.Clone()
		header.Set("Accept-Encoding", "identity")
		req = req.WithContext(req.Context())
		req.Header = header
	}
	return req, injected
}

// isCompletion reports whether a path is that of an API with stream_options.
func isCompletion(path string) bool {
	return strings.HasSuffix(path, "/chat/completions") || strings.HasSuffix(path, "/completions")
}

// tally is what is counted of one try.
type tally struct {
	meter *Meter
	ctx   context.Context //nolint:containedctx // the request's own, asked for its end when the body is closed
	start time.Time
	asks  *llm.Request

	status  int
	stream  bool
	scanner usage.Scanner
	events  int64
	first   time.Time // of the events with text
	last    time.Time
	longest time.Duration
	stalls  int
}

func (t *tally) answered(res *http.Response) {
	t.status = res.StatusCode
	t.stream = llm.IsEventStream(res.Header.Get("Content-Type"))
	t.scanner.Reset(res.Header)
	if t.stream {
		attempt.From(t.ctx).Watch()
	}
}

func (t *tally) watch(body io.ReadCloser) io.ReadCloser {
	b := &meteredBody{ReadCloser: body, tally: t}
	if w, ok := body.(io.Writer); ok { // what a connection is switched to has no tokens
		return meteredDuplex{b, w}
	}
	return b
}

// saw takes the next bytes of the answer.
func (t *tally) saw(p []byte) {
	_, _ = t.scanner.Write(p) // never fails
	n := t.scanner.Events()
	if n == t.events {
		return
	}
	now := time.Now()
	if t.events == 0 {
		t.first = now
	} else {
		t.paused(now.Sub(t.last))
	}
	t.events, t.last = n, now
}

func (t *tally) paused(d time.Duration) {
	t.longest = max(t.longest, d)
	if d >= t.meter.cfg.Stall {
		t.stalls++
	}
	if t.meter.cfg.OnToken != nil {
		t.meter.cfg.OnToken(t.ctx, d)
	}
}

// failed ends the count of a try without an answer. Of one that nobody waited for any
// more the model may have read the input; one that was refused took nothing.
func (t *tally) failed(err error) {
	if _, refused := errors.AsType[*attempt.NotSentError](err); refused {
		return
	}
	u := t.usage()
	if u.Outcome = Failed; attempt.Abandoned(t.ctx) {
		u.Outcome = Canceled
		u.Input, u.Estimated = t.estimate(), true
	}
	u.Err = err
	t.tell(u)
}

// closed ends the count of a try whose answer was closed.
func (t *tally) closed(err error) {
	u := t.usage()
	u.Outcome, u.Err = t.outcome(err)
	if u.Outcome == Failed && t.scanner.Events() == 0 || t.status >= http.StatusBadRequest {
		t.tell(u)
		return
	}
	counted, known := t.scanner.Usage()
	u.Input, u.Output, u.Cached, u.CacheWritten, u.Reasoning = counted.Input, counted.Output, counted.Cached, counted.CacheWritten, counted.Reasoning
	u.Estimated = !known
	if u.Input == 0 {
		u.Input = t.estimate()
	}
	t.tell(u)
}

func (t *tally) outcome(err error) (Outcome, error) {
	verdict := attempt.From(t.ctx).Err()
	switch {
	case t.status >= http.StatusBadRequest:
		return Failed, fmt.Errorf("%w: status %d", ErrAnswer, t.status)
	case t.scanner.Failed():
		return Failed, ErrAnswer
	case t.whole(err):
		return Complete, nil
	case verdict == nil && attempt.Abandoned(t.ctx):
		return Canceled, context.Cause(t.ctx)
	case verdict != nil:
		return Failed, verdict
	case err != nil && !errors.Is(err, io.EOF):
		return Failed, err
	case errors.Is(err, io.EOF):
		return Failed, io.ErrUnexpectedEOF
	}
	return Canceled, nil // closed before its end
}

// whole reports whether the answer came to its end: a stream of a model by its last
// event, any other by the end of the body.
func (t *tally) whole(err error) bool {
	if t.stream && t.scanner.Events() > 0 {
		return t.scanner.Ended()
	}
	return t.scanner.Ended() || errors.Is(err, io.EOF)
}

func (t *tally) estimate() int64 { return (t.asks.InputBytes + 3) / 4 }

// usage is what is known without the tokens.
func (t *tally) usage() Usage {
	now := time.Now()
	try := attempt.From(t.ctx)
	u := Usage{
		Model: modelOf(t.asks), Status: t.status, Stream: t.stream, Events: t.events, Stalls: t.stalls,
		Total: now.Sub(t.start), Longest: t.longest, Try: try.Number(), Endpoint: try.Endpoint(), Hedge: try.Hedge(),
	}
	if t.events > 0 {
		u.FirstToken = t.first.Sub(t.start)
	}
	if t.events > 1 {
		u.PerToken = t.last.Sub(t.first) / time.Duration(t.events-1)
	}
	return u
}

// maxModel is the longest name, in bytes, that is reported: clients choose names.
const maxModel = 127

func modelOf(asks *llm.Request) string {
	if len(asks.Model) > maxModel {
		return ""
	}
	return asks.Model
}

func (t *tally) tell(u Usage) {
	if t.meter.cfg.OnUsage != nil {
		t.meter.cfg.OnUsage(t.ctx, u)
	}
	if t.meter.cfg.Report != nil && (u.Input > 0 || u.Output > 0) {
		t.meter.cfg.Report(t.ctx, u.Input, u.Output)
	}
}

// meteredBody is an answer that is counted.
type meteredBody struct {
	io.ReadCloser
	tally *tally
	err   error // that ended it
	over  bool
}

type meteredDuplex struct {
	*meteredBody
	io.Writer
}

// Read implements io.Reader.
func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.tally.saw(p[:n])
	}
	if err != nil {
		b.err = err
	}
	if b.tally.stream && errors.Is(err, io.EOF) {
		attempt.From(b.tally.ctx).Judge(&b.tally.scanner, true)
	}
	return n, err
}

// Close implements io.Closer.
func (b *meteredBody) Close() error {
	err := b.ReadCloser.Close()
	if !b.over {
		b.over = true
		b.tally.closed(b.err)
	}
	return err
}
