package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/internal/idle"
	"github.com/ginfer/ginfer/internal/outage"
)

const (
	// l1Share is the divisor of an entry's lifetime for its copy in L1: a replica sees the
	// changes of others after that at the latest.
	l1Share = 10
	// probeKey is the key of a probe.
	probeKey = "is-it-back"
)

// errL2Down is returned while L2 is known to be down.
var errL2Down = fmt.Errorf("%w: L2 is down", ErrUnavailable)

// errFills is reported when L2 is too slow for the writes.
var errFills = errors.New("cache: too many writes to L2 under way")

// TieredConfig configures a Tiered. L2 is required.
type TieredConfig struct {
	// L1 is the store in this process. Default: a [Memory] of its own.
	L1 *Memory
	// L2 is the store that replicas share.
	L2 Store
	// Timeout bounds each call to L2. Default: 50 ms, at most 150 ms.
	Timeout time.Duration
	// Fills is the maximum number of concurrent writes to L2. Beyond it an entry is stored
	// in L1 only, except one with a claimed key. Default: 64.
	Fills int
	// OnEvent is called when L2 goes down and comes back. Optional.
	OnEvent func(context.Context, Event)
}

// Tiered is a [Store] of two: L1 in this process, and L2 that replicas share. What is found
// in L2 is copied to L1, for a tenth of its lifetime at most. Writes to L2 do not delay the
// request.
//
// While L2 is down, only L1 is used, so that no more requests wait for it. L2 is down from its
// first failure, or from the third slow call in a row, until it reads and writes again, which
// is probed every second. It is safe for concurrent use.
type Tiered struct {
	cfg TieredConfig

	monitor outage.Monitor // of L2
	writes  idle.Gate      // to L2

	mu      sync.Mutex
	fills   map[string]*fill  // writes under way
	claimed map[string]string // owners of keys that L2 granted to this process
	suspect string            // the key of the latest failed call
}

// fill is a write to L2.
type fill struct {
	entry *Entry // the latest; nil: it was deleted
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
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	if cfg.L1 == nil {
		near, err := NewMemory(MemoryConfig{OnEvent: cfg.OnEvent})
		if err != nil {
			return nil, err
		}
		cfg.L1 = near
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 50*time.Millisecond)
	cfg.Fills = cmp.Or(cfg.Fills, 64)
	t := &Tiered{cfg: cfg, fills: map[string]*fill{}, claimed: map[string]string{}}
	t.monitor.Probe = t.probe
	t.monitor.OnDown = func(ctx context.Context, err error) { t.notify(ctx, Event{Kind: StoreDown, Err: err}) }
	t.monitor.OnUp = func(ctx context.Context) { t.notify(ctx, Event{Kind: StoreUp}) }
	return t, nil
}

// Get implements Store. A failure of L2 is a miss.
func (t *Tiered) Get(ctx context.Context, key string) (*Entry, error) {
	now := time.Now()
	if e := t.cfg.L1.get(key, now); e != nil {
		return e, nil
	}
	if t.monitor.IsDown(ctx) {
		return nil, ErrNotFound
	}
	var e *Entry
	err := t.call(ctx, key, func(ctx context.Context) (err error) {
		e, err = t.cfg.L2.Get(ctx, key)
		return err
	})
	if err != nil {
		return nil, ErrNotFound
	}
	_ = t.cfg.L1.Set(ctx, key, l1Copy(e, time.Now())) // a Memory does not fail
	return e, nil
}

// l1Copy returns an entry that expires earlier.
func l1Copy(e *Entry, now time.Time) *Entry {
	return e.until(now.Add(e.ExpiresAt.Sub(e.ResponseTime) / l1Share))
}

// Set implements Store. It does not wait for L2.
func (t *Tiered) Set(ctx context.Context, key string, e *Entry) error {
	if t.monitor.IsDown(ctx) {
		return t.cfg.L1.Set(ctx, key, e) // for all of its lifetime
	}
	t.mu.Lock()
	f, err := t.fills[key], error(nil)
	switch {
	case f != nil:
		f.entry = e
	case len(t.fills) >= t.cfg.Fills && t.claimed[key] == "": // other replicas wait for what was claimed
		err = errFills
	default:
		f = &fill{entry: e, done: make(chan struct{})}
		t.fills[key] = f
		t.writes.Go(func() { t.fill(context.WithoutCancel(ginctx.Of(ctx)), key, f) })
	}
	t.mu.Unlock()
	if err != nil {
		t.notify(ctx, Event{Kind: Failed, Key: key, Err: err})
	}
	return t.cfg.L1.Set(ctx, key, l1Copy(e, time.Now()))
}

// fill writes the latest entry of a key, again if it changes in the meantime.
func (t *Tiered) fill(ctx context.Context, key string, f *fill) {
	var written *Entry
	for {
		t.mu.Lock()
		e := f.entry
		if e == nil || e == written {
			delete(t.fills, key)
			close(f.done)
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		t.write(ctx, key, e)
		written = e
	}
}

func (t *Tiered) write(ctx context.Context, key string, e *Entry) {
	defer func() {
		if v := recover(); v != nil { // not a request's goroutine: it would end the process
			t.failed(ctx, key, time.Now(), fmt.Errorf("%w: panic: %v", ErrUnavailable, v))
		}
	}()
	if t.call(ctx, key, func(ctx context.Context) error { return t.cfg.L2.Set(ctx, key, e) }) != nil {
		_ = t.cfg.L1.Set(ctx, key, e) // for all of its lifetime
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
		<-f.done // it would undo this; its time is bounded
		_ = t.cfg.L1.Delete(ctx, key)
	}
	if t.monitor.IsDown(ctx) {
		return errL2Down
	}
	return t.call(ctx, key, func(ctx context.Context) error { return t.cfg.L2.Delete(ctx, key) })
}

// Drain waits until no write to L2 is under way, or ctx ends.
func (t *Tiered) Drain(ctx context.Context) error { return t.writes.Wait(ctx) }

// call calls L2 in time, and observes the result.
func (t *Tiered) call(ctx context.Context, key string, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	began := time.Now()
	err := f(limited)
	if err == nil || errors.Is(err, ErrNotFound) {
		t.monitor.Observe(ctx, began, nil)
		return err
	}
	t.failed(ctx, key, began, err)
	return err
}

func (t *Tiered) failed(ctx context.Context, key string, began time.Time, err error) {
	t.mu.Lock()
	t.suspect = key
	t.mu.Unlock()
	t.monitor.Observe(ctx, began, err)
}

// Down returns why L2 is down, or nil while it is up. Use it for a readiness probe; it makes
// no call.
func (t *Tiered) Down() error { return t.monitor.Cause() }

// prober is an L2 that can check itself where it keeps a key.
type prober interface {
	Probe(ctx context.Context, key string) error
}

// probe does everything with L2 that a request may do, where the key that failed is kept: a
// store that is full or read-only still reads.
func (t *Tiered) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	if p, ok := t.cfg.L2.(prober); ok {
		t.mu.Lock()
		key := t.suspect
		t.mu.Unlock()
		return p.Probe(ctx, key)
	}
	now := time.Now()
	e := &Entry{Status: http.StatusNoContent, RequestTime: now, ResponseTime: now, FreshUntil: now.Add(time.Second), ExpiresAt: now.Add(time.Second)}
	if err := t.cfg.L2.Set(ctx, probeKey, e); err != nil {
		return err
	}
	if _, err := t.cfg.L2.Get(ctx, probeKey); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if claims, ok := t.cfg.L2.(Claims); ok {
		if _, err := claims.Claim(ctx, probeKey, probeKey, time.Second); err != nil {
			return err
		}
	}
	return t.cfg.L2.Delete(ctx, probeKey)
}

func (t *Tiered) notify(ctx context.Context, e Event) {
	if t.cfg.OnEvent != nil {
		t.cfg.OnEvent(ctx, e)
	}
}

// Claim implements Claims by L2. If L2 is no Claims, every replica gets the key.
func (t *Tiered) Claim(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	claims, ok := t.cfg.L2.(Claims)
	if !ok {
		return true, nil
	}
	if t.monitor.IsDown(ctx) {
		return false, errL2Down
	}
	var mine bool
	err := t.call(ctx, key, func(ctx context.Context) (err error) {
		mine, err = claims.Claim(ctx, key, owner, ttl)
		return err
	})
	if mine {
		t.mu.Lock()
		t.claimed[key] = owner
		t.mu.Unlock()
	}
	return mine, err
}

// Release implements Claims. It waits until the entry of the key is written.
func (t *Tiered) Release(ctx context.Context, key, owner string) error {
	claims, ok := t.cfg.L2.(Claims)
	if !ok {
		return nil
	}
	t.mu.Lock()
	f := t.fills[key]
	if t.claimed[key] == owner {
		delete(t.claimed, key)
	}
	t.mu.Unlock()
	if f != nil {
		<-f.done // its time is bounded
	}
	if t.monitor.IsDown(ctx) {
		return nil // the claim expires
	}
	return t.call(ctx, key, func(ctx context.Context) error { return claims.Release(ctx, key, owner) })
}

var _ Claims = (*Tiered)(nil)
