package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/usage"
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

// Report says what a request spent, in tokens, to every [Tokens] that it passed: for usage that the answer to the client does not show, as that of a
// second try, and for answers that cost nothing, as those of a cache. Several
// reports add up. When there is one, the answer's own usage does not count. Its
// shape fits the meter of package stream. It is safe for concurrent use, also after
// the request has ended.
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
	input, output int64 // as estimated
	reserved      int64 // their cost
	debited       int64 // taken beyond it
	alive         *time.Timer

	mu       sync.Mutex
	reports  usage.Usage
	reported int // how often
	settled  bool
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
		cost := r.tokens.cost(input, output)
		r.send(ctx, 0, cost)
		r.tokens.notify(ctx, Event{Kind: Settled, Tokens: cost})
	}
}

// send settles a part of the reservation in every bucket. It goes on when the
// client has left; a store that is down is told later.
func (r *reservation) send(ctx context.Context, held, spent int64) {
	out := make([]Settlement, len(r.charges))
	for i := range r.charges {
		c := &r.charges[i]
		out[i] = Settlement{Bucket: c.Bucket, Held: held, Spent: spent, local: c.local}
	}
	_ = r.tokens.store.Settle(context.WithoutCancel(ctx), out) // lost at worst: then the hold ends by itself
}

// progress takes what a stream has written beyond the reservation, in steps.
func (r *reservation) progress(ctx context.Context, delivered int64) {
	over := r.tokens.cost(r.input, delivered) - r.reserved - r.debited
	if over < max(stepLeast, r.reserved/8) {
		return
	}
	r.debited += over
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
	spent := r.spent(ctx, w)
	cost := r.tokens.cost(spent.Input, spent.Output)
	r.send(ctx, r.reserved, cost-r.debited)
	r.tokens.notify(ctx, Event{Kind: Settled, Tokens: cost, Estimated: spent.Estimated})
}

// spent is what the request cost.
func (r *reservation) spent(ctx context.Context, w *meter) usage.Usage {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled = true
	if r.reported > 0 {
		if r.reported == 1 && w.answered && w.scanner.Ended() && r.reports.Output > 0 {
			r.tokens.estimates.learn(r.request, &r.reports)
		}
		return r.reports
	}
	if !w.answered {
		if errors.Is(ctx.Err(), context.Canceled) { // the server may have read the input by then
			return usage.Usage{Input: r.input, Estimated: true}
		}
		return usage.Usage{}
	}
	u, known := w.scanner.Usage()
	switch {
	case !known && w.scanner.Failed() && w.scanner.Events() == 0:
		return usage.Usage{}
	case known:
		if w.scanner.Ended() {
			r.tokens.estimates.learn(r.request, &u)
		}
	case !w.scanner.Readable():
		u.Input, u.Output = r.input, r.output
	case w.scanner.Ended() && w.scanner.Events() == 0: // in a form that is not known
		u.Input, u.Output = r.input, r.output
	case u.Input == 0:
		u.Input = r.input
	}
	return u
}

// meter reads the answer's usage while it passes.
type meter struct {
	gin.ResponseWriter
	reservation *reservation
	scanner     usage.Scanner
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
	if status := w.Status(); status >= 200 && status < 300 {
		w.answered = true
		w.scanner.Reset(w.Header())
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
