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
	for i := range x.observed.all {
		switch o := &x.observed.all[i]; {
		case o.key != key:
		case ok && !o.ok:
			o.ok = true
			return Corrected
		default:
			return Repeated
		}
	}
	x.observed.add(observed{key, ok})
	return Counted
}

// observed is what an observer has counted.
type observed struct {
	key any
	ok  bool
}
