package observe

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// RecentConfig configures a Recent. Every field has a default.
type RecentConfig struct {
	// Size is the number of latest requests that are kept, and of latest failures. Default:
	// 100, at most 10,000.
	Size int
	// Slowest is the number of slowest requests that are kept, and Window how long.
	// Defaults: 25, at most 10,000, and 1 h.
	Slowest int
	Window  time.Duration
	// Subject returns the name of a caller, as AccessLogConfig.Subject does. Default:
	// callers are omitted.
	Subject func(Caller) string
}

// Recent is a middleware that keeps the latest, failed, slowest and active requests for a
// page. Use it to look at single requests without a log search. It is safe for concurrent
// use.
type Recent struct {
	cfg RecentConfig

	mu      sync.Mutex
	active  map[*record]struct{}
	latest  ring
	failed  ring
	slowest []entry // the fastest first
}

// maxRecent bounds RecentConfig.Size and Slowest: an entry takes about 1 KB.
const maxRecent = 10_000

// NewRecent checks cfg and returns a Recent.
func NewRecent(cfg RecentConfig) (*Recent, error) {
	cfg.Size = cmp.Or(cfg.Size, 100)
	cfg.Slowest = cmp.Or(cfg.Slowest, 25)
	cfg.Window = cmp.Or(cfg.Window, time.Hour)
	switch {
	case cfg.Size < 0 || cfg.Size > maxRecent:
		return nil, errors.New("observe: RecentConfig.Size must be 1 to 10,000")
	case cfg.Slowest < 0 || cfg.Slowest > maxRecent:
		return nil, errors.New("observe: RecentConfig.Slowest must be 1 to 10,000")
	case cfg.Window < 0:
		return nil, errors.New("observe: RecentConfig.Window is negative")
	}
	return &Recent{
		cfg: cfg, active: map[*record]struct{}{},
		latest: ring{most: cfg.Size}, failed: ring{most: cfg.Size},
	}, nil
}

// Middleware returns the handler that keeps requests. Put it next to the access log.
func (rt *Recent) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		r, isFirst := begin(c, rt)
		if !isFirst {
			return
		}
		rt.mu.Lock()
		rt.active[r] = struct{}{}
		rt.mu.Unlock()
		returned := false
		defer func() {
			done := r.close(c, returned)
			rt.keep(r, &done)
		}()
		c.Next()
		returned = true
	}
}

func (rt *Recent) keep(r *record, e *entry) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	delete(rt.active, r)
	rt.latest.add(e)
	if e.outcome == outcomeFailure {
		rt.failed.add(e)
	}
	rt.keepSlow(e)
}

// keepSlow stores e if it is one of the slowest. The caller holds mu.
func (rt *Recent) keepSlow(e *entry) {
	if len(rt.slowest) >= rt.cfg.Slowest && rt.slowest[0].duration >= e.duration {
		rt.forget(e.start.Add(e.duration))
		if len(rt.slowest) >= rt.cfg.Slowest {
			return
		}
	}
	at, _ := slices.BinarySearchFunc(rt.slowest, e, func(a entry, b *entry) int { return cmp.Compare(a.duration, b.duration) })
	rt.slowest = slices.Insert(rt.slowest, at, *e)
	if len(rt.slowest) > rt.cfg.Slowest {
		rt.slowest = slices.Delete(rt.slowest, 0, 1)
	}
}

// forget removes entries older than the window. The caller holds mu.
func (rt *Recent) forget(now time.Time) {
	old := now.Add(-rt.cfg.Window)
	rt.slowest = slices.DeleteFunc(rt.slowest, func(e entry) bool { return e.start.Before(old) })
}

// Handler returns the page of the requests: HTML, or JSON with the names of the access log
// for ?format=json or Accept: application/json. Serve it on the private port, because it
// shows callers and their requests.
func (rt *Recent) Handler() http.Handler { return http.HandlerFunc(rt.serve) }

// sections returns the sections of the page, the latest and the slowest first.
func (rt *Recent) sections(now time.Time) []section {
	rt.mu.Lock()
	rt.forget(now)
	var active []*record
	for r := range rt.active {
		active = append(active, r)
	}
	failed, latest := rt.failed.newest(), rt.latest.newest()
	slowest := slices.Clone(rt.slowest)
	rt.mu.Unlock()

	slices.Reverse(slowest)
	running := make([]entry, 0, min(len(active), rt.cfg.Size))
	for _, r := range active {
		running = append(running, r.snapshot())
	}
	slices.SortFunc(running, func(a, b entry) int { return a.start.Compare(b.start) })
	total := len(running)
	running = running[:min(total, rt.cfg.Size)]
	for i := range running {
		running[i].duration = now.Sub(running[i].start)
	}
	return []section{
		{Name: "active", Total: total, entries: running},
		{Name: "failed", Total: len(failed), entries: failed},
		{Name: "slowest", Total: len(slowest), entries: slowest},
		{Name: "latest", Total: len(latest), entries: latest},
	}
}

// ring is a ring buffer of the latest entries.
type ring struct {
	most    int
	entries []entry
	next    int
}

func (r *ring) add(e *entry) {
	if len(r.entries) < r.most {
		r.entries = append(r.entries, *e)
		return
	}
	r.entries[r.next] = *e
	r.next = (r.next + 1) % r.most
}

// newest returns the entries, the latest first.
func (r *ring) newest() []entry {
	out := slices.Concat(r.entries[r.next:], r.entries[:r.next])
	slices.Reverse(out)
	return out
}
