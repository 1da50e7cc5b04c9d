package stream

import (
	"errors"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
)

// tick is called by the timer. It does what is due and resets the timer; writes do not touch
// it, which is cheaper than a reset for each token.
func (g *guard) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cut || g.timer == nil {
		return
	}
	now, cfg := time.Now(), &g.streams.cfg
	switch {
	case due(now, g.start, cfg.Total):
		g.end(ErrTotal)
		return
	case due(now, g.lastEvent, cfg.Idle):
		g.end(ErrIdle)
		return
	case due(now, g.lastWrite, cfg.Heartbeat):
		g.beat(now)
	}
	if !g.cut {
		g.timer.Reset(g.untilDue(now))
	}
}

func due(now, since time.Time, limit time.Duration) bool {
	return limit > 0 && now.Sub(since) >= limit
}

// untilDue returns the time until something is due; negative: nothing is.
func (g *guard) untilDue(now time.Time) time.Duration {
	cfg := &g.streams.cfg
	next := time.Duration(-1)
	for _, one := range [...]struct {
		since time.Time
		limit time.Duration
	}{{g.start, cfg.Total}, {g.lastEvent, cfg.Idle}, {g.lastWrite, cfg.Heartbeat}} {
		if one.limit <= 0 {
			continue
		}
		if wait := max(one.limit-now.Sub(one.since), 0); next < 0 || wait < next {
			next = wait
		}
	}
	return next
}

// beat sends a heartbeat, unless the stream is within an event or accepts none.
func (g *guard) beat(now time.Time) {
	g.lastWrite = now
	if g.packed || g.plain || !g.between.Between() || g.between.AtCR() {
		return
	}
	g.deadline(g.nextDeadline())
	defer g.rest()
	_, err := g.ResponseWriter.WriteString(heartbeat)
	if err == nil {
		err = http.NewResponseController(g.ResponseWriter).Flush()
	}
	if err != nil {
		_ = g.explain(err) // the next write will return it
		return
	}
	g.beats++
}

// stop is end for another goroutine.
func (g *guard) stop(err error) {
	g.ending.Store(true)
	g.hurry()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.cut {
		g.end(err)
	}
}

// hurry ends a write in progress, which holds mu.
func (g *guard) hurry() {
	g.life.Lock()
	defer g.life.Unlock()
	if !g.done {
		g.deadline(time.Now().Add(endGrace))
	}
}

// errorEvent returns the error event in the format of the request's API.
func (g *guard) errorEvent(err error) []byte {
	if g.streams.cfg.ErrorEvent != nil {
		return g.streams.cfg.ErrorEvent(err)
	}
	return apierror.EventFor(g.req, err)
}

// end sends the reason to the client, cuts the connection and cancels the request. The caller
// holds mu.
func (g *guard) end(reason error) {
	e := &apierror.Error{Status: http.StatusGatewayTimeout, Code: "stream_timeout", Message: "The stream was ended by a time limit.", Err: reason}
	cause := error(e)
	switch {
	case errors.Is(reason, ErrDraining):
		e.Status, e.Code, e.Message = http.StatusServiceUnavailable, "shutting_down", "The server is shutting down."
	case errors.Is(reason, ErrIdle):
		cause = fault.Join(e, exchange.ErrTimeout) // the upstream's fault, not the client's
	}
	g.err = cause
	if !g.packed && g.between.Between() {
		g.deadline(time.Now().Add(endGrace))
		_, _ = g.ResponseWriter.Write(g.errorEvent(e))
		_ = g.flush()
	}
	g.cut = true
	g.deadline(past)
	g.cancel(cause)
}
