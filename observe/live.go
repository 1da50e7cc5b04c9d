package observe

import (
	"cmp"
	"errors"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// LiveConfig describes a Live. Every field has a default.
type LiveConfig struct {
	// Window is how far History reaches back, in whole seconds. Default 60 s, at most
	// 1 h. A second takes 1.3 KB.
	Window time.Duration
	// Average is over how many seconds figures are averaged. Default 10 s, at most
	// Window.
	Average time.Duration
	// Versions is how many versions of models have figures of their own. The rest
	// share one, named "other". Default 32, at most 1,000. Each takes 1.3 KB for a
	// second of Average.
	Versions int
}

// Live knows the figures of the last seconds, for pages and for people, without a
// server of metrics. Memory is bounded by the configuration and by the requests under
// way. It is safe for concurrent use.
type Live struct {
	average, seconds int64 // of Average and of Window
	most             int   // versions
	begun            time.Time

	mu       sync.Mutex
	flights  flight // the ring of those under way
	all      *series
	versions map[string]*series
}

// flight is a request under way.
type flight struct {
	before, after *flight
	record        *record
	counted       int64 // of its output tokens
	until         int64 // the second in which it was last looked
}

// maxLive bounds LiveConfig.Window.
const maxLive = time.Hour

// NewLive checks cfg and returns a Live.
func NewLive(cfg LiveConfig) (*Live, error) {
	cfg.Window = cmp.Or(cfg.Window, time.Minute)
	cfg.Average = cmp.Or(cfg.Average, min(10*time.Second, cfg.Window))
	cfg.Versions = cmp.Or(cfg.Versions, 32)
	switch {
	case cfg.Window < time.Second || cfg.Window > maxLive:
		return nil, errors.New("observe: LiveConfig: Window must be within 1 s and 1 h")
	case cfg.Average < time.Second || cfg.Average > cfg.Window:
		return nil, errors.New("observe: LiveConfig: Average must be within 1 s and Window")
	case cfg.Versions < 0 || cfg.Versions > 1000:
		return nil, errors.New("observe: LiveConfig: Versions must be within 1 and 1,000")
	}
	l := &Live{
		average: int64(cfg.Average / time.Second), seconds: int64(cfg.Window / time.Second), most: cfg.Versions,
		begun: time.Now(), versions: map[string]*series{},
	}
	l.all = newSeries(l.seconds + l.average)
	l.flights.before, l.flights.after = &l.flights, &l.flights
	return l, nil
}

// Middleware returns the handler that counts requests when they have ended. It stands
// with the access log.
func (l *Live) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		f := &flight{record: begin(c)}
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

// land counts a request that ended.
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

// write counts the output tokens of a request up to a total that are not counted yet, in
// the seconds since it was last looked, or since the first. The caller holds mu.
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

// second is the number of a moment's second, from 0.
func (l *Live) second(at time.Time) int64 { return max(int64(at.Sub(l.begun)/time.Second), 0) }

// of returns the figures of a version: its own, or those that have been silent, or
// those for the rest. The caller holds mu.
func (l *Live) of(version string, second int64) *series {
	if s, ok := l.versions[version]; ok {
		return s
	}
	if len(l.versions) >= l.most {
		silent, found := l.silent(second)
		if !found {
			return l.rest()
		}
		delete(l.versions, silent)
	}
	s := newSeries(l.average + 1)
	l.versions[version] = s
	return s
}

// rest are the figures of all versions beyond the bound. The caller holds mu.
func (l *Live) rest() *series {
	s, ok := l.versions[other]
	if !ok { // it is one more than the bound
		s = newSeries(l.average + 1)
		l.versions[other] = s
	}
	return s
}

// silent names a version of which nothing was heard for Window. The caller holds mu.
func (l *Live) silent(second int64) (version string, found bool) {
	for name, s := range l.versions {
		if s.last+l.seconds < second {
			return name, true
		}
	}
	return "", false
}

// span is of which seconds figures are made at a moment: whole ones, as far as there
// are any.
func (l *Live) span(second int64) (first, n int64) {
	if second == 0 {
		return 0, 1
	}
	n = min(second, l.average)
	return second - n, n
}
