package routing

import "time"

// Share is a part of the unit interval, for tests of the split.
type Share struct {
	End   float64
	Owner int
}

// Split exports split.
func Split(weights []float64) []Share {
	var out []Share
	for _, s := range split(weights) {
		out = append(out, Share{s.end, s.owner})
	}
	return out
}

// Device exports device.
var Device = device

// Evidence exports what a rollout knows, for simulations.
type Evidence struct{ e *evidence }

// NewEvidence is that of a rollout at a step, which must be its first.
func NewEvidence(t interface{ Helper() }, cfg RolloutConfig) *Evidence {
	t.Helper()
	cfg.setDefaults()
	return &Evidence{newEvidence(&cfg)}
}

// Failed takes a user's failed or whole answer and returns why to roll back.
func (e *Evidence) Failed(key uint64, canary, bad bool) string {
	return e.e.add(key, canary, finding{check: failures, bad: bad})
}

// Began takes the time to a first byte and returns why to roll back.
func (e *Evidence) Began(key uint64, canary bool, after time.Duration) string {
	return e.e.began(key, canary, after)
}

// Next goes on to a step.
func (e *Evidence) Next(step int) { e.e.begin(step, false) }

// Window begins another one.
func (e *Evidence) Window() { e.e.open() }

// Checks is what it knows.
func (e *Evidence) Checks() []RolloutCheck { return e.e.checks() }

// Enough reports whether the canary may go on.
func (e *Evidence) Enough() bool { return e.e.enough() }

// Users is how many are remembered.
func (e *Evidence) Users() int { return len(e.e.keys.users) }
