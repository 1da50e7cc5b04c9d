package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
)

const (
	// stepLeast is how many tokens beyond what was reserved are taken at once while
	// a stream flows, or an eighth of what was reserved.
	stepLeast = 64
	// maxCost is the most that a request can cost, in tokens.
	maxCost = 1 << 40
	// touchEvery is how often a hold is kept alive.
	touchEvery = 20 * time.Second
)

type reservationKey struct{}

// Report adds to what a request spent, in tokens, for every [Tokens] that it passed: where
// the gateway's own attempts do not show it, and for responses that cost nothing. Several
// reports add up. When there is one, nothing else counts. Its shape fits the meter of
// package stream. It is safe for concurrent use, also after the request has ended.
func Report(ctx context.Context, input, output int64) {
	if r, ok := ctx.Value(reservationKey{}).(*reservation); ok {
		for ; r != nil; r = r.outer {
			r.report(ctx, input, output)
		}
	}
}

// reservation is what a request has taken.
type reservation struct {
	call
	tokens        *Tokens
	outer         *reservation // of another Tokens that the request passed before; nil: there was none
	request       *llm.Request
	exchange      *exchange.Exchange
	before        int   // attempts that were made when it passed
	input, output int64 // as estimated
	reserved      int64 // their cost
	alive         *time.Timer

	mu        sync.Mutex
	debited   int64 // taken beyond what was reserved
	reports   llm.Usage
	reported  int       // how often
	taken     llm.Usage // by the attempts that ended
	whole     int       // how many of them went through
	learned   bool      // the estimates did, of one of them
	flows     map[*exchange.Attempt]int64
	delivered int64 // of all flows
	settled   bool
}

// cost is what tokens cost: nothing that a Cost returns can mint tokens, or put a key
// into debt without end.
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

// sendLate settles what became known after the request had ended.
func (r *reservation) sendLate(ctx context.Context, u *llm.Usage) {
	cost := r.tokens.cost(u.Input, u.Output)
	r.send(ctx, 0, cost)
	r.tokens.notify(ctx, Event{Kind: Settled, Tokens: cost, Estimated: u.Estimated})
}

// send settles a part of the reservation in every bucket. It goes on when the
// client has left; a store that is down is told later.
func (r *reservation) send(ctx context.Context, held, spent int64) {
	out := make([]Settlement, len(r.charges))
	for i := range r.charges {
		c := &r.charges[i]
		out[i] = Settlement{Bucket: c.Bucket, Reserved: held, Spent: spent, local: c.local}
	}
	_ = r.tokens.store.Settle(context.WithoutCancel(ctx), out) // lost at worst: then the hold ends by itself
}

// progress takes what was written beyond the reservation, in steps.
func (r *reservation) progress(ctx context.Context, delivered int64) {
	r.mu.Lock()
	over := r.tokens.cost(r.input, delivered) - r.reserved - r.debited
	if r.settled || over < max(stepLeast, r.reserved/8) {
		r.mu.Unlock()
		return
	}
	r.debited += over
	r.mu.Unlock()
	r.send(ctx, 0, over)
}

// keepAlive keeps the hold alive until stop is called. A Memory has no holds.
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

// settle ends the reservation by what was spent.
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

// spent is what the request cost: what was reported, else what its attempts took, else what
// the response to the client shows. The caller holds mu.
func (r *reservation) spent(ctx context.Context, w *meter) llm.Usage {
	served, isServed := r.exchange.Served()
	switch {
	case r.reported > 0:
		if r.reported == 1 && !r.learned && r.reports.Output > 0 && (r.whole == 1 || w.answered && w.scanner.Finished()) {
			r.tokens.estimates.learn(r.request, &r.reports)
		}
		return r.reports
	case r.exchange.Shadow:
		return llm.Usage{}
	case r.attempted(): // one that is still under way is charged at its end
		return r.taken
	case isServed:
		return served.Usage
	case w.answered:
		return r.shown(w.scanner)
	case errors.Is(ctx.Err(), context.Canceled): // the server may have read the input by then
		return llm.Usage{Input: r.input, Estimated: true}
	}
	return llm.Usage{}
}

// shown is what a response cost that no attempt was made for, by what it says.
func (r *reservation) shown(s *llm.Scanner) llm.Usage {
	u, known := s.Usage()
	switch {
	case !known && s.Failure() != nil && s.Events() == 0:
		return llm.Usage{}
	case known:
		if s.Finished() {
			r.tokens.estimates.learn(r.request, &u)
		}
	case !s.Readable(), s.Finished() && s.Events() == 0: // in a form that is not known
		u.Input, u.Output = r.input, r.output
	case u.Input == 0:
		u.Input = r.input
	}
	return u
}

// meter reads the usage of a response that no attempt was made for, while it passes.
type meter struct {
	gin.ResponseWriter
	reservation *reservation
	scanner     *llm.Scanner // nil until answered
	begun       bool
	answered    bool // with a body, and no error
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *meter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements http.ResponseWriter.
func (w *meter) Write(p []byte) (int, error) {
	w.begin()
	n, err := w.ResponseWriter.Write(p)
	if w.answered {
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
		w.answered, w.scanner = true, new(llm.Scanner)
		w.scanner.Reset(w.reservation.request.API, w.Header())
	}
}

// Flush implements http.Flusher.
func (w *meter) Flush() { _ = w.FlushError() } // http.Flusher has no error

// FlushError is what http.ResponseController calls. The client has its bytes
// before they are counted.
func (w *meter) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if w.answered {
		w.reservation.progress(context.Background(), w.scanner.Delivered())
	}
	return err
}
