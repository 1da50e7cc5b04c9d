package breaker

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/afex/hystrix-go/hystrix"
)

// rateWindow is slightly longer than hystrix's window: without a failure for that long it can't
// find too many.
const rateWindow = 11 * time.Second

// maxUnused is the number of unused hystrix circuits beyond which one is reused before its
// counts have expired.
const maxUnused = 64

// rates is hystrix's count of a circuit's exchanges in the last ten seconds. Only its public,
// synchronous calls are used: hystrix.Do and Go run handlers in goroutines of their own. Each
// hystrix circuit has two goroutines that never end, so unused ones are kept for reuse.
type rates struct {
	name    string
	circuit *hystrix.CircuitBreaker

	success, failure []string // hystrix's names of the outcomes

	used  bool
	freed time.Time // when it was released; zero: never used
}

// spare are the unused hystrix circuits. hystrix keeps its circuits in globals, by name; the
// names are generated here, never by a client.
var spare struct { //nolint:gochecknoglobals // beside those of hystrix, see ADR 0018
	mu   sync.Mutex
	made int
	free []*rates // in the order of their release
}

// newRates returns empty counts. hystrix can't reset them: a used circuit must wait until
// everything it counted has expired.
func newRates() (*rates, error) {
	spare.mu.Lock()
	defer spare.mu.Unlock()
	if n := len(spare.free); n > maxUnused || n > 0 && time.Since(spare.free[0].freed) > rateWindow {
		r := spare.free[0]
		spare.free = slices.Delete(spare.free, 0, 1)
		return r, nil
	}
	spare.made++
	name := "ginfer/" + strconv.Itoa(spare.made)
	circuit, _, err := hystrix.GetCircuit(name)
	if err != nil {
		return nil, err
	}
	return &rates{name: name, circuit: circuit, success: []string{"success"}, failure: []string{"failure"}}, nil
}

// release makes r available for reuse. A success closes it if hystrix has opened it.
func (r *rates) release() {
	if r.circuit.IsOpen() {
		_ = r.circuit.ReportEvent(r.success, time.Now(), 0)
	}
	spare.mu.Lock()
	defer spare.mu.Unlock()
	if !r.used {
		spare.free = slices.Insert(spare.free, 0, r)
		return
	}
	r.freed = time.Now()
	spare.free = append(spare.free, r)
}

// configure sets the thresholds. The sleep window is not used: circuit decides when to recover.
func (r *rates) configure(s *Settings) {
	hystrix.ConfigureCommand(r.name, hystrix.CommandConfig{
		RequestVolumeThreshold: s.Volume, ErrorPercentThreshold: s.FailurePercent, MaxConcurrentRequests: 1,
	})
}

// tooMany reports whether too large a share has failed.
func (r *rates) tooMany() bool { return r.circuit.IsOpen() }

// report counts an exchange. Under extreme load hystrix drops events, of all kinds alike, so
// that rates stay right.
func (r *rates) report(failed bool, start time.Time) {
	r.used = true
	kind := r.success
	if failed {
		kind = r.failure
	}
	_ = r.circuit.ReportEvent(kind, start, 0) // durations are kept for a minute: none are given
}
