package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/nats-io/nats.go"
)

// Queue takes jobs and batches and carries them out. It is safe for concurrent use.
type Queue struct {
	cfg     Config
	hooks   *caller
	waiters *waiters
	runs    *runs
	batches *batchCache

	running atomic.Bool
	store   atomic.Pointer[jet.Store]
	lanes   atomic.Pointer[dispatcher]
	health  atomic.Int32 // unknown, up, down
}

// New checks cfg and returns a Queue. The error joins every fault. Until
// [Queue.Run] has connected, its handlers answer 503.
func New(cfg Config) (*Queue, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.complete()
	if cfg.ResultTTL < cfg.Window || cfg.FileTTL < cfg.Window {
		return nil, errors.New("queue: ResultTTL and FileTTL must not be shorter than Window")
	}
	q := &Queue{cfg: cfg, waiters: newWaiters(cfg.Limits.Waiters), runs: newRuns(), batches: newBatchCache()}
	if w := cfg.Webhooks; w != nil {
		q.hooks = newCaller(w)
	}
	return q, nil
}

// ErrRunning: Run runs already.
var ErrRunning = errors.New("queue: Run runs already")

// ErrClosed: the connection was closed by somebody else.
var ErrClosed = errors.New("queue: the connection was closed")

// Run connects to the store and carries out what is there, until ctx ends; then it
// gives tasks a little time to end, and what is left to others. Its error is
// [ErrRunning] or [ErrClosed].
func (q *Queue) Run(ctx context.Context) error {
	if !q.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer q.running.Store(false)
	nc, store := q.connect(ctx)
	if store == nil {
		return nil // ctx ended
	}
	defer nc.Close()
	stop, err := store.Listen(q.heard)
	if err != nil {
		return err
	}
	defer stop()
	q.store.Store(store)
	defer q.store.Store(nil)
	return q.serve(ctx, nc, store)
}

// serve runs all loops until ctx ends.
func (q *Queue) serve(ctx context.Context, nc *nats.Conn, store *jet.Store) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	kept := newKeeper(store.Lease())
	d := newDispatcher(q, store, kept)
	q.lanes.Store(d)
	defer q.lanes.Store(nil)

	// Tasks outlive ctx a little.
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var tasks, loops sync.WaitGroup
	loops.Go(func() { kept.run(work) })
	tasks.Go(func() { d.run(ctx, work) })
	tasks.Go(func() { q.drive(ctx, store, kept) })
	if q.hooks != nil {
		tasks.Go(func() { q.call(ctx, store, kept) })
	}
	tasks.Go(func() { q.clean(ctx, store) })
	tasks.Go(func() { q.watch(ctx, nc, cancel) })
	<-ctx.Done()
	grace := time.AfterFunc(q.cfg.DrainTimeout, end)
	defer grace.Stop()
	tasks.Wait()
	end()
	loops.Wait()
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return nil
}

// connect tries until it works or ctx ends.
func (q *Queue) connect(ctx context.Context) (*nats.Conn, *jet.Store) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		nc, err := q.cfg.Connect(ctx)
		if err == nil {
			var store *jet.Store
			if store, err = jet.Open(ctx, nc, q.storeConfig()); err == nil {
				q.noteHealth(ctx, nil)
				return nc, store
			}
			nc.Close()
		}
		if ctx.Err() == nil {
			q.noteHealth(ctx, err)
		}
		if !jet.Sleep(ctx, wait) {
			return nil, nil
		}
	}
}

func (q *Queue) storeConfig() jet.Config {
	c, l := &q.cfg, &q.cfg.Limits
	return jet.Config{
		Name: c.Name, Replicas: c.Replicas, MaxTasks: int64(l.Tasks), MaxPerLane: int64(l.TenantTasks), MaxBytes: l.StoreBytes,
		Lease: c.Lease, Window: 2 * time.Minute, RecordTTL: c.ResultTTL, FileTTL: c.FileTTL, DeadTTL: c.DeadTTL, MaxDead: int64(l.DeadLetters),
	}
}

// watch ends Run when the connection is gone for good.
func (q *Queue) watch(ctx context.Context, nc *nats.Conn, cancel context.CancelCauseFunc) {
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	select {
	case <-closed:
		cancel(ErrClosed)
	case <-ctx.Done():
	}
}

// noteHealth tells of a change between up and down.
func (q *Queue) noteHealth(ctx context.Context, err error) {
	const up, down = 1, 2
	e, now := Event{Kind: StoreUp, Line: -1}, int32(up)
	if err != nil {
		e.Kind, e.Err, now = StoreDown, err, down
	}
	if q.health.Swap(now) != now {
		q.emit(ctx, e)
	}
}

func (q *Queue) emit(ctx context.Context, e Event) {
	if q.cfg.OnEvent != nil {
		q.cfg.OnEvent(ctx, e)
	}
}

// backend is the store, once there is one.
func (q *Queue) backend() (*jet.Store, error) {
	if s := q.store.Load(); s != nil {
		return s, nil
	}
	return nil, unavailable(errors.New("queue: not connected"))
}

// Words between processes.
const (
	wordChanged = "changed"
	wordStop    = "stop"
	// laneNews is no ID: a lane has something new.
	laneNews = "lanes"
)

// heard is called with what any process notifies.
func (q *Queue) heard(id, word string) {
	if id == laneNews {
		if d := q.lanes.Load(); d != nil {
			d.heard(word)
		}
		return
	}
	if word == wordStop {
		q.batches.drop(id)
		q.runs.stop(id)
	}
	q.waiters.wake(id)
}
