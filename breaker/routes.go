package breaker

import (
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/evidence"
)

const (
	// maxRoutes is the number of routes of a circuit that are counted separately.
	maxRoutes = 32
	// maxRouteName bounds the name of a route, in bytes.
	maxRouteName = 64
)

var seed = maphash.MakeSeed() //nolint:gochecknoglobals // hashes are compared within the process

// routes are the recently used routes of a circuit.
type routes struct {
	list []*route
	uses uint64 // so far
	sole uint64 // the only route with evidence while the circuit is open; 0: none
}

// route is one kind of request to an endpoint, counted separately so that one path that always
// fails does not open the whole circuit.
type route struct {
	lane
	key     uint64
	used    uint64 // number of its latest use
	seen    evidence.Window
	callers evidence.Callers
}

// find returns the route of a request, and replaces the least recently used one if there are
// too many. Nil: the request has no route.
func (r *routes) find(q *admission) *route {
	if q.route == 0 {
		return nil
	}
	r.uses++
	for _, one := range r.list {
		if one.key == q.route {
			one.used = r.uses
			return one
		}
	}
	one := &route{key: q.route, used: r.uses, lane: lane{name: routeName(q.path)}}
	if len(r.list) < maxRoutes {
		r.list = append(r.list, one)
		return one
	}
	oldest := 0
	for i, other := range r.list {
		if other.used < r.list[oldest].used {
			oldest = i
		}
	}
	r.list[oldest] = one
	return one
}

// others returns the tally of all routes but the one with the most failures.
func (r *routes) others(now time.Time) evidence.Tally {
	var worst, sum evidence.Tally
	for _, one := range r.list {
		t := one.seen.Tally(now)
		sum.All += t.All
		sum.Bad += t.Bad
		if t.Bad > worst.Bad {
			worst = t
		}
	}
	return evidence.Tally{All: sum.All - worst.All, Bad: sum.Bad - worst.Bad}
}

// serve reports whether another route succeeded.
func (r *routes) serve(but *route, now time.Time) bool {
	return slices.ContainsFunc(r.list, func(one *route) bool { return one != but && one.seen.Tally(now).Good() > 0 })
}

// opened resets all routes after the circuit has opened. It records the only route with
// evidence, if there is one: the others may be well.
func (r *routes) opened(now time.Time) {
	known := 0
	r.sole = 0
	for _, one := range r.list {
		if one.seen.Tally(now).All > 0 {
			known++
			r.sole = one.key
		}
		if one.state != Closed {
			one.state = Closed
			one.generation++
		}
	}
	if known > 1 {
		r.sole = 0
	}
}

// isUnknown reports whether nothing is known of the request's route, while the circuit is open
// because of another route.
func (r *routes) isUnknown(q *admission) bool {
	return r.sole != 0 && q.route != 0 && q.route != r.sole
}

// open returns the names of the routes that are not closed.
func (r *routes) open() (names []string) {
	for _, one := range r.list {
		if one.state != Closed {
			names = append(names, one.name)
		}
	}
	slices.Sort(names)
	return names
}

// routeKey returns a hash of a path without its ids; or of version and API, for a call to a
// known API.
func routeKey(api, version, path string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(version) // never fails
	_ = h.WriteByte(0)
	if version != "" && api != "" {
		_, _ = h.WriteString(api)
		return max(h.Sum64(), 1)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if isID(segment) {
			segment = "*"
		}
		_, _ = h.WriteString(segment)
		_ = h.WriteByte('/')
	}
	return max(h.Sum64(), 1)
}

// routeName returns the path without its ids, for display.
func routeName(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if isID(s) {
			segments[i] = "*"
		}
	}
	name := strings.ToValidUTF8(strings.Join(segments, "/"), "")
	if len(name) > maxRouteName {
		name = strings.ToValidUTF8(name[:maxRouteName], "")
	}
	return name
}

// isID reports whether a path segment is an identifier: a number, hexadecimal digits such as a
// UUID, or a long word with digits in it.
func isID(s string) bool {
	digits, hex := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F', c == '-':
			hex++
		}
	}
	switch {
	case digits == 0:
		return false
	case digits == len(s), digits+hex == len(s) && len(s) >= 8:
		return true
	}
	return len(s) >= 16 && digits >= 3
}
