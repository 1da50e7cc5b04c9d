package balance

import (
	"errors"
	"math"
	"time"
)

// slowStartStep is the time after which a ramped weight is updated.
const slowStartStep = 50 * time.Millisecond

// SlowStart configures slow start: a new or recovered endpoint gets a growing share of its
// weight, max(Least, (age/Window)^(1/Aggression)), as in Envoy. The initial endpoints of a pool
// get their full share at once.
type SlowStart struct {
	// Window is the duration of the slow start. Default: 0, off.
	Window time.Duration
	// Aggression above 1 gives more at the beginning. Default: 1, linear.
	Aggression float64
	// Least is the initial share, from 0 to 1. Default: 0.1.
	Least float64
}

func (s *SlowStart) check() error {
	if s.Aggression == 0 {
		s.Aggression = 1
	}
	if s.Least == 0 {
		s.Least = 0.1
	}
	if s.Window < 0 {
		s.Window = 0
	}
	if !(s.Aggression > 0) || !(s.Least > 0 && s.Least <= 1) {
		return errors.New("balance: SlowStart: Aggression must be positive and Least within 0 and 1")
	}
	return nil
}

// share returns the share of its weight for an endpoint of that age.
func (s *SlowStart) share(age int64) (share float64, over bool) {
	if s.Window <= 0 || age >= int64(s.Window) {
		return 1, true
	}
	return max(s.Least, math.Pow(float64(age)/float64(s.Window), 1/s.Aggression)), false
}

// begin starts the slow start of a node.
func (s *SlowStart) begin(n *node, now time.Time) {
	if s.Window > 0 {
		n.started.Store(now.UnixNano())
	}
}
