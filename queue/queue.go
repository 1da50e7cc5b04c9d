package queue

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/nats-io/nats.go"
)

// Queue stores tasks and carries them out. It is safe for concurrent use.
type Queue struct {
	cfg  Config
	host *host.Host
	runs *runs

	running atomic.Bool
	lanes   atomic.Pointer[dispatcher]
	health  atomic.Int32 // unknown, up, down
}

// New returns a Queue. The error joins all faults of cfg. Until [Queue.Run] has
// connected, all handlers respond with 503.
func New(cfg Config) (*Queue, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.complete()
	if cfg.ResultTTL < cfg.Window || cfg.FileTTL < cfg.Window {
		return nil, errors.New("queue: Config.ResultTTL and FileTTL must not be shorter than Window")
	}
	return &Queue{cfg: cfg, runs: newRuns(), host: host.New(host.Config{
		Owner: cfg.Owner, Tenant: cfg.Tenant, Identity: cfg.Identity, Headers: cfg.Headers, Endpoints: cfg.Endpoints,
		Window: cfg.Window, FileTTL: cfg.FileTTL, ErrorHandler: cfg.ErrorHandler,
	})}, nil
}

// Register adds kinds of work, before [Queue.Run]. Only packages batch and jobs can use
// it: its types are internal to the queue.
func (q *Queue) Register(part *host.Part) (*host.Host, error) {
	if q.running.Load() {
		return nil, ErrRunning
	}
	return q.host, q.host.Register(part)
}

// Run connects to the store and carries out tasks until ctx ends. Then it gives running
// tasks up to DrainTimeout, and leaves the rest to other processes. The error is
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
	stop, err := store.Listen(q.notified)
	if err != nil {
		return err
	}
	defer stop()
	q.host.Connected(store)
	defer q.host.Connected(nil)
	return q.serve(ctx, nc, store)
}

// serve runs all loops until ctx ends.
func (q *Queue) serve(ctx context.Context, nc *nats.Conn, store *jet.Store) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	leases := store.NewLeases()
	d := newDispatcher(q, store, leases)
	q.lanes.Store(d)
	defer q.lanes.Store(nil)

	// Tasks may outlive ctx by DrainTimeout.
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var tasks, loops sync.WaitGroup
	loops.Go(func() { leases.Run(work) })
	tasks.Go(func() { d.run(ctx, work) })
	for _, part := range q.host.Parts() {
		for _, loop := range part.Loops {
			tasks.Go(func() { loop(ctx, store, leases) })
		}
	}
	tasks.Go(func() { q.watch(ctx, nc, cancel) })
	<-ctx.Done()
	drain := time.AfterFunc(q.cfg.DrainTimeout, end)
	defer drain.Stop()
	tasks.Wait()
	end()
	loops.Wait()
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return nil
}

// connect repeats until it succeeds or ctx ends.
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

// watch ends Run when the connection is closed for good.
func (q *Queue) watch(ctx context.Context, nc *nats.Conn, cancel context.CancelCauseFunc) {
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	select {
	case <-closed:
		cancel(ErrClosed)
	case <-ctx.Done():
	}
}

// noteHealth reports a change between up and down.
func (q *Queue) noteHealth(ctx context.Context, err error) {
	const up, down = 1, 2
	e, now := Event{Kind: StoreUp, Line: -1}, int32(up)
	if err != nil {
		e.Kind, e.Err, now = StoreDown, err, down
	}
	q.host.SetDown(err)
	if q.health.Swap(now) != now {
		q.Emit(ctx, e)
	}
}

// Down returns why the store does not accept work, or nil while it does. Use it for a readiness
// probe; it makes no call.
func (q *Queue) Down() error {
	if _, err := q.host.Store(); err != nil {
		return cmp.Or(q.host.Down(), err)
	}
	return q.host.Down()
}

// notified is called with the notifications of all processes.
func (q *Queue) notified(id, word string) {
	if id == host.LaneNews {
		d := q.lanes.Load()
		if lane, ok := host.ParseLane(word); ok && d != nil {
			d.ready(lane, time.Now())
		}
		return
	}
	if word == host.Stop {
		q.host.Stopped(id)
		q.runs.stop(id)
	}
	q.host.Waiters.Wake(id)
}
