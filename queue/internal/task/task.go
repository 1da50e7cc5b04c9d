// Package task has what the queue and the packages that define kinds of work share: the
// tasks in the lanes, and the responses to them.
package task

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/ginfer/ginfer/queue/internal/jet"
)

// The kinds of tasks, and of dead letters.
const (
	Job     = "job"
	Line    = "line"
	Webhook = "webhook"
)

// The outcomes of results.
const (
	Succeeded = "ok"
	Failed    = "failed"
	Cancelled = "cancelled"
	Expired   = "expired"
)

// Task is one request in a lane.
type Task struct {
	// Kind is Job or Line.
	Kind  string `json:"kind"`
	Owner string `json:"owner"`
	// ID is that of the job or batch; Slot the job's round or the batch's line.
	ID   string `json:"id"`
	Slot int    `json:"slot"`
	// Check is set when the task may have a result already.
	Check    bool            `json:"check,omitempty"`
	CustomID string          `json:"custom_id,omitempty"`
	Method   string          `json:"method"`
	URL      string          `json:"url"`
	Body     json.RawMessage `json:"body"`
	// Origin is the submitter. A line has its batch's.
	Origin *Origin `json:"origin,omitempty"`
}

// Origin is what is stored of the request that submitted a task.
type Origin struct {
	Identity []byte      `json:"identity,omitempty"`
	Header   http.Header `json:"header,omitempty"`
	Remote   string      `json:"remote,omitempty"`
}

// Name identifies the task. It is the same in each attempt.
func (t *Task) Name() string { return t.ID + "-" + strconv.Itoa(t.Slot) }

// Number is the line of a batch, from 0; -1 for a job.
func (t *Task) Number() int {
	if t.Kind == Line {
		return t.Slot
	}
	return -1
}

// Shares are the shares of the lanes' classes: of high, normal and low priority.
func Shares() []int { return []int{16, 4, 1} }

// priorities are the values of queue.Priority by class.
func priorities() []int { return []int{1, 0, 2} }

// LaneOf returns the lane of a tenant and a queue.Priority.
func LaneOf(tenant string, priority int) jet.Lane {
	for class, p := range priorities() {
		if p == priority {
			return jet.Lane{Class: class, Tenant: tenant}
		}
	}
	return jet.Lane{Class: -1, Tenant: tenant}
}

// Priority returns the queue.Priority of a lane.
func Priority(l jet.Lane) (priority int, ok bool) {
	all := priorities()
	if l.Class < 0 || l.Class >= len(all) {
		return 0, false
	}
	return all[l.Class], true
}
