package live

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Part is something that outlives a reload which does not change it, with all that it has
// learned: a pool with its health, a cache, a queue.
type Part[T any] struct {
	// Value is the part itself.
	Value T
	// Restore runs before the first request uses the part. Default: nothing.
	Restore func(context.Context)
	// Run are its loops. They start once the configuration is in force; their context ends with
	// the part. Default: none.
	Run []func(context.Context) error
	// Close releases what the part holds, when its loops have returned. Default: nothing.
	Close func()
	// Linger is how long after a reload requests under way may still use a part that is gone;
	// Close waits for it. Default: 0, none does.
	Linger time.Duration
	// Pinned parts stay for the life of the process: to change one needs a restart. Default: false.
	Pinned bool
}

// Keeper keeps the parts that a reload does not change, starts those that are new, and ends
// those that are gone. Build a configuration with Keep, then call Commit or Discard.
type Keeper struct {
	log   *slog.Logger
	parts []*kept // in force, dependencies first
	next  []*kept // of the configuration that is being built

	mu        sync.Mutex
	lingering map[*time.Timer]func()
}

// NewKeeper returns a Keeper without parts.
func NewKeeper(log *slog.Logger) *Keeper {
	return &Keeper{log: log, lingering: map[*time.Timer]func(){}}
}

// kept is a part with the settings that it was built from.
type kept struct {
	Part[any]
	name, key string

	cancel context.CancelFunc // nil: not started
	loops  sync.WaitGroup
}

// Keep returns the part of this name and type that is in force if it was built from the same settings;
// otherwise it builds one. Settings are compared as JSON and must include those of the parts
// that this one uses.
func Keep[T any](k *Keeper, name string, settings []any, build func() (Part[T], error)) (T, error) {
	key, err := json.Marshal(settings)
	if err != nil {
		var none T
		return none, err
	}
	if p := find[T](k.next, name); p != nil {
		return p.Value.(T), nil //nolint:forcetypeassert // as found
	}
	if p := find[T](k.parts, name); p != nil && (p.key == string(key) || p.Pinned) {
		if p.key != string(key) {
			k.log.Warn("a change needs a restart", "part", name)
		}
		k.next = append(k.next, p)
		return p.Value.(T), nil //nolint:forcetypeassert // as found
	}
	p, err := build()
	if err != nil {
		return p.Value, err
	}
	k.next = append(k.next, &kept{name: name, key: string(key), Part: Part[any]{p.Value, p.Restore, p.Run, p.Close, p.Linger, p.Pinned}})
	return p.Value, nil
}

// Previous returns the part of this name that is in force, for a new one to take over from.
func Previous[T any](k *Keeper, name string) (value T, ok bool) {
	if p := find[T](k.parts, name); p != nil {
		value, ok = p.Value.(T)
	}
	return value, ok
}

// find returns the part of this name and type. Names of users, such as those of rollouts, can't
// collide with those of other types.
func find[T any](parts []*kept, name string) *kept {
	for _, p := range parts {
		if _, ok := p.Value.(T); ok && p.name == name {
			return p
		}
	}
	return nil
}

// Commit ends the parts that are gone, restores the new ones, calls swap, which puts the new
// configuration in force, and starts the new parts' loops.
func (k *Keeper) Commit(ctx context.Context, swap func()) {
	for _, p := range k.parts {
		if p.Pinned && !slices.Contains(k.next, p) {
			k.next = append(k.next, p)
		}
	}
	for _, p := range slices.Backward(k.parts) {
		if !slices.Contains(k.next, p) {
			p.stop()
			k.closeAfter(p.Linger, p.Close)
		}
	}
	for _, p := range k.next {
		if p.cancel == nil && p.Restore != nil {
			p.Restore(ctx)
		}
	}
	swap()
	for _, p := range k.next {
		if p.cancel == nil {
			p.start(ctx, k.log)
		}
	}
	k.parts, k.next = k.next, nil
}

// Discard closes what was built for a configuration that is refused. What is in force stays.
func (k *Keeper) Discard() {
	for _, p := range slices.Backward(k.next) {
		if p.cancel == nil {
			k.closeAfter(0, p.Close)
		}
	}
	k.next = nil
}

// Close ends all parts, in the reverse of the order in which they were built.
func (k *Keeper) Close() {
	for _, p := range slices.Backward(k.parts) {
		p.stop()
		k.closeAfter(0, p.Close)
	}
	k.parts = nil
	k.mu.Lock()
	defer k.mu.Unlock()
	for timer, closing := range k.lingering {
		if timer.Stop() {
			closing()
		}
	}
	clear(k.lingering)
}

func (p *kept) start(ctx context.Context, logger *slog.Logger) {
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, run := range p.Run {
		p.loops.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				logger.Error("a part ended", "part", p.name, "error", err)
			}
		})
	}
}

// stop ends the loops and waits for them: some save their state.
func (p *kept) stop() {
	p.cancel()
	p.loops.Wait()
}

func (k *Keeper) closeAfter(linger time.Duration, closing func()) {
	switch {
	case closing == nil:
	case linger == 0:
		closing()
	default:
		k.mu.Lock()
		defer k.mu.Unlock()
		var timer *time.Timer
		timer = time.AfterFunc(linger, func() {
			k.mu.Lock()
			delete(k.lingering, timer)
			k.mu.Unlock()
			closing()
		})
		k.lingering[timer] = closing
	}
}
