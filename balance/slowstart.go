package balance

import (
	"errors"
	"math"
	"time"
)

// slowStartStep is how often a ramped weight is brought up to date.
const slowStartStep = 50 * time.Millisecond

// SlowStart gives a new or recovered endpoint a growing share of its weight:
// max(Least, (age/Window)^(1/Aggression)). Source: Envoy's slow start mode.
// The endpoints that a pool begins with do not start slowly.
type SlowStart struct {
	// Window is how long it takes. Default 0: off.
	Window time.Duration
	// Aggression above 1 gives more at the beginning. Default 1: linear.
	Aggression float64
	// Least is the share to begin with. Default 0.1.
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

// share is the part of its weight that an endpoint of that age gets.
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
