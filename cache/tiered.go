package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// nearPart is the part of an entry's time, one over it, that a replica's own copy
	// has: what others changed is seen after that at the latest.
	nearPart = 10
	// probeEvery is how often a store that is down is asked whether it is back. No request
	// waits for that.
	probeEvery = time.Second
	// probeKey is what it is asked for.
	probeKey = "is-it-back"
)

// errFarDown: the far store is known to be down.
var errFarDown = fmt.Errorf("%w: the far store is down", ErrUnavailable)

// errFills: more is to be written than the far store takes.
var errFills = errors.New("cache: too many writes under way to the far store")

// TieredConfig describes a Tiered. L2 is required. Zero means the default.
type TieredConfig struct {
	// L1 is asked first. Default: a [Memory] of its own.
	L1 *Memory
	// L2 is what replicas share.
	L2 Store
	// Timeout bounds each call to L2. Default 50 ms, at most 150 ms.
	Timeout time.Duration
	// Fills is how many writes to L2 are under way at most; beyond that an entry stays
	// near only, but for one whose key was claimed. Default 64.
	Fills int
	// OnEvent is told when L2 goes down and comes back. Optional.
	OnEvent func(context.Context, Event)
}

// Tiered is a [Store] of two: one in this process, and one that replicas share. Both are
// looked in at once; what is found far is kept near, for a tenth of its time at most.
// Writes to L2 are made beside the request.
//
// While L2 does not answer, there is only L1. L2 is down at its first failure, so
// that no more requests wait for it, and is asked every second whether it is back. It is
// safe for concurrent use.
type Tiered struct {
	cfg TieredConfig

	mu      sync.Mutex
	down    bool
	probing bool
	probe   time.Time         // when to ask again
	fills   map[string]*fill  // writes under way
	claimed map[string]string // owners of keys that L2 has given to this process
	idle    chan struct{}     // closed when the last one ends; nil: nobody waits
}

// fill is a write to L2.
type fill struct {
	entry *Entry // the latest; nil: none any more
	done  chan struct{}
}

// NewTiered checks cfg and returns a Tiered. The error joins every fault.
func NewTiered(cfg TieredConfig) (*Tiered, error) {
	var faults []error
	if cfg.L2 == nil {
		faults = append(faults, errors.New("cache: TieredConfig.L2 is required"))
	}
	if cfg.Timeout < 0 || cfg.Timeout > 150*time.Millisecond {
		faults = append(faults, fmt.Errorf("cache: TieredConfig.Timeout %v is not between 0 and 150 ms", cfg.Timeout))
	}
	if cfg.Fills < 0 {
		faults = append(faults, errors.New("cache: TieredConfig.Fills is negative"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if cfg.L1 == nil {
		near, err := NewMemory(MemoryConfig{OnEvent: cfg.OnEvent})
		if err != nil {
			return nil, err
		}
		cfg.L1 = near
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 50 * time.Millisecond
	}
	if cfg.Fills == 0 {
		cfg.Fills = 64
	}
	return &Tiered{cfg: cfg, fills: map[string]*fill{}, claimed: map[string]string{}}, nil
}

// Get implements Store. A far store that does not answer has nothing.
func (t *Tiered) Get(ctx context.Context, key string) (*Entry, error) {
	now := time.Now()
	if e := t.cfg.L1.get(key, now); e != nil {
		return e, nil
	}
	if t.isDown(ctx) {
		return nil, ErrNotFound
	}
	limited, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	e, err := t.cfg.L2.Get(limited, key)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ErrNotFound
	case err != nil:
		t.fell(ctx, err)
		return nil, ErrNotFound
	}
	_ = t.cfg.L1.Set(ctx, key, nearCopy(e, time.Now())) // a Memory does not fail
	return e, nil
}

// nearCopy is an entry for a part of its time.
func nearCopy(e *Entry, now time.Time) *Entry {
	return e.held(now.Add(e.ExpiresAt.Sub(e.ResponseTime) / nearPart))
}

// Set implements Store. It does not wait for L2.
func (t *Tiered) Set(ctx context.Context, key string, e *Entry) error {
	if t.isDown(ctx) {
		return t.cfg.L1.Set(ctx, key, e) // for all of its time: there is nothing else
	}
	t.mu.Lock()
	f, err := t.fills[key], error(nil)
	switch {
	case f != nil:
		f.entry = e
	case len(t.fills) >= t.cfg.Fills && t.claimed[key] == "": // others wait for what was claimed
		err = errFills
	default:
		f = &fill{entry: e, done: make(chan struct{})}
		t.fills[key] = f
		go t.fill(context.WithoutCancel(ctx), key, f)
	}
	t.mu.Unlock()
	if err != nil {
		t.notify(ctx, Event{Kind: Failed, Key: key, Err: err})
	}
	return t.cfg.L1.Set(ctx, key, nearCopy(e, time.Now()))
}

// fill writes what is the latest until it is written.
func (t *Tiered) fill(ctx context.Context, key string, f *fill) {
	var written *Entry
	for {
		t.mu.Lock()
		e := f.entry
		if e == nil || e == written {
			delete(t.fills, key)
			close(f.done)
			if len(t.fills) == 0 && t.idle != nil {
				close(t.idle)
				t.idle = nil
			}
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		t.write(ctx, key, e)
		written = e
	}
}

func (t *Tiered) write(ctx context.Context, key string, e *Entry) {
	limited, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil { // not on a request's goroutine: it would end the process
			t.fell(ctx, fmt.Errorf("%w: panic: %v", ErrUnavailable, v))
		}
	}()
	if err := t.cfg.L2.Set(limited, key, e); err != nil {
		t.fell(ctx, err)
		_ = t.cfg.L1.Set(ctx, key, e) // for all of its time
	}
}

// Delete implements Store.
func (t *Tiered) Delete(ctx context.Context, key string) error {
	_ = t.cfg.L1.Delete(ctx, key) // a Memory does not fail
	t.mu.Lock()
	f := t.fills[key]
	if f != nil {
		f.entry = nil
	}
	t.mu.Unlock()
	if f != nil {
		<-f.done // it would come after us; its time is bounded
		_ = t.cfg.L1.Delete(ctx, key)
	}
	if t.isDown(ctx) {
		return errFarDown
	}
	limited, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	err := t.cfg.L2.Delete(limited, key)
	if err != nil {
		t.fell(ctx, err)
	}
	return err
}

// Drain waits until no write to L2 is under way, or ctx ends.
func (t *Tiered) Drain(ctx context.Context) error {
	t.mu.Lock()
	if len(t.fills) == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isDown reports whether L2 is down, and sees to it that it is asked from time to time.
func (t *Tiered) isDown(ctx context.Context) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); t.down && !t.probing && now.After(t.probe) {
		t.probing = true
		go t.ask(context.WithoutCancel(ctx))
	}
	return t.down
}

// fell notes that L2 does not answer. A caller that left says nothing of it.
func (t *Tiered) fell(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	begun := !t.down
	if begun {
		t.down, t.probe = true, time.Now().Add(probeEvery)
	}
	t.mu.Unlock()
	if begun {
		t.notify(ctx, Event{Kind: StoreDown, Err: err})
	}
}

// ask tries whether L2 is back. It runs once at a time.
func (t *Tiered) ask(ctx context.Context) {
	back := false
	defer func() {
		_ = recover() // a store that panics is down
		t.mu.Lock()
		t.probing, t.probe, t.down = false, time.Now().Add(probeEvery), !back
		t.mu.Unlock()
		if back {
			t.notify(ctx, Event{Kind: StoreUp})
		}
	}()
	limited, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	_, err := t.cfg.L2.Get(limited, probeKey)
	back = err == nil || errors.Is(err, ErrNotFound)
}

func (t *Tiered) notify(ctx context.Context, e Event) {
	if t.cfg.OnEvent != nil {
		t.cfg.OnEvent(ctx, e)
	}
}
