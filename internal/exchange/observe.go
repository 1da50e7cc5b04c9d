package exchange

// Observation is what an attempt's end is worth to whoever counts exchanges.
type Observation uint8

// The observations.
const (
	// Repeated: the exchange was counted before.
	Repeated Observation = iota
	// Counted: it is counted now.
	Counted
	// Corrected: it was counted as a failure, and is a success after all.
	Corrected
)

// Observe records how an attempt of the exchange went with key, which stands for who
// counts. An exchange counts once: the first failure at once, a success after it in its
// place.
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
