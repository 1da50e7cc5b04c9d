package demomodel

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// errFull is returned by acquire when no more requests may wait.
var errFull = errors.New("demomodel: queue is full")

// queue hands out slots in the order of the requests for them.
type queue struct {
	slots, places int

	mu      sync.Mutex
	running int
	waiting list.List // of chan struct{}, closed when its slot is given
}

func newQueue(slots, places int) *queue {
	return &queue{slots: slots, places: places}
}

// acquire waits for a slot. Each nil must be followed by one release.
func (q *queue) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	if q.running < q.slots {
		q.running++
		q.mu.Unlock()
		return nil
	}
	if q.waiting.Len() >= q.places {
		q.mu.Unlock()
		return errFull
	}
	given := make(chan struct{})
	place := q.waiting.PushBack(given)
	q.mu.Unlock()

	select {
	case <-given:
		return nil
	case <-ctx.Done():
		q.leave(place, given)
		return ctx.Err()
	}
}

// leave gives up a place, or the slot that was given at the same moment.
func (q *queue) leave(place *list.Element, given <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-given:
		q.pass()
	default:
		q.waiting.Remove(place)
	}
}

// release gives a slot back.
func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pass()
}

// pass gives a free slot to the request that waits longest. So a newcomer
// never finds a free slot while others wait.
func (q *queue) pass() {
	first := q.waiting.Front()
	if first == nil {
		q.running--
		return
	}
	close(q.waiting.Remove(first).(chan struct{})) //nolint:forcetypeassert // the list holds nothing else
}

// load returns how many requests run and wait.
func (q *queue) load() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running, q.waiting.Len()
}
