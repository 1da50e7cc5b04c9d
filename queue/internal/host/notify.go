package host

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"

	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// The notifications between processes.
const (
	// Changed follows a change of a record.
	Changed = "changed"
	// Stop ends the work of an ID.
	Stop = "stop"
	// LaneNews takes the place of an ID: a lane has new tasks.
	LaneNews = "lanes"
)

// Stopped passes on that the work of an ID was stopped.
func (h *Host) Stopped(id string) {
	for _, p := range h.parts {
		if p.Stopped != nil {
			p.Stopped(id)
		}
	}
}

// Publish adds a task to a lane and notifies the workers.
func Publish(ctx context.Context, store *jet.Store, lane jet.Lane, t *task.Task) error {
	payload, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := store.Tasks.Publish(ctx, lane, t.Name(), payload); err != nil {
		return err
	}
	Announce(store, lane)
	return nil
}

// Announce notifies the workers of new tasks in a lane.
func Announce(store *jet.Store, l jet.Lane) {
	store.Notify(LaneNews, strconv.Itoa(l.Class)+"."+l.Tenant)
}

// ParseLane parses what Announce sends.
func ParseLane(word string) (l jet.Lane, ok bool) {
	class, tenant, _ := strings.Cut(word, ".")
	n, err := strconv.Atoi(class)
	return jet.Lane{Class: n, Tenant: tenant}, err == nil
}

// Waiters are notified when something about an ID changes.
type Waiters struct {
	mu  sync.Mutex
	all map[string]map[chan struct{}]struct{}
}

// NewWaiters returns Waiters.
func NewWaiters() *Waiters { return &Waiters{all: map[string]map[chan struct{}]struct{}{}} }

// Add returns a channel that receives after each change, until leave is called.
func (w *Waiters) Add(id string) (news <-chan struct{}, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan struct{}, 1)
	if w.all[id] == nil {
		w.all[id] = map[chan struct{}]struct{}{}
	}
	w.all[id][c] = struct{}{}
	return c, func() { w.leave(id, c) }
}

func (w *Waiters) leave(id string, c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all[id], c)
	if len(w.all[id]) == 0 {
		delete(w.all, id)
	}
}

// Wake notifies the waiters of an ID.
func (w *Waiters) Wake(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.all[id] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
