package live

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	// heapFloor is the size, in bytes, up to which the heap may grow before a collection. A gateway has
	// little live memory, and the collector's own floor of 4 MiB makes it run for a seventh of the CPU.
	heapFloor = 16 << 20
	// quietTime is how long the gateway must allocate little until unused memory returns to the
	// system, and quietBytes is how little.
	quietTime  = 5 * time.Second
	quietBytes = 8 << 20
	// worthwhile is how much, in bytes, a collection must return for the next one to follow soon: pools
	// are emptied by the second. Else the pauses double, up to longestPause, within which idle
	// connections to endpoints have gone, or up to longestOfLarge for a heap of largeHeap bytes, as one
	// with many silent streams.
	worthwhile     = 1 << 20
	longestPause   = 6 // in quietTime
	longestOfLarge = 24
	largeHeap      = 64 << 20
)

// heap paces the garbage collector of the process.
type heap struct {
	percent atomic.Int64 // of the configuration; 0: by the live heap
	cancel  context.CancelFunc
	done    chan struct{}
}

// startHeap begins to pace the collector, and to return unused memory to the system.
func startHeap() *heap {
	ctx, cancel := context.WithCancel(context.Background())
	h := &heap{cancel: cancel, done: make(chan struct{})}
	collected := make(chan struct{}, 1)
	watchCollections(ctx, collected)
	go h.run(ctx, collected)
	return h
}

// watchCollections sends after each collection, by the end of an object that nothing refers to.
func watchCollections(ctx context.Context, collected chan<- struct{}) {
	marker := new([16]byte)
	runtime.AddCleanup(marker, func(struct{}) {
		if ctx.Err() != nil {
			return
		}
		select {
		case collected <- struct{}{}:
		default:
		}
		watchCollections(ctx, collected)
	}, struct{}{})
}

func (h *heap) run(ctx context.Context, collected <-chan struct{}) {
	defer close(h.done)
	quiet := time.NewTicker(quietTime)
	defer quiet.Stop()
	var r release
	for {
		select {
		case <-ctx.Done():
			return
		case <-collected:
			h.pace()
		case <-quiet.C:
			r.tick()
		}
	}
}

// release returns unused memory to the system while the gateway is quiet.
type release struct {
	allocated    uint64 // at the last tick
	pause, ticks int    // between collections, and since the last one
}

// tick is called after each quietTime.
func (r *release) tick() {
	before := r.allocated
	allocated, held := readHeap()
	if r.allocated = allocated; allocated-before >= quietBytes {
		r.pause, r.ticks = 0, 0
		return
	}
	if r.ticks++; r.ticks < r.pause {
		return
	}
	debug.FreeOSMemory()
	_, after := readHeap()
	switch {
	case held-min(after, held) >= worthwhile:
		r.pause = 1
	case after < largeHeap:
		r.pause = min(2*max(r.pause, 1), longestPause)
	default:
		r.pause = min(2*max(r.pause, 1), longestOfLarge)
	}
	r.ticks = 0
}

// pace sets how much the heap may grow, by what is live.
func (h *heap) pace() {
	if h.percent.Load() != 0 || os.Getenv("GOGC") != "" {
		return
	}
	live := liveHeap()
	percent := 100
	if live < heapFloor {
		percent = int(min(400, 100*heapFloor/max(live, 1)))
	}
	debug.SetGCPercent(percent)
}

// set fixes how much the heap may grow, in percent; 0: as pace does; -1: without bound.
func (h *heap) set(percent int) {
	h.percent.Store(int64(percent))
	if percent != 0 {
		debug.SetGCPercent(percent)
		return
	}
	h.pace()
}

func (h *heap) stop() {
	h.cancel()
	<-h.done
}

// liveHeap is what the last collection kept.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// readHeap returns the bytes allocated since the start, and those of the heap that the system has not
// got back.
func readHeap() (allocated, held uint64) {
	sample := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(sample)
	value := func(i int) uint64 { return sample[i].Value.Uint64() }
	return value(0), value(1) + value(2) + value(3)
}
