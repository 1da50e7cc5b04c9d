package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// attempt carries out one task once. It ends the message, or leaves that to the lease
// when the store does not respond.
//
// The order makes results exactly one: the result is written if there is none, then
// what follows from it, then the message ends. After a crash at any point the message
// is redelivered, and the Run finds how far the task came.
type attempt struct {
	q     *Queue
	store *jet.Store
	lanes *dispatcher
	lane  jet.Lane
	msg   *jet.Delivery
	enter func() // called when the handler is reached

	task   task.Task
	state  host.Run
	number int // of the attempt
}

func (a *attempt) run(ctx context.Context) {
	ok, err := a.open(ctx)
	if err == nil && ok {
		err = a.carryOut(ctx)
	}
	if err != nil { // of the store: the task runs later, or in another process
		_ = a.msg.Nak(a.q.cfg.Backoff)
		a.lanes.ready(a.lane, time.Now().Add(a.q.cfg.Backoff))
	}
}

// open reads the task and reports whether its result is needed.
func (a *attempt) open(ctx context.Context) (bool, error) {
	payload, err := a.msg.Payload(ctx)
	if errors.Is(err, jet.ErrNotFound) { // the payload expired first
		return false, a.deadLetter(ctx, "the payload is gone")
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(payload, &a.task); err != nil {
		return false, a.deadLetter(ctx, "the task can't be read: "+err.Error())
	}
	a.state, err = a.q.host.Open(ctx, a.store, &a.task, a.msg.Attempt > 1)
	if errors.Is(err, host.ErrNotNeeded) {
		return false, a.msg.Ack(ctx)
	}
	return err == nil, err
}

// carryOut runs the request and acts on the response.
func (a *attempt) carryOut(ctx context.Context) (err error) {
	run, leave := a.q.runs.enter(ctx, a.task.ID, a.q.cfg.Timeout) // from here on it can be stopped
	defer leave()
	if a.number, err = a.state.Begin(ctx); err != nil {
		return err
	}
	switch {
	case a.number == 0: // the task ended meanwhile
		return a.msg.Ack(ctx)
	case a.number > a.q.cfg.Attempts: // the last attempt never ended
		return a.giveUp(ctx)
	}
	e := a.event(Started)
	e.Delay = time.Since(a.msg.Published)
	a.q.Emit(ctx, e)
	info := Info{ID: a.task.ID, Line: a.task.Number(), Tenant: a.lane.Tenant, Attempt: a.number, Priority: priorityOf(a.lane)}
	a.enter()
	res := a.q.execute(run, &a.task, info)
	switch {
	case errors.As(context.Cause(run), &stoppedError{}):
		return a.msg.Ack(ctx) // the result was written when it was stopped
	case ctx.Err() != nil: // this process ends
		a.state.Undo(context.WithoutCancel(ctx))
		return a.msg.Nak(0)
	case res.Retriable() && a.number < a.q.cfg.Attempts:
		return a.retry(ctx, &res)
	}
	return a.end(ctx, &res)
}

// redelivery is the margin after which a message that was returned with a delay is
// there again.
const redelivery = 20 * time.Millisecond

// retry returns the task. A Retry-After of the response pauses the tenant's lane: its
// other tasks would get the same response.
func (a *attempt) retry(ctx context.Context, res *task.Response) error {
	wait, requested := a.q.delay(res, a.number)
	if requested {
		a.lanes.pause(a.lane, min(wait, a.q.cfg.MaxBackoff))
	}
	if err := a.msg.Nak(wait); err != nil {
		return err
	}
	a.lanes.ready(a.lane, time.Now().Add(wait+redelivery))
	e := a.event(Retried)
	e.Delay, e.Status, e.Err = wait, res.Status, res.Err
	a.q.Emit(ctx, e)
	return nil
}

// end writes the result. A failed job becomes a dead letter; a failed line only after a
// panic, as its response is in the batch's error file.
func (a *attempt) end(ctx context.Context, res *task.Response) error {
	if err := a.state.End(ctx, res, a.number); err != nil {
		return err
	}
	e := a.event(Done)
	e.Status, e.Duration, e.Err = res.Status, res.Took, res.Err
	a.q.Emit(ctx, e)
	if res.Retriable() && a.task.Kind == task.Job || errors.Is(res.Err, task.ErrPanic) {
		return a.deadLetter(ctx, reason(res, a.number))
	}
	return a.msg.Ack(ctx)
}

func reason(res *task.Response, attempts int) string {
	if res.Err != nil {
		return fmt.Sprintf("failed %d times, at last: %v", attempts, res.Err)
	}
	return fmt.Sprintf("failed %d times, at last: status %d", attempts, res.Status)
}

// giveUp ends a task after attempts without an end.
func (a *attempt) giveUp(ctx context.Context) error {
	ended := &task.Error{Code: "worker_lost", Message: fmt.Sprintf("The request was begun %d times and never came to an end.", a.number-1)}
	if err := a.state.End(ctx, &task.Response{Err: ended}, a.number-1); err != nil {
		return err
	}
	return a.deadLetter(ctx, ended.Message)
}

func (a *attempt) deadLetter(ctx context.Context, reason string) error {
	err := a.msg.DeadLetter(ctx, jet.Letter{Kind: a.task.Kind, ID: a.task.ID, Tenant: a.lane.Tenant, Reason: reason, Attempts: a.msg.Attempt})
	if err == nil {
		e := a.event(Dead)
		e.Err = errors.New(reason)
		a.q.Emit(ctx, e)
	}
	return err
}

func (a *attempt) event(kind Kind) Event {
	return Event{
		Kind: kind, ID: a.task.ID, Batch: a.task.Kind == task.Line, Line: a.task.Number(), Tenant: a.lane.Tenant,
		Priority: priorityOf(a.lane), Attempt: max(a.number, 1),
	}
}
