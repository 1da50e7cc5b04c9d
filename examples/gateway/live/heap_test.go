package live_test

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/stretchr/testify/require"
)

// Memory of a burst returns to the system when the gateway is quiet, also what pools keep: a
// collection only moves that aside.
func TestMemoryReturns(t *testing.T) { //nolint:paralleltest // it measures the process
	if testing.Short() {
		t.Skip("ten seconds")
	}
	gatewaytest.LoadText(t, gatewaytest.WithGroup(``))
	burst := make([][]byte, 0, 200)
	for range cap(burst) {
		burst = append(burst, make([]byte, 1<<20))
	}
	held := heapBytes()
	require.Greater(t, held, uint64(200<<20))
	var pool sync.Pool
	for _, one := range burst {
		pool.Put(&one)
	}
	require.Eventually(t, func() bool { return heapBytes() < held/4 }, 30*time.Second, 100*time.Millisecond)
	runtime.KeepAlive(&pool)
}

// heapBytes is the memory of the heap that the system has not got back.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() + sample[1].Value.Uint64() + sample[2].Value.Uint64()
}

// A configured percentage stays, whatever is live.
func TestConfiguredGOGCStays(t *testing.T) { //nolint:paralleltest // as above
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	gatewaytest.LoadText(t, `{"memory": {"gogc": 150}, `+gatewaytest.WithGroup(``)[1:])
	for range 5 {
		runtime.GC()
	}
	require.Never(t, func() bool {
		now := debug.SetGCPercent(150)
		return now != 150
	}, 300*time.Millisecond, 50*time.Millisecond)
}
