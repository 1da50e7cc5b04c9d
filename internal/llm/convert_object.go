package llm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// members are the members of an object, verbatim.
type members map[string]json.RawMessage

// readMembers parses an object.
func readMembers(data []byte) (members, error) {
	var f members
	if err := json.Unmarshal(data, &f); err != nil || f == nil {
		return nil, fmt.Errorf("%w: not an object", ErrForm)
	}
	return f, nil
}

// merge sets the members of other that are not null.
func (f members) merge(other members) {
	for name, v := range other {
		if !isAbsent(v) {
			f[name] = v
		}
	}
}

// text returns a string member; null is "".
func (f members) text(name string) (s string, err error) {
	if isAbsent(f[name]) {
		return "", nil
	}
	if json.Unmarshal(f[name], &s) != nil {
		return "", fmt.Errorf("%w: %s is no text", ErrForm, name)
	}
	return s, nil
}

// index returns the member index, 0 if it is absent.
func (f members) index() (n int, err error) {
	v := f["index"]
	if isAbsent(v) {
		return 0, nil
	}
	if json.Unmarshal(v, &n) != nil || n < 0 || n > 1<<16 {
		return 0, fmt.Errorf("%w: no index", ErrForm)
	}
	return n, nil
}

// list returns a member that is a list of objects; null is an empty one.
func (f members) list(name string) (all []members, err error) {
	if isAbsent(f[name]) {
		return nil, nil
	}
	if json.Unmarshal(f[name], &all) != nil || slices.ContainsFunc(all, func(one members) bool { return one == nil }) {
		return nil, fmt.Errorf("%w: %s is no list of objects", ErrForm, name)
	}
	return all, nil
}

// objectWriter writes an object, member by member.
type objectWriter struct{ b []byte }

func newObject() *objectWriter { return &objectWriter{b: []byte{'{'}} }

// raw adds a member that is JSON, unless it is empty.
func (w *objectWriter) raw(name string, v json.RawMessage) *objectWriter {
	if len(v) == 0 {
		return w
	}
	if len(w.b) > 1 {
		w.b = append(w.b, ',')
	}
	w.b = append(append(w.b, quoted(name)...), ':')
	w.b = append(w.b, v...)
	return w
}

func (w *objectWriter) text(name, s string) *objectWriter { return w.raw(name, quoted(s)) }

func (w *objectWriter) index(n int) *objectWriter { return w.raw("index", fmt.Append(nil, n)) }

// all adds the members except those with the given names, in order.
func (w *objectWriter) all(f members, but ...string) *objectWriter {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(but, name) {
			w.raw(name, f[name])
		}
	}
	return w
}

func (w *objectWriter) end() json.RawMessage { return append(w.b, '}') }

// list returns an array of values.
func list(values ...json.RawMessage) json.RawMessage {
	out := json.RawMessage{'['}
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, v...)
	}
	return append(out, ']')
}

func quoted(s string) json.RawMessage {
	b, _ := json.Marshal(s) // strings can always be marshaled
	return b
}

// maxPiece bounds the text in one event, in bytes, because clients have bounds of their
// own.
const maxPiece = 4 << 10

// pieces splits a text between characters. An empty text is one piece.
func pieces(s string) (all []string) {
	for len(s) > maxPiece {
		n := maxPiece
		for n > maxPiece-utf8.UTFMax && !utf8.RuneStart(s[n]) {
			n--
		}
		all, s = append(all, s[:n]), s[n:]
	}
	return append(all, s)
}
