package stream

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

// tally is the count of one attempt.
type tally struct {
	meter  *Meter
	ctx    context.Context //nolint:containedctx // for the callbacks
	parsed *llm.Request

	mu      sync.Mutex // an attempt may end while its body is read
	events  int64
	first   time.Time // of the events with text
	last    time.Time
	longest time.Duration
	stalls  int
}

// saw records the number of events with text so far.
func (t *tally) saw(n int64, at time.Time) {
	t.mu.Lock()
	var gap time.Duration
	more := t.events > 0
	if more {
		gap = at.Sub(t.last)
		t.longest = max(t.longest, gap)
		if gap >= t.meter.cfg.Stall {
			t.stalls++
		}
	} else {
		t.first = at
	}
	t.events, t.last = n, at
	t.mu.Unlock()
	if more && t.meter.cfg.OnToken != nil {
		t.meter.cfg.OnToken(t.ctx, gap)
	}
}

// ended reports the attempt.
func (t *tally) ended(e *exchange.End) {
	u := t.usage(e)
	u.Outcome, u.Err = outcome(e)
	if t.hasCost(e) {
		u.Input, u.Output, u.Estimated = e.Usage.Input, e.Usage.Output, !e.Counted
		u.Cached, u.CacheWritten, u.Reasoning = e.Usage.Cached, e.Usage.CacheWritten, e.Usage.Reasoning
		if u.Input == 0 {
			u.Input, u.Estimated = (t.parsed.InputBytes+3)/4, true
		}
		if u.Output == 0 && e.API.Generates() && llm.Encoded(e.Header) {
			u.Output = (e.Bytes + 3) / 4 // no better estimate for an encoded body
		}
	}
	if t.meter.cfg.OnUsage != nil {
		t.meter.cfg.OnUsage(t.ctx, u)
	}
	if t.meter.cfg.Report != nil && (u.Input > 0 || u.Output > 0) {
		t.meter.cfg.Report(t.ctx, u.Input, u.Output)
	}
}

// hasCost reports whether an attempt used any tokens. If it was canceled without a response,
// the model may have read the input.
func (t *tally) hasCost(e *exchange.End) bool {
	switch {
	case t.parsed.API == llm.Free, e.Status >= http.StatusBadRequest, e.Unsent:
		return false
	case e.Outcome == exchange.Failure:
		return e.Events > 0
	}
	return true
}

func outcome(e *exchange.End) (Outcome, error) {
	switch {
	case e.Status >= http.StatusBadRequest:
		return Failed, fmt.Errorf("%w: status %d", ErrResponse, e.Status)
	case e.Outcome == exchange.Success:
		return Complete, nil
	case e.Outcome == exchange.Canceled:
		return Canceled, e.Err
	case e.Said != nil:
		return Failed, fmt.Errorf("%w: %w", ErrResponse, e.Said)
	}
	return Failed, e.Err
}

// usage returns everything but the tokens.
func (t *tally) usage(e *exchange.End) Usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := Usage{
		Model: t.parsed.Model, Status: e.Status, Stream: e.Stream, Events: e.Events, Stalls: t.stalls,
		Total: e.Over.Sub(e.Start), Longest: t.longest,
		Attempt: e.Attempt.Number(), Endpoint: e.Attempt.Endpoint(), Hedge: e.Attempt.Hedge(),
	}
	if t.events > 0 {
		u.FirstToken = t.first.Sub(e.Start)
	}
	if t.events > 1 {
		u.PerToken = t.last.Sub(t.first) / time.Duration(t.events-1)
	}
	return u
}
