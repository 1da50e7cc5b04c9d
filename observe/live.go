package observe

import (
	"cmp"
	"errors"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// LiveConfig configures a Live. Every field has a default.
type LiveConfig struct {
	// Window is the time span of History, in whole seconds; 1.3 KB each. Default: 60 s, at
	// most 1 h.
	Window time.Duration
	// Average is the time over which figures are averaged. Default: 10 s, at most Window.
	Average time.Duration
	// Versions is the maximum number of model versions with figures of their own; the
	// others share one named "other". Each takes 1.3 KB per second of Average. Default: 32,
	// at most 1,000.
	Versions int
}

// Live is a middleware that keeps the figures of the last seconds, for pages that must work
// without a metrics server. Memory is bounded by the configuration and the requests under
// way. It is safe for concurrent use.
type Live struct {
	average, seconds int64 // Average and Window, in seconds
	most             int   // maximum number of versions
	begun            time.Time

	mu       sync.Mutex
	flights  flight // root of the ring of requests under way
	all      *series
	versions map[string]*series
}

// flight is a request under way.
type flight struct {
	before, after *flight
	record        *record
	counted       int64 // output tokens counted so far
	until         int64 // the second until which they are counted
}

// maxLive bounds LiveConfig.Window.
const maxLive = time.Hour

// NewLive checks cfg and returns a Live. The error names the field at fault.
func NewLive(cfg LiveConfig) (*Live, error) {
	cfg.Window = cmp.Or(cfg.Window, time.Minute)
	cfg.Average = cmp.Or(cfg.Average, min(10*time.Second, cfg.Window))
	cfg.Versions = cmp.Or(cfg.Versions, 32)
	switch {
	case cfg.Window < time.Second || cfg.Window > maxLive:
		return nil, errors.New("observe: LiveConfig.Window must be 1 s to 1 h")
	case cfg.Average < time.Second || cfg.Average > cfg.Window:
		return nil, errors.New("observe: LiveConfig.Average must be 1 s to Window")
	case cfg.Versions < 0 || cfg.Versions > 1000:
		return nil, errors.New("observe: LiveConfig.Versions must be 1 to 1,000")
	}
	l := &Live{
		average: int64(cfg.Average / time.Second), seconds: int64(cfg.Window / time.Second), most: cfg.Versions,
		begun: time.Now(), versions: map[string]*series{},
	}
	l.all = newSeries(l.seconds + l.average)
	l.flights.before, l.flights.after = &l.flights, &l.flights
	return l, nil
}

// Middleware returns the handler that counts requests at their end. Put it next to the
// access log.
func (l *Live) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		r, isFirst := begin(c, l)
		if !isFirst {
			return
		}
		f := &flight{record: r}
		l.mu.Lock()
		f.before, f.after = l.flights.before, &l.flights
		f.before.after, f.after.before = f, f
		l.mu.Unlock()
		returned := false
		defer func() {
			done := f.record.close(c, returned)
			l.land(f, &done)
		}()
		c.Next()
		returned = true
	}
}

// land counts a request that has ended.
func (l *Live) land(f *flight, e *entry) {
	second := l.second(e.start.Add(e.duration))
	l.mu.Lock()
	defer l.mu.Unlock()
	f.before.after, f.after.before = f.after, f.before
	l.all.add(second, e)
	l.of(e.version, second).add(second, e)
	if e.usage != nil {
		begin := l.second(e.start.Add(e.firstToken()))
		l.write(f, e.version, begin, second, e.usage.Output)
	}
}

// write counts a request's output tokens up to total that are not counted yet. It spreads
// them over the seconds since the last count, or since the first token. The caller holds
// mu.
func (l *Live) write(f *flight, version string, begin, second, total int64) {
	n := total - f.counted
	if n <= 0 {
		return
	}
	begin = max(begin, f.until)
	l.all.write(begin, second, n)
	l.of(version, second).write(begin, second, n)
	f.counted, f.until = total, second
}

// second returns the number of the second of a time, from 0.
func (l *Live) second(at time.Time) int64 { return max(int64(at.Sub(l.begun)/time.Second), 0) }

// of returns the series of a version: its own, one in place of an idle version, or the
// shared one. The caller holds mu.
func (l *Live) of(version string, second int64) *series {
	if s, ok := l.versions[version]; ok {
		return s
	}
	if len(l.versions) >= l.most {
		idle, found := l.idle(second)
		if !found {
			return l.rest()
		}
		delete(l.versions, idle)
	}
	s := newSeries(l.average + 1)
	l.versions[version] = s
	return s
}

// rest returns the series of all versions beyond the bound. The caller holds mu.
func (l *Live) rest() *series {
	s, ok := l.versions[other]
	if !ok { // it comes on top of the bound
		s = newSeries(l.average + 1)
		l.versions[other] = s
	}
	return s
}

// idle returns a version without requests for Window. The caller holds mu.
func (l *Live) idle(second int64) (version string, found bool) {
	for name, s := range l.versions {
		if s.last+l.seconds < second {
			return name, true
		}
	}
	return "", false
}

// span returns the whole seconds that figures of a moment are averaged over.
func (l *Live) span(second int64) (first, n int64) {
	if second == 0 {
		return 0, 1
	}
	n = min(second, l.average)
	return second - n, n
}
