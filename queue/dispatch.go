package queue

import (
	"context"
	"sync"
	"time"

	"github.com/ginfer/ginfer/queue/internal/fair"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

const (
	// pollEvery is how often all lanes are counted: notifications can be lost, and there
	// are none when the tasks of a process that died are redelivered.
	pollEvery = time.Second
	// spareEvery is how often SpareCapacity is called when there was none.
	spareEvery = 20 * time.Millisecond
	// probeEvery is how often a store is probed by writes. While it is down it is probed at
	// every poll.
	probeEvery = 10 * time.Second
	// faultPause is the pause of a lane that could not be read.
	faultPause = 300 * time.Millisecond
)

// dispatcher hands the tasks of the lanes to workers, fairly: the picker chooses the
// lane, and each task that is fetched gets a goroutine.
type dispatcher struct {
	q      *Queue
	store  *jet.Store
	leases *jet.Leases
	news   chan struct{}

	mu       sync.Mutex
	picker   *fair.Picker
	busy     int            // workers
	starting int            // workers that have not reached the handler
	tenants  map[string]int // workers by tenant
}

func newDispatcher(q *Queue, store *jet.Store, leases *jet.Leases) *dispatcher {
	return &dispatcher{q: q, store: store, leases: leases, news: make(chan struct{}, 1), picker: fair.New(task.Shares(), q.cfg.Weight), tenants: map[string]int{}}
}

// run hands out tasks until ctx ends, and waits for those that run with context work.
func (d *dispatcher) run(ctx, work context.Context) {
	var polls sync.WaitGroup
	defer polls.Wait()
	polls.Go(func() { d.poll(ctx) })
	if d.q.cfg.Workers < 0 {
		<-ctx.Done()
		return
	}
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		if d.q.host.Down() != nil { // no result could be stored
			d.wait(ctx, pollEvery)
			continue
		}
		lane, n, wait := d.next(time.Now())
		if n == 0 {
			d.wait(ctx, wait)
			continue
		}
		for _, del := range d.fetch(ctx, lane, n) {
			d.leases.Add(del)
			running.Go(func() { d.work(work, lane, del) })
		}
	}
}

// next returns the next lane, and how many tasks to fetch from it.
func (d *dispatcher) next(now time.Time) (lane jet.Lane, n int, wait time.Duration) {
	d.mu.Lock()
	free, starting := d.q.cfg.Workers-d.busy, d.starting
	d.mu.Unlock()
	if free <= 0 {
		return lane, 0, pollEvery
	}
	if d.q.cfg.SpareCapacity != nil {
		if free = min(free, d.q.cfg.SpareCapacity()-starting); free <= 0 {
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

// room returns how many more workers a lane's tenant may use. The caller holds mu.
func (d *dispatcher) room(l jet.Lane) int {
	if d.q.cfg.TenantWorkers <= 0 {
		return d.q.cfg.Workers
	}
	return d.q.cfg.TenantWorkers - d.tenants[l.Tenant]
}

func (d *dispatcher) wait(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-d.news:
	case <-t.C:
	case <-ctx.Done():
	}
}

// fetch takes tasks from a lane and counts their workers.
func (d *dispatcher) fetch(ctx context.Context, lane jet.Lane, n int) []*jet.Delivery {
	start := time.Now()
	all, err := d.store.Tasks.Fetch(ctx, lane, n)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err != nil:
		d.picker.Pause(lane, time.Now().Add(faultPause))
	case len(all) == 0:
		d.picker.Empty(lane, start)
	}
	d.picker.Took(lane, len(all))
	d.busy += len(all)
	d.starting += len(all)
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
			d.starting--
			d.mu.Unlock()
		}
	}
	defer func() {
		if recover() != nil { // in an OnEvent: another attempt begins later
			_ = del.Nak(d.q.cfg.Backoff)
			d.ready(lane, time.Now().Add(d.q.cfg.Backoff))
		}
		enter()
		d.leases.Remove(del)
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

// ready marks a lane as having tasks from a time on.
func (d *dispatcher) ready(lane jet.Lane, at time.Time) {
	d.mu.Lock()
	d.picker.Ready(lane, time.Now(), at)
	d.mu.Unlock()
	d.nudge()
}

// pause takes nothing from a lane for a while.
func (d *dispatcher) pause(lane jet.Lane, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.picker.Pause(lane, time.Now().Add(wait))
}

// poll counts all lanes regularly.
func (d *dispatcher) poll(ctx context.Context) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	var probed time.Time
	for doubt := false; ; {
		if doubt || d.q.host.Down() != nil || time.Since(probed) >= probeEvery {
			doubt, probed = true, time.Now()
		}
		d.count(ctx, doubt)
		doubt = false
		select {
		case <-t.C:
		case <-d.q.host.Doubt():
			doubt = true
		case <-ctx.Done():
			return
		}
	}
}

// count counts the tasks of all lanes, after a probe by writes if wanted.
func (d *dispatcher) count(ctx context.Context, probe bool) {
	var err error
	if probe {
		err = d.store.Probe(ctx)
	}
	var lanes map[jet.Lane]uint64
	if err == nil {
		lanes, err = d.store.Tasks.Lanes(jet.Hasty(ctx))
	}
	if ctx.Err() != nil {
		return
	}
	d.q.noteHealth(ctx, err)
	if err != nil {
		return
	}
	now, total := time.Now(), uint64(0)
	d.store.Tasks.Forget(lanes)
	d.mu.Lock()
	d.picker.Keep(lanes, now)
	for lane, n := range lanes {
		total += n
		d.picker.Ready(lane, now, now)
	}
	running := d.busy
	d.mu.Unlock()
	d.nudge()
	d.q.Emit(ctx, Event{Kind: Depth, Line: -1, Tasks: total, Running: running})
}
