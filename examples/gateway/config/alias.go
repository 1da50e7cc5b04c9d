package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// alias is a name of an earlier release. It is accepted for one release, with a warning.
type alias struct {
	at       string // path of the key, * for any name, [] for any index
	old, new string // of the key; of its value when values is set
	values   bool
}

// aliases is the table of all of them.
func aliases() []alias {
	return []alias{
		{at: "groups.[].proxy", old: "tries", new: "attempts"},
		{at: "groups.[].proxy", old: "hold", new: "prefetch"},
		{at: "groups.[].cache", old: "sampled", new: "allow_nonzero_temperature"},
		{at: "upstreams.*.policy", old: "cadence", new: "token_rate", values: true},
		{at: "upstreams.*.policy", old: "conversations", new: "prefix_affinity", values: true},
		{at: "redis", old: "when_down", new: "failure_mode"},
		{at: "redis.when_down", old: "share", new: "local_share", values: true},
		{at: "redis.when_down", old: "deny", new: "fail_closed", values: true},
		{at: "redis.when_down", old: "allow", new: "fail_open", values: true},
		{at: "redis.failure_mode", old: "share", new: "local_share", values: true},
		{at: "redis.failure_mode", old: "deny", new: "fail_closed", values: true},
		{at: "redis.failure_mode", old: "allow", new: "fail_open", values: true},
	}
}

// matches reports whether the alias is meant by a member.
func (a *alias) matches(m *member) bool {
	want, got := strings.Split(a.at, "."), m.segments
	if !a.values {
		want = append(want, a.old)
	} else if m.value != a.old {
		return false
	}
	return slices.EqualFunc(want, got, func(want, got string) bool { return want == "*" || want == got })
}

// edit replaces a token of the text.
type edit struct {
	end int64 // offset of its end
	new string
}

// rename replaces the aliases in the text by today's names, without moving a line, and records
// the place of every value.
func (s *Source) rename(text []byte) ([]byte, *Faults) {
	x, faults := index(text)
	s.lines, s.ends, s.old, s.renamed = x.lines, x.ends, map[string]string{}, nil
	if !faults.Empty() {
		return text, faults
	}
	var edits []edit
	for i := range x.members {
		m := &x.members[i]
		for _, a := range aliases() {
			if !a.matches(m) {
				continue
			}
			if a.values {
				edits = append(edits, edit{m.valueEnd, a.new})
				s.renamed = append(s.renamed, fmt.Sprintf("%s: %q is now %q", m.path, a.old, a.new))
				continue
			}
			path := strings.TrimSuffix(m.path, a.old) + a.new
			if _, both := x.lines[path]; both {
				faults.Add(m.path, "is the old name of %s; set only %s", a.new, a.new)
				continue
			}
			s.old[path] = m.path
			edits = append(edits, edit{m.keyEnd, a.new})
			s.renamed = append(s.renamed, fmt.Sprintf("%s is now %q", m.path, a.new))
		}
	}
	if len(edits) == 0 || !faults.Empty() {
		return text, faults
	}
	text = apply(text, edits)
	x, faults = index(text)
	s.lines, s.ends = x.lines, x.ends
	return text, faults
}

// apply replaces tokens, which are JSON strings, from the last to the first.
func apply(text []byte, edits []edit) []byte {
	slices.SortFunc(edits, func(a, b edit) int { return int(b.end - a.end) })
	for _, e := range edits {
		start := bytes.LastIndexByte(text[:e.end-1], '"')
		quoted, _ := json.Marshal(e.new)
		text = slices.Concat(text[:start], quoted, text[e.end:])
	}
	return text
}

// Renamed returns a warning for each name of an earlier release that Parse found.
func (s *Source) Renamed() []string { return s.renamed }

// asWritten returns the path with the names that the author used.
func (s *Source) asWritten(path string) string {
	for now, old := range s.old {
		if rest, ok := strings.CutPrefix(path, now); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return old + rest
		}
	}
	return path
}
