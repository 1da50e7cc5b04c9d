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
	At       string // path of the object, * for any name, [] for any index; of the member when Value is set
	Old, New string // names of a member; of its value when Value is set
	Value    bool
}

// aliases is the table of all of them.
func aliases() []alias {
	return []alias{
		{At: "groups.[].proxy", Old: "tries", New: "attempts"},
		{At: "groups.[].proxy", Old: "hold", New: "prefetch"},
		{At: "groups.[].cache", Old: "sampled", New: "allow_nonzero_temperature"},
		{At: "upstreams.*.policy", Old: "cadence", New: "token_rate", Value: true},
		{At: "upstreams.*.policy", Old: "conversations", New: "prefix_affinity", Value: true},
		{At: "redis", Old: "when_down", New: "failure_mode"},
		{At: "redis.when_down", Old: "share", New: "local_share", Value: true},
		{At: "redis.when_down", Old: "deny", New: "fail_closed", Value: true},
		{At: "redis.when_down", Old: "allow", New: "fail_open", Value: true},
		{At: "redis.failure_mode", Old: "share", New: "local_share", Value: true},
		{At: "redis.failure_mode", Old: "deny", New: "fail_closed", Value: true},
		{At: "redis.failure_mode", Old: "allow", New: "fail_open", Value: true},
	}
}

// matches reports whether the alias is meant by a member.
func (a *alias) matches(m *member) bool {
	want, got := strings.Split(a.At, "."), m.segments
	if !a.Value {
		want = append(want, a.Old)
	} else if m.value != a.Old {
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
			if a.Value {
				edits = append(edits, edit{m.valueEnd, a.New})
				s.renamed = append(s.renamed, fmt.Sprintf("%s: %q is now %q", m.path, a.Old, a.New))
				continue
			}
			path := strings.TrimSuffix(m.path, a.Old) + a.New
			if _, both := x.lines[path]; both {
				faults.Add(m.path, "is the old name of %s; set only %s", a.New, a.New)
				continue
			}
			s.old[path] = m.path
			edits = append(edits, edit{m.keyEnd, a.New})
			s.renamed = append(s.renamed, fmt.Sprintf("%s is now %q", m.path, a.New))
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

// Unused returns a warning for each setting without effect that Parse found in a file of an
// earlier release.
func (s *Source) Unused() []string { return s.unused }

// tolerate returns the faults without those that a file of an earlier release may have. Such a
// file uses a name of that release.
func (s *Source) tolerate(f *Faults) *Faults {
	s.unused = nil
	if len(s.renamed) == 0 {
		return f
	}
	rest := new(Faults)
	for _, fault := range f.all {
		if fault.unused {
			s.unused = append(s.unused, s.asWritten(fault.Path)+" "+fault.Reason)
			continue
		}
		rest.all = append(rest.all, fault)
	}
	return rest
}

// asWritten returns the path with the names that the author used.
func (s *Source) asWritten(path string) string {
	for now, old := range s.old {
		if rest, ok := strings.CutPrefix(path, now); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return old + rest
		}
	}
	return path
}
