package observe

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
)

// RecentConfig describes a Recent. Every field has a default.
type RecentConfig struct {
	// Size is how many of the latest requests are kept, and as many that failed.
	// Default 100, at most 10,000.
	Size int
	// Slowest is how many of the slowest are kept, and Window for how long. Defaults
	// 25 and 1 h.
	Slowest int
	Window  time.Duration
	// Subject says how a caller is named, as AccessLogConfig.Subject does. Default:
	// not at all.
	Subject func(*auth.Identity) string
}

// Recent keeps the latest requests, those that failed, the slowest, and those under
// way, for people to look at. It is safe for concurrent use.
type Recent struct {
	cfg RecentConfig

	mu      sync.Mutex
	active  map[*record]struct{}
	latest  ring
	failed  ring
	slowest []entry // the fastest of them first
}

// maxRecent bounds RecentConfig.Size and Slowest: an entry takes about 1 KB.
const maxRecent = 10_000

// NewRecent checks cfg and returns a Recent.
func NewRecent(cfg RecentConfig) (*Recent, error) {
	cfg.Size = cmp.Or(cfg.Size, 100)
	cfg.Slowest = cmp.Or(cfg.Slowest, 25)
	cfg.Window = cmp.Or(cfg.Window, time.Hour)
	if cfg.Size < 0 || cfg.Size > maxRecent || cfg.Slowest < 0 || cfg.Slowest > maxRecent || cfg.Window < 0 {
		return nil, errors.New("observe: RecentConfig: Size and Slowest must be within 1 and 10,000, and Window positive")
	}
	return &Recent{
		cfg: cfg, active: map[*record]struct{}{},
		latest: ring{most: cfg.Size}, failed: ring{most: cfg.Size},
	}, nil
}

// Middleware returns the handler that keeps requests. It stands with the access log.
func (rt *Recent) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		r := begin(c)
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

// keepSlow keeps e if it is one of the slowest. The caller holds mu.
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

// forget drops what is older than the window. The caller holds mu.
func (rt *Recent) forget(now time.Time) {
	old := now.Add(-rt.cfg.Window)
	rt.slowest = slices.DeleteFunc(rt.slowest, func(e entry) bool { return e.start.Before(old) })
}

// Handler returns the page of the requests, as HTML, or with ?format=json or Accept:
// application/json as JSON with the names of the access log. It is for the private
// port: it shows who asks for what.
func (rt *Recent) Handler() http.Handler { return http.HandlerFunc(rt.serve) }

// sections are what there is to see, the latest and the slowest first.
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

// ring keeps the latest entries.
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

// newest are the entries, the latest first.
func (r *ring) newest() []entry {
	out := slices.Concat(r.entries[r.next:], r.entries[:r.next])
	slices.Reverse(out)
	return out
}
