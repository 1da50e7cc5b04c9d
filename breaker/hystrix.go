package breaker

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/afex/hystrix-go/hystrix"
)

// rateWindow is for how long hystrix counts, and a little more: it can't find too
// many failures when there was none for so long.
const rateWindow = 11 * time.Second

// maxResting is how many of hystrix's circuits may rest at once before one is used that
// still knows of before.
const maxResting = 64

// rates is hystrix's count of a circuit's exchanges in the last ten seconds.
// Only its public, synchronous calls are used: hystrix.Do and Go would run handlers in
// goroutines of their own. Each circuit of hystrix costs two goroutines for ever, so
// that those which are no longer used are kept for others.
type rates struct {
	name    string
	circuit *hystrix.CircuitBreaker

	success, failure []string // what hystrix calls the outcomes

	used  bool
	freed time.Time // when it was given back; zero: it was not used yet
}

// spare are hystrix's circuits that nobody uses. hystrix keeps its circuits in
// globals, by name; names are made here and never by a client.
var spare struct { //nolint:gochecknoglobals // beside those of hystrix, see ADR 0018
	mu   sync.Mutex
	made int
	free []*rates // the one first that was given back first
}

// newRates returns counts that nothing is in. Hystrix can't be told to forget: one that
// was used must rest until all that it counted has passed.
func newRates() (*rates, error) {
	spare.mu.Lock()
	defer spare.mu.Unlock()
	if n := len(spare.free); n > maxResting || n > 0 && time.Since(spare.free[0].freed) > rateWindow {
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

// release keeps r for another circuit. One that hystrix has opened is closed by a success.
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

// configure sets what opens it. A sleep window does not matter: when to try again
// is for circuit to say.
func (r *rates) configure(s *Settings) {
	hystrix.ConfigureCommand(r.name, hystrix.CommandConfig{
		RequestVolumeThreshold: s.Volume, ErrorPercentThreshold: s.FailurePercent, MaxConcurrentRequests: 1,
	})
}

// tooMany reports whether too large a part has failed.
func (r *rates) tooMany() bool { return r.circuit.IsOpen() }

// report counts an exchange. Under extreme load hystrix drops events, of all
// kinds alike, so that rates stay right.
func (r *rates) report(failed bool, start time.Time) {
	r.used = true
	kind := r.success
	if failed {
		kind = r.failure
	}
	_ = r.circuit.ReportEvent(kind, start, 0) // durations are kept for a minute: none are given
}
