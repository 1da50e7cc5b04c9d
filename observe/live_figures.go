package observe

import (
	"cmp"
	"slices"
	"time"
)

// LiveFigures are figures of one moment, averaged over the seconds before it.
type LiveFigures struct {
	// Requests ended in a second; by how they ended: Success, Failure, Canceled and
	// Refused.
	Requests float64 `json:"requests"`
	Success  float64 `json:"success"`
	Failure  float64 `json:"failure"`
	Canceled float64 `json:"canceled"`
	Refused  float64 `json:"refused"`
	// InputTokens and OutputTokens are those of a second. Input counts when its request
	// ends; output when it comes, by the events of streams ([Hooks.Token]) and by what
	// answers say of it in the end, spread over the time that they took.
	InputTokens  float64 `json:"input_tokens"`
	OutputTokens float64 `json:"output_tokens"`
	// FirstToken is the time to the first token.
	FirstToken LiveTimes `json:"first_token"`
}

// LiveTimes is how long something took.
type LiveTimes struct {
	// Count is how many there were, in all seconds together.
	Count int64 `json:"count"`
	// P50 and P95 are in milliseconds, wrong by at most 3.2 % or 0.04 ms, whichever is
	// more; from 131 s on they are 131 s. Zero without a Count.
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
}

// LiveNow are the figures of now.
type LiveNow struct {
	// Time is when, in seconds since 1970.
	Time int64 `json:"time"`
	// Inflight is how many requests are under way.
	Inflight int `json:"inflight"`
	LiveFigures
	// Versions are the same by version, in the order of their names: those of which
	// something was heard within Window.
	Versions []LiveVersion `json:"versions"`
}

// LiveVersion are the figures of a version of a model.
type LiveVersion struct {
	// Version is its name; "" are requests without one, "other" the versions beyond
	// the bound.
	Version string `json:"version"`
	// Inflight is how many requests for it are under way.
	Inflight int `json:"inflight"`
	LiveFigures
}

// LivePoint are the figures of one second of the past.
type LivePoint struct {
	// Time is when, in seconds since 1970.
	Time int64 `json:"time"`
	LiveFigures
}

// Snapshot returns the figures of now.
func (l *Live) Snapshot() LiveNow {
	now := time.Now()
	second := l.second(now)
	first, n := l.span(second)
	out := LiveNow{Time: now.Unix(), Versions: []LiveVersion{}}

	l.mu.Lock()
	var flights []*record
	for f := l.flights.after; f != &l.flights; f = f.after {
		flights = append(flights, f.record)
		if seen := f.record.tokens.Load(); seen > f.counted {
			version, began := f.record.now()
			l.write(f, version, l.second(began), second, seen)
		}
		f.until = second
	}
	out.LiveFigures = l.all.figures(first, n)
	for name, s := range l.versions {
		if s.last+l.seconds >= second {
			out.Versions = append(out.Versions, LiveVersion{Version: name, LiveFigures: s.figures(first, n)})
		}
	}
	l.mu.Unlock()

	out.Inflight = len(flights)
	out.fly(flights, l.most)
	slices.SortFunc(out.Versions, func(a, b LiveVersion) int { return cmp.Compare(a.Version, b.Version) })
	return out
}

// fly counts those under way by version.
func (n *LiveNow) fly(flights []*record, most int) {
	at := make(map[string]int, len(n.Versions))
	for i := range n.Versions {
		at[n.Versions[i].Version] = i
	}
	for _, r := range flights {
		version, _ := r.now()
		i, ok := at[version]
		if !ok {
			if len(at) >= most {
				version = other
			}
			if i, ok = at[version]; !ok {
				i = len(n.Versions)
				at[version] = i
				n.Versions = append(n.Versions, LiveVersion{Version: version})
			}
		}
		n.Versions[i].Inflight++
	}
}

// now is the version that a request under way is for, and when it began.
func (r *record) now() (version string, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry.version, r.entry.start
}

// History returns the figures of every second of Window that there was, the oldest
// first. Each is averaged as those of Snapshot are.
func (l *Live) History() []LivePoint {
	now := time.Now()
	second := l.second(now)
	out := make([]LivePoint, 0, min(second, l.seconds))
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := max(second-l.seconds, 0) + 1; at <= second; at++ {
		first, n := l.span(at)
		out = append(out, LivePoint{Time: now.Unix() - second + at, LiveFigures: l.all.figures(first, n)})
	}
	return out
}
