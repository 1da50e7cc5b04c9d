package trial

import "math"

const (
	// deadRun is the number of failures in a row after which a canary may be dead.
	deadRun = 30
	// deadUsers is the number of users that a streak spans, as far as several were seen, and of
	// requests to the stable version, before which there is nothing to compare with.
	deadUsers = 3
	// deadRisk is the part of the risk that the rule has.
	deadRisk = 0.05
	// stuckRun is the number of failures in a row from which a user is stuck: all its
	// requests may fail, whichever version has them.
	stuckRun = 5
	// streakUsers bounds the users that a streak keeps; it ignores the failures of others.
	streakUsers = 64
)

// streaks detects a canary that fails every request, also when too few users were seen for
// the comparison, or when all of them have counted in this window.
//
// If the canary is no worse, the r failures in a row of one of its users have the
// probability q+(1-q)eʳ: either the user is stuck, as a part q of the stable version's users
// is, or its requests fail independently, as a part e of the stable version's does. A
// streak of several users has the product. Streak k is a test of its own with the part
// 1/(k(k+1)) of the rule's risk. A common outage explains a failure as long as the stable
// version has not succeeded since; until then it is no evidence.
type streaks struct {
	asked            int // requests to the stable version
	requests, failed int // the same without those that may be at fault themselves
	users, stuck     int // of the stable version

	begun   int  // the canary's streaks so far
	current int  // the canary's failures in a row
	alone   bool // the stable version got no request meanwhile
	runs    map[uint64]run
}

// run is the part of a streak that one user has.
type run struct {
	failed    int
	confirmed int // the failures after which the stable version succeeded
}

// dead records a finding about failures, and reports whether the canary fails every request.
// Failures that may be the request's own fault do not count.
func (s *streaks) dead(key uint64, canary bool, f Finding) bool {
	if !canary {
		s.asked++
		s.alone = false
	}
	switch {
	case f.RequestFault:
	case !canary:
		s.compare(f.Bad)
	case f.Bad:
		s.fail(key)
	default:
		s.current = 0
		clear(s.runs)
	}
	return canary && s.current >= deadRun
}

// compare records a request of the stable version.
func (s *streaks) compare(bad bool) {
	s.requests++
	if bad {
		s.failed++
		return
	}
	for key, r := range s.runs {
		r.confirmed = r.failed
		s.runs[key] = r
	}
}

// fail records a failure of the canary.
func (s *streaks) fail(key uint64) {
	if s.current++; s.current == 1 {
		s.begun++
		s.alone = true
	}
	if s.runs == nil {
		s.runs = make(map[uint64]run)
	}
	r, ok := s.runs[key]
	if !ok && len(s.runs) == streakUsers {
		return
	}
	r.failed++
	s.runs[key] = r
}

// isCertain reports whether the streak is beyond chance. The canary has seen users at this
// step. Before anything is known of the stable version there is nothing to compare with, as
// when a developer is alone on a gateway: then a streak is enough within which a request to
// the stable version was to be expected.
func (s *streaks) isCertain(seen int, share, risk float64) bool {
	if s.alone && s.asked < deadUsers {
		return len(s.runs) >= min(deadUsers, seen) && math.Pow(share, float64(s.current)) < 0.001
	}
	k := float64(s.begun)
	return s.probability() <= math.Log(risk*deadRisk/(k*(k+1)))
}

// probability is the logarithm of the streak's probability if the canary is no worse.
func (s *streaks) probability() float64 {
	q := float64(s.stuck+1) / float64(s.users+2)
	e := float64(s.failed+1) / float64(s.requests+2)
	sum := 0.0
	for _, r := range s.runs {
		sum += math.Log(q + (1-q)*math.Pow(e, float64(r.confirmed)))
	}
	return sum
}

// note records a finding about failures of a user of the stable version.
func (s *streaks) note(u *user, f Finding) {
	if u.seen[Failures] == 0 {
		s.users++
	}
	if f.RequestFault {
		return
	}
	was := u.isStuck()
	u.run = min(u.run+1, stuckRun)
	if !f.Bad {
		u.run = 0
	}
	switch is := u.isStuck(); {
	case is && !was:
		s.stuck++
	case was && !is:
		s.stuck--
	}
}
