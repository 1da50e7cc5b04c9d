package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/llm"
)

const (
	// minStep is the least number of tokens that a stream beyond its reservation debits at
	// once; it is at least an eighth of the reservation.
	minStep = 64
	// maxCost bounds the cost of a request, in tokens.
	maxCost = 1 << 40
	// touchEvery is the interval at which a reservation is renewed in the store.
	touchEvery = 20 * time.Second
)

type reservationKey struct{}

// Report adds to the usage of a request, in tokens, for every [Tokens] that it passed. Use it
// where the gateway's attempts do not show the usage, and for responses that cost nothing.
// Several reports add up, and replace every other measurement. The signature fits the meter
// of package stream. Report is safe for concurrent use, also after the request has ended.
func Report(ctx context.Context, input, output int64) {
	if r, ok := ginctx.Value(ctx, reservationKey{}).(*reservation); ok {
		for ; r != nil; r = r.outer {
			r.report(ctx, input, output)
		}
	}
}

// reservation is the tokens that a request has taken.
type reservation struct {
	call
	tokens        *Tokens
	outer         *reservation // of an earlier Tokens in the chain; nil: none
	writer        *meter       // nil until the handlers run
	request       *llm.Request
	exchange      *exchange.Exchange
	before        int   // attempts made before it
	input, output int64 // estimated
	reserved      int64 // cost of the estimate
	alive         *time.Timer

	mu        sync.Mutex
	debited   int64 // taken beyond the reservation
	reports   llm.Usage
	reported  int       // number of reports
	taken     llm.Usage // by ended attempts
	whole     int       // ended attempts that were complete
	learned   bool      // the estimates learned from one of them
	flows     map[*exchange.Attempt]int64
	delivered int64 // sum of flows
	settled   bool
}

// cost returns the cost of tokens within bounds: a Cost can neither mint tokens nor put a key
// into endless debt.
func (t *Tokens) cost(input, output int64) int64 {
	return min(max(t.cfg.Cost(input, output), 0), maxCost)
}

func (r *reservation) report(ctx context.Context, input, output int64) {
	r.mu.Lock()
	late := r.settled
	r.reported++
	r.reports.Input += input
	r.reports.Output += output
	r.mu.Unlock()
	if late {
		r.sendLate(ctx, &llm.Usage{Input: input, Output: output})
	}
}

// sendLate settles usage that became known after the end of the request.
func (r *reservation) sendLate(ctx context.Context, u *llm.Usage) {
	cost := r.tokens.cost(u.Input, u.Output)
	r.send(ctx, 0, cost)
	r.tokens.notify(ctx, Event{Kind: Settled, Tokens: cost, Estimated: u.Estimated})
}

// send settles a part of the reservation in every bucket, also after a client disconnect. A
// Shared settles later if its store is down.
func (r *reservation) send(ctx context.Context, reserved, spent int64) {
	out := make([]Settlement, len(r.charges))
	for i := range r.charges {
		c := &r.charges[i]
		out[i] = Settlement{Bucket: c.Bucket, Reserved: reserved, Spent: spent, local: c.local}
	}
	_ = r.tokens.store.Settle(ginctx.Detach(ctx), out) // at worst the reservation expires
}

// progress debits output beyond the reservation, in steps.
func (r *reservation) progress(ctx context.Context, delivered int64) {
	r.mu.Lock()
	over := r.tokens.cost(r.input, delivered) - r.reserved - r.debited
	if r.settled || over < max(minStep, r.reserved/8) {
		r.mu.Unlock()
		return
	}
	r.debited += over
	r.mu.Unlock()
	r.send(ctx, 0, over)
}

// keepAlive renews the reservation until stop is called. In a Memory reservations do not expire.
func (r *reservation) keepAlive() (stop func()) {
	if _, ok := r.tokens.store.(*Memory); ok {
		return func() {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alive = time.AfterFunc(touchEvery, r.touch)
	return func() { r.alive.Stop() }
}

func (r *reservation) touch() {
	r.send(context.Background(), 0, 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.settled {
		r.alive.Reset(touchEvery)
	}
}

// settle ends the reservation with the usage of the request.
func (r *reservation) settle(ctx context.Context, w *meter) {
	r.mu.Lock()
	r.settled = true
	spent := r.spent(ctx, w)
	debited := r.debited
	r.mu.Unlock()
	cost := r.tokens.cost(spent.Input, spent.Output)
	r.send(ctx, r.reserved, cost-debited)
	r.tokens.notify(ctx, Event{Kind: Settled, Tokens: cost, Estimated: spent.Estimated})
}

// spent returns the usage of the request: as reported, else of its attempts, else as the
// response to the client shows. The caller holds mu.
func (r *reservation) spent(ctx context.Context, w *meter) llm.Usage {
	served, isServed := r.exchange.Served()
	switch {
	case r.reported > 0:
		if r.reported == 1 && !r.learned && r.reports.Output > 0 && (r.whole == 1 || w.responded && w.scanner.Finished()) {
			r.tokens.estimates.learn(r.request, &r.reports)
		}
		return r.reports
	case r.exchange.Shadow:
		return llm.Usage{}
	case r.attempted(): // an attempt in flight is charged at its end
		return r.taken
	case isServed:
		return served.Usage
	case w.responded:
		return r.shown(w.scanner)
	case errors.Is(ctx.Err(), context.Canceled): // the server may have processed the input
		return llm.Usage{Input: r.input, Estimated: true}
	}
	return llm.Usage{}
}

// shown returns the usage that a response without an attempt shows.
func (r *reservation) shown(s *llm.Scanner) llm.Usage {
	u, known := s.Usage()
	switch {
	case !known && s.Failure() != nil && s.Events() == 0:
		return llm.Usage{}
	case known:
		if s.Finished() {
			r.tokens.estimates.learn(r.request, &u)
		}
	case !s.Readable(), s.Finished() && s.Events() == 0: // in an unknown format
		u.Input, u.Output = r.input, r.output
	case u.Input == 0:
		u.Input = r.input
	}
	return u
}

// meter scans a response without an attempt for its usage.
type meter struct {
	gin.ResponseWriter
	reservation *reservation
	scanner     *llm.Scanner // nil until responded
	begun       bool
	responded   bool // with status 2xx
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *meter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements http.ResponseWriter.
func (w *meter) Write(p []byte) (int, error) {
	w.begin()
	n, err := w.ResponseWriter.Write(p)
	if w.responded {
		_, _ = w.scanner.Write(p[:max(n, 0)]) // never fails
	}
	return n, err
}

// WriteString implements io.StringWriter.
func (w *meter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (w *meter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	if _, served := w.reservation.exchange.Served(); served || w.reservation.attempted() {
		return
	}
	if status := w.Status(); status >= 200 && status < 300 {
		w.responded, w.scanner = true, new(llm.Scanner)
		w.scanner.Reset(w.reservation.request.API, w.Header())
	}
}

// Flush implements http.Flusher.
func (w *meter) Flush() { _ = w.FlushError() } // http.Flusher has no error

// FlushError is called by http.ResponseController. It flushes before it counts, so that the
// client does not wait.
func (w *meter) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if w.responded {
		w.reservation.progress(context.Background(), w.scanner.Delivered())
	}
	return err
}
