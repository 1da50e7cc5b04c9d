package exchange

// Observation tells an observer that counts exchanges what to do with an attempt's end.
type Observation uint8

// The observations.
const (
	// Repeated means that the exchange was counted before.
	Repeated Observation = iota
	// Counted means that the exchange must be counted now.
	Counted
	// Corrected means that the exchange was counted as a failure, and is a success after all.
	Corrected
)

// Observe records the result of an attempt for an observer, identified by key. An exchange counts
// once: its first failure at once, a later success in its place.
func (x *Exchange) Observe(key any, ok bool) Observation {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.observed == nil {
		x.observed = make(map[any]bool)
	}
	before, seen := x.observed[key]
	switch {
	case !seen:
		x.observed[key] = ok
		return Counted
	case ok && !before:
		x.observed[key] = true
		return Corrected
	}
	return Repeated
}
