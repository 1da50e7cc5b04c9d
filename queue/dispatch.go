package queue

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ginfer/ginfer/queue/internal/fair"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/panjf2000/ants/v2"
)

const (
	// pollEvery is how often all lanes are looked at: news can be lost, and tasks of
	// a process that died come again without any.
	pollEvery = time.Second
	// spareEvery is how often SpareCapacity is asked when there was none.
	spareEvery = 20 * time.Millisecond
	// faultPause is how long a lane rests that could not be read.
	faultPause = 300 * time.Millisecond
)

// dispatcher gives tasks to workers, fairly.
type dispatcher struct {
	q     *Queue
	store *jet.Store
	kept  *keeper
	news  chan struct{}

	mu      sync.Mutex
	picker  *fair.Picker
	busy    int            // workers
	begun   int            // tasks that have not reached the handler
	tenants map[string]int // workers by tenant
}

func newDispatcher(q *Queue, store *jet.Store, kept *keeper) *dispatcher {
	shares, _ := classes()
	return &dispatcher{q: q, store: store, kept: kept, news: make(chan struct{}, 1), picker: fair.New(shares, q.cfg.Weight), tenants: map[string]int{}}
}

// run hands out tasks until ctx ends, and waits for those that run. They run under
// work.
func (d *dispatcher) run(ctx, work context.Context) {
	var polls sync.WaitGroup
	defer polls.Wait()
	polls.Go(func() { d.poll(ctx) })
	if d.q.cfg.Workers < 0 {
		<-ctx.Done()
		return
	}
	pool, err := ants.NewPool(d.q.cfg.Workers, ants.WithDisablePurge(true))
	if err != nil { // only for options that are not used
		return
	}
	defer pool.Release()
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		lane, n, wait := d.next(time.Now())
		if n == 0 {
			d.rest(ctx, wait)
			continue
		}
		for _, del := range d.fetch(ctx, lane, n) {
			d.kept.hold(del)
			running.Add(1)
			if pool.Submit(func() { defer running.Done(); d.work(work, lane, del) }) != nil {
				running.Done()
			}
		}
	}
}

// next is the lane to serve, and how many tasks it may have.
func (d *dispatcher) next(now time.Time) (lane jet.Lane, n int, wait time.Duration) {
	d.mu.Lock()
	free, begun := d.q.cfg.Workers-d.busy, d.begun
	d.mu.Unlock()
	if free <= 0 {
		return lane, 0, pollEvery
	}
	if d.q.cfg.SpareCapacity != nil {
		if free = min(free, d.q.cfg.SpareCapacity()-begun); free <= 0 {
			return lane, 0, spareEvery
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	lane, others, ok, wait := d.picker.Next(now, func(l jet.Lane) bool { return d.room(l) > 0 })
	if !ok {
		return lane, 0, min(wait, pollEvery)
	}
	return lane, min(max(free/(others+1), 1), d.room(lane)), 0
}

// room is how many more tasks a lane's tenant may have. The caller holds mu.
func (d *dispatcher) room(l jet.Lane) int {
	if d.q.cfg.TenantWorkers <= 0 {
		return d.q.cfg.Workers
	}
	return d.q.cfg.TenantWorkers - d.tenants[l.Tenant]
}

func (d *dispatcher) rest(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-d.news:
	case <-t.C:
	case <-ctx.Done():
	}
}

// fetch takes tasks, and counts them as under way.
func (d *dispatcher) fetch(ctx context.Context, lane jet.Lane, n int) []*jet.Delivery {
	asked := time.Now()
	all, err := d.store.Fetch(ctx, lane, n)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err != nil:
		d.picker.Pause(lane, time.Now().Add(faultPause))
	case len(all) == 0:
		d.picker.Empty(lane, asked)
	}
	d.picker.Took(lane, len(all))
	d.busy += len(all)
	d.begun += len(all)
	d.tenants[lane.Tenant] += len(all)
	return all
}

// work carries out one task.
func (d *dispatcher) work(ctx context.Context, lane jet.Lane, del *jet.Delivery) {
	var entered bool
	enter := func() {
		if !entered {
			entered = true
			d.mu.Lock()
			d.begun--
			d.mu.Unlock()
		}
	}
	defer func() {
		enter()
		d.kept.drop(del)
		d.mu.Lock()
		d.busy--
		if d.tenants[lane.Tenant]--; d.tenants[lane.Tenant] == 0 {
			delete(d.tenants, lane.Tenant)
		}
		d.mu.Unlock()
		d.nudge()
	}()
	a := attempt{q: d.q, store: d.store, lanes: d, lane: lane, msg: del, enter: enter}
	a.run(ctx)
}

func (d *dispatcher) nudge() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// heard is news of a lane.
func (d *dispatcher) heard(word string) {
	class, tenant, _ := strings.Cut(word, ".")
	if n, err := strconv.Atoi(class); err == nil {
		d.ready(jet.Lane{Class: n, Tenant: tenant}, time.Now())
	}
}

// ready says that a lane has tasks from a time on.
func (d *dispatcher) ready(lane jet.Lane, at time.Time) {
	d.mu.Lock()
	d.picker.Ready(lane, time.Now(), at)
	d.mu.Unlock()
	d.nudge()
}

// pause lets a lane rest: its tenant is told to come later.
func (d *dispatcher) pause(lane jet.Lane, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.picker.Pause(lane, time.Now().Add(wait))
}

// poll looks at all lanes, now and then.
func (d *dispatcher) poll(ctx context.Context) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		d.look(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (d *dispatcher) look(ctx context.Context) {
	lanes, err := d.store.Lanes(ctx)
	if ctx.Err() != nil {
		return
	}
	d.q.noteHealth(ctx, err)
	if err != nil {
		return
	}
	now, total := time.Now(), uint64(0)
	d.store.Forget(lanes)
	d.mu.Lock()
	d.picker.Keep(lanes, now)
	for lane, n := range lanes {
		total += n
		d.picker.Ready(lane, now, now)
	}
	running := d.busy
	d.mu.Unlock()
	d.nudge()
	d.q.emit(ctx, Event{Kind: Depth, Line: -1, Tasks: total, Running: running})
}
