package stream

import (
	"sync"
	"time"
)

const (
	// refusalLife is how long requests to an upstream are not changed after it rejected a
	// change, and maxRefusals the number of upstreams kept.
	refusalLife = 10 * time.Minute
	maxRefusals = 256
)

// refusals are the upstreams, by host, that rejected requests for usage.
type refusals struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (r *refusals) has(host string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, known := r.until[host]
	return known && now.Before(until)
}

func (r *refusals) add(host string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = make(map[string]time.Time, 1)
	}
	for h, until := range r.until {
		if !now.Before(until) || len(r.until) >= maxRefusals {
			delete(r.until, h)
		}
	}
	r.until[host] = now.Add(refusalLife)
}
