package observe

import (
	"cmp"
	"slices"
	"time"
)

// LiveFigures are the figures of a moment, averaged over the seconds before it.
type LiveFigures struct {
	// Requests are the requests that ended per second; Success, Failure, Canceled and
	// Refused those of each outcome.
	Requests float64 `json:"requests"`
	Success  float64 `json:"success"`
	Failure  float64 `json:"failure"`
	Canceled float64 `json:"canceled"`
	Refused  float64 `json:"refused"`
	// InputTokens and OutputTokens are tokens per second. Input tokens count at the end of
	// their request. Output tokens count as they arrive, by the events of streams
	// (events.Hooks.Token); those that only the end of a response reports are spread over its
	// duration.
	InputTokens  float64 `json:"input_tokens"`
	OutputTokens float64 `json:"output_tokens"`
	// FirstToken is the distribution of the time to first token (TTFT) of streams. Count is
	// the number of observations in all seconds together. P50 and P95 are quantiles in
	// milliseconds, with an error of at most 3.2 % or 0.04 ms, whichever is larger, and a
	// maximum of 131 s; they are zero without observations.
	FirstToken struct {
		Count int64   `json:"count"`
		P50   float64 `json:"p50_ms"`
		P95   float64 `json:"p95_ms"`
	} `json:"first_token"`
}

// LiveNow are the current figures.
type LiveNow struct {
	// Time is the Unix time, in seconds.
	Time int64 `json:"time"`
	// Inflight is the number of requests under way.
	Inflight int `json:"inflight"`
	LiveFigures
	// Versions are the figures of each version with requests within Window, by name.
	Versions []LiveVersion `json:"versions"`
}

// LiveVersion are the figures of a version of a model.
type LiveVersion struct {
	// Version is the name of the version: "" for requests without one, "other" for the
	// versions beyond the bound.
	Version string `json:"version"`
	// Inflight is the number of requests under way for this version.
	Inflight int `json:"inflight"`
	LiveFigures
}

// LivePoint are the figures of one second of the past.
type LivePoint struct {
	// Time is the Unix time, in seconds.
	Time int64 `json:"time"`
	LiveFigures
}

// Snapshot returns the current figures.
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
	out.countInflight(flights, l.most)
	slices.SortFunc(out.Versions, func(a, b LiveVersion) int { return cmp.Compare(a.Version, b.Version) })
	return out
}

// countInflight counts the requests under way by version.
func (n *LiveNow) countInflight(flights []*record, most int) {
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

// now returns the version of a request under way and its start.
func (r *record) now() (version string, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry.version, r.entry.start
}

// History returns the figures of every second of Window so far, the oldest first. Each is
// averaged like those of Snapshot.
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
