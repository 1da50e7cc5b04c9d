package queue

import "time"

// Kind says what an Event is about.
type Kind int

// The kinds of Event.
const (
	// Queued: a job or batch was taken.
	Queued Kind = iota
	// Started: a worker began with a task.
	Started
	// Done: a task has its result, good or bad; a batch is completed.
	Done
	// Retried: a task will be tried again after Delay.
	Retried
	// Dead: a task or a webhook was given up and is a dead letter.
	Dead
	// Expired: a job or batch ran out of time.
	Expired
	// Cancelled: its owner cancelled a job or batch.
	Cancelled
	// Failed: a batch's input is not valid.
	Failed
	// Called: a webhook was delivered.
	Called
	// StoreDown: the store does not answer. What was taken is safe; nothing new is.
	StoreDown
	// StoreUp: it answers again.
	StoreUp
	// Depth: how many tasks are not done, every second.
	Depth
)

// Event tells of something that happened in this process.
type Event struct {
	// Kind says what happened.
	Kind Kind
	// ID is the job's or batch's, Batch says which. Empty in StoreDown, StoreUp and
	// Depth.
	ID    string
	Batch bool
	// Line is, of a task of a batch, its number from 0; otherwise -1.
	Line int
	// Tenant is whose it is. There may be any number of them: it is no label for a
	// metric.
	Tenant string
	// Priority is the task's.
	Priority Priority
	// Status is, in Done and Retried, the HTTP status of the answer; 0 without one.
	Status int
	// Attempt is which try this was, from 1.
	Attempt int
	// Delay is, in Retried, when the next try will be; in Started, how long the task
	// waited.
	Delay time.Duration
	// Duration is, in Done, how long the last try took.
	Duration time.Duration
	// Tasks is, in Depth, how many there are; Running how many run in this process.
	Tasks   uint64
	Running int
	// Err is why, in Retried, Dead and StoreDown.
	Err error
}
