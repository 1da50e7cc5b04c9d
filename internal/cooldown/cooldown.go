// Package cooldown keeps a credential and model from an endpoint that requested a pause.
// Other callers of the endpoint are not affected. It fails open: beyond 1024 entries the one that
// ends soonest is dropped.
package cooldown

import (
	"hash/maphash"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
)

const (
	// Most is the longest cooldown. Longer ones are shortened to it.
	Most = time.Minute
	// maxEntries bounds a table. Beyond it the entry that ends soonest is dropped.
	maxEntries = 1024
)

var seed = maphash.MakeSeed() //nolint:gochecknoglobals // hashes are compared within the process

// Subject identifies the requests of one credential for one model. The zero value stands for
// those with neither.
type Subject struct{ credential, model uint64 }

// Of returns the subject of an outbound request.
func Of(req *http.Request) Subject {
	var s Subject
	if c := exchange.Credentials(req); c != "" {
		s.credential = maphash.String(seed, c)
	}
	if parsed := body.Request(req); parsed != nil && parsed.Model != "" {
		s.model = maphash.String(seed, parsed.Model)
	}
	return s
}

type key struct {
	endpoint string
	Subject
}

// Table holds the cooldowns of endpoints by subject. The zero value is ready to use. It is
// safe for concurrent use.
type Table struct {
	size  atomic.Int64
	mu    sync.Mutex
	until map[key]time.Time
}

// Empty reports whether the table has no entries.
func (t *Table) Empty() bool { return t.size.Load() == 0 }

// Start begins a cooldown of d for the subject at the endpoint. An entry that ends later stands.
func (t *Table) Start(endpoint string, s Subject, d time.Duration) {
	if d <= 0 {
		return
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil {
		t.until = make(map[key]time.Time)
	}
	k, until := key{endpoint, s}, now.Add(min(d, Most))
	if before, ok := t.until[k]; ok && !until.After(before) {
		return
	}
	t.until[k] = until
	if len(t.until) > maxEntries {
		t.shrink(now)
	}
	t.size.Store(int64(len(t.until)))
}

// shrink drops expired entries, or else the one that ends soonest.
func (t *Table) shrink(now time.Time) {
	var soonest key
	var at time.Time
	for k, until := range t.until {
		if !until.After(now) {
			delete(t.until, k)
		} else if at.IsZero() || until.Before(at) {
			soonest, at = k, until
		}
	}
	if len(t.until) > maxEntries {
		delete(t.until, soonest)
	}
}

// Wait returns the remaining cooldown of the subject at the endpoint; 0: there is none.
func (t *Table) Wait(endpoint string, s Subject) time.Duration {
	if t.Empty() {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := key{endpoint, s}
	left := time.Until(t.until[k])
	if left <= 0 {
		delete(t.until, k)
		t.size.Store(int64(len(t.until)))
	}
	return max(left, 0)
}

// Until returns the end of the endpoint's last cooldown; zero: there is none.
func (t *Table) Until(endpoint string) (last time.Time) {
	if t.Empty() {
		return last
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, until := range t.until {
		switch {
		case !until.After(now):
			delete(t.until, k)
		case k.endpoint == endpoint && until.After(last):
			last = until
		}
	}
	t.size.Store(int64(len(t.until)))
	return last
}
