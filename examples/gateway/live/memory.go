package live

import (
	"cmp"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/ginfer/ginfer/examples/gateway/config"
)

// setMemory sets the soft memory limit of the garbage collector to a percentage of the
// container's limit, so that it works harder before the kernel kills the process.
// GOMEMLIMIT and GOGC take precedence where they are set.
func setMemory(cfg config.Memory, h *heap, logger *slog.Logger) {
	percent := cmp.Or(cfg.LimitPercent, 90)
	if os.Getenv("GOGC") == "" {
		h.set(cfg.GOGC)
	}
	if os.Getenv("GOMEMLIMIT") != "" || percent < 0 {
		return
	}
	limit, err := memlimit.FromCgroup()
	if err != nil || limit == 0 || limit > math.MaxInt64/2 { // none
		return
	}
	limit = limit / 100 * uint64(percent)
	debug.SetMemoryLimit(int64(limit)) //nolint:gosec // it was compared above
	logger.Info("memory limit", "bytes", limit)
}

// sampleContention switches the block and mutex profiles on or off.
func sampleContention(on bool) {
	block, mutex := 0, 0
	if on {
		block, mutex = 10_000, 100 // a sample for each 10 us of waiting, and each 100th wait for a lock
	}
	runtime.SetBlockProfileRate(block)
	runtime.SetMutexProfileFraction(mutex)
}
