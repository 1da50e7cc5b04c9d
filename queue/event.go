package queue

import (
	"context"
	"time"

	"github.com/ginfer/ginfer/internal/ginctx"
)

// Kind is the kind of an [Event].
type Kind int

// The kinds of Event.
const (
	// Queued means that a job or batch was accepted.
	Queued Kind = iota
	// Started means that a worker began an attempt.
	Started
	// Done means that a task has its result, or that a batch is completed.
	Done
	// Retried means that there will be another attempt, after Delay.
	Retried
	// Dead means that a task or a webhook was given up and is a dead letter.
	Dead
	// Expired means that a job or batch ran out of time.
	Expired
	// Cancelled means that its owner cancelled a job or batch.
	Cancelled
	// Failed means that the input of a batch is invalid.
	Failed
	// Called means that a webhook was delivered.
	Called
	// StoreDown means that the store does not respond. What was accepted is safe;
	// submissions are refused.
	StoreDown
	// StoreUp means that the store responds again.
	StoreUp
	// Depth reports the number of unfinished tasks, every second.
	Depth
)

// Event is a report of something that happened in this process.
type Event struct {
	// Kind is the kind of event.
	Kind Kind
	// ID is that of the job, or of the batch if Batch is set. It is empty in StoreDown,
	// StoreUp and Depth.
	ID    string
	Batch bool
	// Line is the line of a batch, from 0; -1 in events of jobs and whole batches.
	Line int
	// Tenant is the tenant. The number of tenants is unbounded, so it is no label for a
	// metric.
	Tenant string
	// Priority is the task's.
	Priority Priority
	// Status is the status of the response in Done, Retried and Called; 0 without one.
	Status int
	// Attempt is the number of the attempt, from 1.
	Attempt int
	// Delay is the time until the next attempt in Retried, and the time that the task
	// waited in Started.
	Delay time.Duration
	// Duration is the time that the last attempt took in Done, and the age of a batch
	// that ended.
	Duration time.Duration
	// Tasks is the number of unfinished tasks in Depth; Running those in this process.
	Tasks   uint64
	Running int
	// Err is the reason in Retried, Dead and StoreDown.
	Err error
}

// Emit calls Config.OnEvent. Packages batch and jobs report their events by it.
func (q *Queue) Emit(ctx context.Context, e Event) {
	if q.cfg.OnEvent != nil {
		q.cfg.OnEvent(ctx, e)
	}
}

type contextKey struct{}

// Info identifies the task that a request belongs to.
type Info struct {
	// ID is that of the job or batch. Line is the line of a batch, from 0, or -1.
	ID   string
	Line int
	// Tenant is the tenant; Attempt the number of the attempt, from 1.
	Tenant  string
	Attempt int
	// Priority is the task's.
	Priority Priority
}

// FromContext returns the task that a request belongs to, if it comes from a queue.
// Handlers can prefer live traffic by it.
func FromContext(ctx context.Context) (Info, bool) {
	i, ok := ginctx.Value(ctx, contextKey{}).(Info)
	return i, ok
}
