package routing

import (
	"math"
	"slices"
)

// A canary of which this many answers in a row failed is rolled back although too few
// users were seen for anything else, unless the stable version fails too.
const (
	deadRun   = 30
	deadUsers = 3
	stableRun = 5
)

// streaks are the failures in a row of both versions: stable, canary.
type streaks struct {
	failed [2]int
	users  []uint64 // of the canary's, up to deadUsers
	well   bool     // the stable version answered somebody since the canary's began
}

// dead reports that the canary answers nobody, while the stable version does. What may
// be a request's own fault does not count: a single user may be the only one to ask. One
// who tries again and again does not count for the others who were seen, either.
func (s *streaks) dead(key uint64, canary bool, f finding, seen int, share float64) bool {
	switch {
	case !f.bad:
		s.failed[armOf(canary)] = 0
		s.well = s.well || !canary
	case f.own:
	case !canary:
		s.failed[0]++
	default:
		s.fail(key)
	}
	return canary && s.failed[1] >= deadRun && len(s.users) >= min(deadUsers, seen) && s.stableIsWell(share)
}

// fail counts a failure of the canary's.
func (s *streaks) fail(key uint64) {
	if s.failed[1]++; s.failed[1] == 1 {
		s.users, s.well = s.users[:0], false
	}
	if len(s.users) < deadUsers && !slices.Contains(s.users, key) {
		s.users = append(s.users, key)
	}
}

// stableIsWell reports that the stable version answers, as far as is known: it did since
// the canary's failures began, or was not asked although somebody should have come.
func (s *streaks) stableIsWell(share float64) bool {
	if s.well {
		return s.failed[0] < stableRun
	}
	return s.failed[0] == 0 && math.Pow(share, float64(s.failed[1])) < 0.001
}
