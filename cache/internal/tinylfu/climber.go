package tinylfu

// Parameters of the window's hill climbing (Einziger et al., Adaptive Software Cache
// Management, 2018), for each shard. Windows are shares of the room.
const (
	firstWindow = 0.02
	leastWindow = 0.01
	mostWindow  = 0.99
	// firstStep is the change of the window after the first sample. A step that raised the
	// hit ratio is repeated, a longer one if it raised it by gain; one that did not is taken
	// back by half.
	firstStep = 0.03
	leastStep = 0.01
	mostStep  = 0.10
	gain      = 0.01
	// climbSample is the number of lookups, per entry of capacity, that measure a step.
	climbSample = 10
	// margin is how many more of its lookups the shadow must hit, in the last sample and to
	// a lesser extent in those before, for the window to grow at once.
	margin = 0.02
)

// climber sizes the window. Popularity that shifts, and keys that are requested again at
// once, need a large one; a few keys that stay popular need a small one. A shadow, which is
// as a cache that has nothing but a window, shows when the window is much too small.
type climber struct {
	window     float64
	step       float64
	before     float64 // hit ratio of the last sample
	hits, seen int
	sample     int

	// Of the lookups of keys that the shadow has too.
	shadowSeen, shadowHits, ownHits int
	behind                          float64 // by what share of its lookups, smoothed
}

func newClimber(entries int) climber {
	return climber{window: firstWindow, step: firstStep, sample: climbSample * max(entries, 64)}
}

// compare counts a lookup that the shadow had too.
func (c *climber) compare(hit, shadowHit bool) {
	c.shadowSeen++
	if hit {
		c.ownHits++
	}
	if shadowHit {
		c.shadowHits++
	}
}

// record counts a lookup, and takes a step at the end of a sample.
func (c *climber) record(hit bool) {
	if c.seen++; hit {
		c.hits++
	}
	if c.seen < c.sample {
		return
	}
	c.behind = c.behind/2 + float64(c.shadowHits-c.ownHits)/float64(max(c.shadowSeen, 1))
	now := float64(c.hits) / float64(c.seen)
	if c.behind >= margin {
		c.move((mostWindow - c.window) / 2)
		c.step = -firstStep
	} else {
		c.climb(now - c.before)
		c.move(c.step)
	}
	c.before, c.hits, c.seen = now, 0, 0
	c.shadowSeen, c.shadowHits, c.ownHits = 0, 0, 0
}

// climb chooses the next step by what the last one changed.
func (c *climber) climb(change float64) {
	switch {
	case change >= gain:
		c.step = min(max(1.5*c.step, -mostStep), mostStep)
	case change >= 0:
	case c.step > leastStep || c.step < -leastStep:
		c.step /= -2
	default:
		c.step = -c.step
	}
}

func (c *climber) move(step float64) {
	c.window = min(max(c.window+step, leastWindow), mostWindow)
}

// ofEntries and ofBytes return the window's share of the room.
func (c *climber) ofEntries(n int) int { return max(int(c.window*float64(n)), 1) }

func (c *climber) ofBytes(n int64) int64 { return int64(c.window * float64(n)) }
