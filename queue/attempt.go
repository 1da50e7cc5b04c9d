package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
)

// The outcomes of results.
const (
	outcomeOK        = "ok"
	outcomeFailed    = "failed"
	outcomeCancelled = "cancelled"
	outcomeExpired   = "expired"
)

// attempt carries out one task once. It ends the message, or leaves that to the
// lease when the store does not answer.
//
// The order is what makes results exactly one: the result is written if there is
// none, then what follows from it, then the message ends. A crash anywhere brings the
// message again, which finds how far it came.
type attempt struct {
	q     *Queue
	store *jet.Store
	lanes *dispatcher
	lane  jet.Lane
	msg   *jet.Delivery
	enter func() // the handler is reached

	task  task
	job   jobRecord // of a job
	rev   uint64
	tries int // this one too
}

func (a *attempt) run(ctx context.Context) {
	ok, err := a.prepare(ctx)
	if err == nil && ok {
		err = a.try(ctx)
	}
	if err != nil { // the store: later, or by another process
		_ = a.msg.Nak(a.q.cfg.Backoff)
		a.lanes.ready(a.lane, time.Now().Add(a.q.cfg.Backoff))
	}
}

// prepare reads the task and says whether it is to be done.
func (a *attempt) prepare(ctx context.Context) (bool, error) {
	payload, err := a.msg.Payload(ctx)
	if errors.Is(err, jet.ErrNotFound) { // its payload expired before its turn came
		return false, a.bury(ctx, "the payload is gone")
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(payload, &a.task); err != nil {
		return false, a.bury(ctx, "the task can't be read: "+err.Error())
	}
	wanted, err := a.wanted(ctx)
	if err != nil {
		return false, err
	}
	if !wanted {
		return false, a.msg.Done(ctx)
	}
	return true, nil
}

// wanted says whether anybody still waits for the result.
func (a *attempt) wanted(ctx context.Context) (bool, error) {
	if a.task.Kind == kindJob {
		return a.wantedJob(ctx)
	}
	b, err := a.q.batches.get(ctx, a.store, a.task.Owner, a.task.ID)
	if errors.Is(err, jet.ErrNotFound) {
		return false, nil
	}
	if err != nil || !b.wants(time.Now()) {
		return false, err
	}
	a.task.Origin = b.Origin
	if a.task.Check || a.msg.Attempt > 1 {
		_, err = a.store.Result(ctx, a.task.ID, a.task.Slot)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, jet.ErrNotFound) {
			return false, err
		}
	}
	return true, nil
}

func (a *attempt) wantedJob(ctx context.Context) (bool, error) {
	rec, rev, err := getJob(ctx, a.store, a.task.Owner, a.task.ID)
	if errors.Is(err, jet.ErrNotFound) {
		// The record is written first: it expired.
		return false, nil
	}
	if err != nil {
		return false, err
	}
	a.job, a.rev = *rec, rev
	switch {
	case rec.Round != a.task.Slot:
		return false, nil
	case rec.done():
		return false, a.q.announce(ctx, a.store, rec) // perhaps it was not, before a crash
	case time.Now().After(rec.Expires):
		return false, a.q.endJob(ctx, a.store, rec, jobResult{Outcome: outcomeExpired, Code: "job_expired", Message: "The job ran out of time before it was done."})
	}
	if a.msg.Attempt > 1 || a.task.Check {
		done, err := a.q.settleJob(ctx, a.store, rec)
		return !done, err
	}
	return true, nil
}

// try runs the request and says what came of it.
func (a *attempt) try(ctx context.Context) error {
	run, leave := a.q.runs.enter(ctx, a.task.ID, a.q.cfg.Timeout) // from here on it can be stopped
	defer leave()
	if err := a.begin(ctx); err != nil {
		return err
	}
	switch {
	case a.task.Kind == kindJob && a.job.done(): // it was cancelled meanwhile
		return a.msg.Done(ctx)
	case a.tries > a.q.cfg.Attempts: // the last one ended without a word
		return a.giveUp(ctx, "worker_lost", fmt.Sprintf("The request was begun %d times and never came to an end.", a.tries-1))
	}
	e := a.event(Started)
	e.Delay = time.Since(a.msg.Published)
	a.q.emit(ctx, e)
	info := Info{ID: a.task.ID, Line: a.task.line(), Tenant: a.lane.Tenant, Attempt: a.tries, Priority: a.priority()}
	a.enter()
	ans := a.q.execute(run, &a.task, a.origin(), info)
	switch {
	case errors.As(context.Cause(run), &stopped{}):
		return a.msg.Done(ctx) // who stopped it wrote the result
	case ctx.Err() != nil: // this process ends
		a.takeBack(context.WithoutCancel(ctx))
		return a.msg.Nak(0)
	case ans.retriable() && a.tries < a.q.cfg.Attempts:
		return a.again(ctx, &ans)
	}
	return a.end(ctx, &ans)
}

func (a *attempt) origin() *origin {
	if a.task.Origin == nil {
		return &origin{}
	}
	return a.task.Origin
}

func (a *attempt) priority() Priority {
	_, order := classes()
	return order[a.lane.Class]
}

// begin counts the tries: those of the request, not the deliveries of its message, of
// which more are needed when the store has faults or a process ends.
func (a *attempt) begin(ctx context.Context) error {
	switch {
	case a.task.Kind == kindJob:
		return a.beginJob(ctx)
	case a.msg.Attempt == 1: // as most are
		a.tries = 1
		return nil
	}
	n, err := a.count(ctx)
	if err != nil {
		return err
	}
	a.tries = n + 1
	return a.store.Put(ctx, a.countKey(), []byte(strconv.Itoa(a.tries)))
}

func (a *attempt) countKey() string { return triedLines + "." + a.task.name() }

// count is how often a line was begun before.
func (a *attempt) count(ctx context.Context) (int, error) {
	value, _, err := a.store.Get(ctx, a.countKey())
	if errors.Is(err, jet.ErrNotFound) {
		return 1, nil // the first is not written down
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(value))
	return n, err
}

// takeBack uncounts a try that came to no end because this process does. It is no
// harm if that fails.
func (a *attempt) takeBack(ctx context.Context) {
	if a.task.Kind == kindLine {
		_ = a.store.Put(ctx, a.countKey(), []byte(strconv.Itoa(a.tries-1)))
		return
	}
	_, _ = updateJob(ctx, a.store, &a.job, a.rev, func(rec *jobRecord) bool {
		if rec.done() {
			return false
		}
		rec.Attempts = max(rec.Attempts-1, 0)
		return true
	})
}

// beginJob shows that the job runs, unless it was cancelled meanwhile.
func (a *attempt) beginJob(ctx context.Context) error {
	rec, err := updateJob(ctx, a.store, &a.job, a.rev, func(rec *jobRecord) bool {
		if rec.done() {
			return false
		}
		rec.Status = statusInProgress
		rec.Attempts++
		if rec.Started.IsZero() {
			rec.Started = time.Now()
		}
		return true
	})
	if err != nil {
		return err
	}
	a.job, a.tries = *rec, rec.Attempts
	a.store.Notify(rec.ID, wordChanged)
	return nil
}

// afterwards is when a task that was given back is surely there again, after its time.
const afterwards = 20 * time.Millisecond

// again gives the task back. When the answer asked to wait, so does the tenant's
// lane: the others in it would hear the same.
func (a *attempt) again(ctx context.Context, ans *answer) error {
	wait, asked := a.q.delay(ans, a.tries)
	if asked {
		a.lanes.pause(a.lane, min(wait, a.q.cfg.MaxBackoff))
	}
	if err := a.msg.Nak(wait); err != nil {
		return err
	}
	a.lanes.ready(a.lane, time.Now().Add(wait+afterwards))
	e := a.event(Retried)
	e.Delay, e.Status, e.Err = wait, ans.status, ans.err
	a.q.emit(ctx, e)
	return nil
}

// end writes the result.
func (a *attempt) end(ctx context.Context, ans *answer) error {
	var err error
	if a.task.Kind == kindJob {
		err = a.q.endJob(ctx, a.store, &a.job, jobResultOf(ans, a.tries))
	} else {
		err = a.commitLine(ctx, ans)
	}
	if err != nil {
		return err
	}
	e := a.event(Done)
	e.Status, e.Duration, e.Err = ans.status, ans.took, ans.err
	a.q.emit(ctx, e)
	if ans.retriable() && a.task.Kind == kindJob || errors.Is(ans.err, errPanic) {
		return a.bury(ctx, ans.reason(a.tries))
	}
	return a.msg.Done(ctx)
}

func (a *answer) reason(attempts int) string {
	if a.err != nil {
		return fmt.Sprintf("failed %d times, at last: %v", attempts, a.err)
	}
	return fmt.Sprintf("failed %d times, at last: status %d", attempts, a.status)
}

// commitLine writes a line of the output. Another one is as good as this.
func (a *attempt) commitLine(ctx context.Context, ans *answer) error {
	outcome := outcomeFailed
	if ans.err == nil && ans.status/100 == 2 {
		outcome = outcomeOK
	}
	err := a.store.Commit(ctx, jet.Result{ID: a.task.ID, Slot: a.task.Slot, Outcome: outcome, Value: outputLine(&a.task, ans)})
	if errors.Is(err, jet.ErrExists) {
		return nil
	}
	return err
}

// giveUp ends a task that no try can end.
func (a *attempt) giveUp(ctx context.Context, code, message string) error {
	var err error
	if a.task.Kind == kindJob {
		err = a.q.endJob(ctx, a.store, &a.job, jobResult{Outcome: outcomeFailed, Code: code, Message: message, Attempts: a.tries - 1})
	} else {
		err = a.commitLine(ctx, &answer{err: &lineError{code, message}})
	}
	if err != nil {
		return err
	}
	return a.bury(ctx, message)
}

// bury makes the task a dead letter.
func (a *attempt) bury(ctx context.Context, reason string) error {
	err := a.msg.DeadLetter(ctx, jet.Letter{Kind: a.task.Kind, ID: a.task.ID, Tenant: a.lane.Tenant, Reason: reason, Attempts: a.msg.Attempt})
	if err == nil {
		e := a.event(Dead)
		e.Err = errors.New(reason)
		a.q.emit(ctx, e)
	}
	return err
}

func (a *attempt) event(kind Kind) Event {
	return Event{
		Kind: kind, ID: a.task.ID, Batch: a.task.Kind == kindLine, Line: a.task.line(), Tenant: a.lane.Tenant,
		Priority: a.priority(), Attempt: max(a.tries, 1),
	}
}

// lineError is the "error" member of an output line.
type lineError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (e *lineError) Error() string { return e.Message }

// errorOf words an error for the owner of the task; it tells nothing of the inside.
func errorOf(err error) *lineError {
	var own *lineError
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, context.DeadlineExceeded):
		return &lineError{"timeout", "The request took too long."}
	case errors.Is(err, errLong):
		return &lineError{"response_too_large", "The answer is too large to be kept."}
	case errors.Is(err, errCut):
		return &lineError{"response_cut", "The answer broke off."}
	case errors.Is(err, http.ErrHandlerTimeout):
		return &lineError{"timeout", "The request took too long."}
	}
	return &lineError{"request_failed", "The request could not be carried out."}
}
