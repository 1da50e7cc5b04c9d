package cache

// How the window of a shard finds its size: by trying. As in Caffeine (Einziger et al.,
// Adaptive Software Cache Management, 2018), but on each shard.
const (
	firstWindow = 0.02 // of the room
	leastWindow = 0.01
	mostWindow  = 0.80
	firstStep   = 0.03125
	stepDecay   = 0.98
	// restart is the change of the hit ratio at which steps are large again: the load is
	// another one.
	restart = 0.05
	// climbSample is how many lookups, for each entry that fits, show what a step did.
	climbSample = 10
)

// climber says how much room the window should have: much when what comes is asked for
// again at once and then never, little when some keys are asked for all the time.
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

// looked takes the outcome of a lookup.
func (c *climber) looked(hit bool) {
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

// ofEntries and ofBytes are the window's part of the room.
func (c *climber) ofEntries(n int) int { return max(int(c.window*float64(n)), 1) }

func (c *climber) ofBytes(n int64) int64 { return int64(c.window * float64(n)) }
