package routing

import "github.com/ginfer/ginfer/internal/hash"

// maxUsers bounds the users that a rollout remembers.
const maxUsers = 1 << 17

// user is what is remembered of one: whose it is, at which step, from 1, something was
// last tried, and at which it was last bad, and in which window it last counted.
type user struct {
	canary     bool
	tried, bad [checks]uint8
	window     [checks]int
}

// keySet is the users that were seen, or of so many that they do not fit a half, a
// quarter, and so on: which ones is a matter of a hash, and so of chance.
type keySet struct {
	users map[uint64]user
	level uint64 // users whose hash has a bit of it are left out
}

// takes reports whether a user is among those who count.
func (k *keySet) takes(key uint64) bool { return hash.Mix(key)&k.level == 0 }

func (k *keySet) of(key uint64) user { return k.users[key] }

// put remembers a user, and reports whether others were forgotten for that.
func (k *keySet) put(key uint64, u user) (forgot bool) {
	k.users[key] = u
	for len(k.users) > maxUsers {
		k.level = k.level<<1 | 1
		for other := range k.users {
			if !k.takes(other) {
				delete(k.users, other)
			}
		}
		forgot = true
	}
	return forgot
}
