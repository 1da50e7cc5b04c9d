package trial

import (
	"math"
	"slices"
)

// A canary with this many failures in a row is rolled back even when too few users were
// seen for the test, unless the stable version fails too.
const (
	deadRun   = 30
	deadUsers = 3
	stableRun = 5
)

// streaks counts consecutive failures of both versions: stable, canary.
type streaks struct {
	failed [2]int
	users  []uint64 // of the canary's, up to deadUsers
	well   bool     // the stable version succeeded since the canary's streak began
}

// dead reports whether the canary fails every request while the stable version succeeds.
// Failures that may be the request's own fault do not count, as a single user may send
// them all. The streak must span several users, as far as several were seen.
func (s *streaks) dead(key uint64, canary bool, f Finding, seen int, share float64) bool {
	switch {
	case !f.Bad:
		s.failed[armOf(canary)] = 0
		s.well = s.well || !canary
	case f.RequestFault:
	case !canary:
		s.failed[0]++
	default:
		s.fail(key)
	}
	return canary && s.failed[1] >= deadRun && len(s.users) >= min(deadUsers, seen) && s.stableIsWell(share)
}

// fail counts a failure of the canary.
func (s *streaks) fail(key uint64) {
	if s.failed[1]++; s.failed[1] == 1 {
		s.users, s.well = s.users[:0], false
	}
	if len(s.users) < deadUsers && !slices.Contains(s.users, key) {
		s.users = append(s.users, key)
	}
}

// stableIsWell reports whether the stable version succeeds, as far as is known: it did
// since the canary's streak began, or it got no request although one was to be expected.
func (s *streaks) stableIsWell(share float64) bool {
	if s.well {
		return s.failed[0] < stableRun
	}
	return s.failed[0] == 0 && math.Pow(share, float64(s.failed[1])) < 0.001
}
