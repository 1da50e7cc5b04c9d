package tinylfu

// Parameters of the window's hill climbing, as in Caffeine (Einziger et al., Adaptive
// Software Cache Management, 2018), but for each shard. Windows are shares of the room.
const (
	firstWindow = 0.02
	leastWindow = 0.01
	mostWindow  = 0.80
	firstStep   = 0.03125
	stepDecay   = 0.98
	// restart is the change of the hit ratio that indicates another load: steps become
	// large again.
	restart = 0.05
	// climbSample is the number of lookups, per entry of capacity, that measure a step.
	climbSample = 10
)

// climber sizes the window. Bursts, where new keys are requested again at once, need a
// large one; a few keys that stay popular need a small one.
type climber struct {
	window     float64
	step       float64
	before     float64 // hit ratio of the last sample
	hits, seen int
	sample     int
}

func newClimber(entries int) climber {
	return climber{window: firstWindow, step: firstStep, sample: climbSample * max(entries, 64)}
}

// record counts a lookup, and takes a step at the end of a sample.
func (c *climber) record(hit bool) {
	if c.seen++; hit {
		c.hits++
	}
	if c.seen < c.sample {
		return
	}
	now := float64(c.hits) / float64(c.seen)
	change := now - c.before
	c.before, c.hits, c.seen = now, 0, 0
	if change < 0 {
		c.step = -c.step
	}
	c.window = min(max(c.window+c.step, leastWindow), mostWindow)
	switch {
	case change >= restart || change <= -restart:
		if c.step < 0 {
			c.step = -firstStep
		} else {
			c.step = firstStep
		}
	default:
		c.step *= stepDecay
	}
}

// ofEntries and ofBytes return the window's share of the room.
func (c *climber) ofEntries(n int) int { return max(int(c.window*float64(n)), 1) }

func (c *climber) ofBytes(n int64) int64 { return int64(c.window * float64(n)) }
