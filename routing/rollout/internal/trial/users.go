package trial

import "github.com/ginfer/ginfer/internal/hash"

// maxUsers bounds the users that a trial keeps.
const maxUsers = 1 << 17

// user is the record of one user: its version, its failures in a row (up to stuckRun), the
// last steps (from 1) with a request and with a bad event, and the last window in which it
// counted.
type user struct {
	canary    bool
	run       uint8
	seen, bad [checks]uint8
	window    [checks]int
}

// isStuck reports whether all requests of the user may fail.
func (u *user) isStuck() bool { return u.run >= stuckRun }

// userSet is the users that were seen. Beyond maxUsers it keeps a half of them, a quarter,
// and so on, chosen by hash and therefore at random.
type userSet struct {
	users map[uint64]user
	mask  uint64 // users with one of these bits in the hash are left out
}

// includes reports whether a user belongs to the kept part.
func (s *userSet) includes(key uint64) bool { return hash.Mix(key)&s.mask == 0 }

func (s *userSet) get(key uint64) user { return s.users[key] }

// put stores a user, and reports whether others were evicted.
func (s *userSet) put(key uint64, u user) (evicted bool) {
	s.users[key] = u
	for len(s.users) > maxUsers {
		s.mask = s.mask<<1 | 1
		for other := range s.users {
			if !s.includes(other) {
				delete(s.users, other)
			}
		}
		evicted = true
	}
	return evicted
}
