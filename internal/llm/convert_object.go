package llm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// members are those of an object, as they were sent.
type members map[string]json.RawMessage

// readMembers reads an object.
func readMembers(data []byte) (members, error) {
	var f members
	if err := json.Unmarshal(data, &f); err != nil || f == nil {
		return nil, fmt.Errorf("%w: not an object", ErrForm)
	}
	return f, nil
}

// merge takes over what other has and is not null. Of two the later counts.
func (f members) merge(other members) {
	for name, v := range other {
		if !isAbsent(v) {
			f[name] = v
		}
	}
}

// text is a member that is a string; null is "".
func (f members) text(name string) (s string, err error) {
	if isAbsent(f[name]) {
		return "", nil
	}
	if json.Unmarshal(f[name], &s) != nil {
		return "", fmt.Errorf("%w: %s is no text", ErrForm, name)
	}
	return s, nil
}

// index is which one of several it is, and 0 if it does not say.
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

// list is a member that is a list of objects; null is an empty one.
func (f members) list(name string) (all []members, err error) {
	if isAbsent(f[name]) {
		return nil, nil
	}
	if json.Unmarshal(f[name], &all) != nil || slices.ContainsFunc(all, func(one members) bool { return one == nil }) {
		return nil, fmt.Errorf("%w: %s is no list of objects", ErrForm, name)
	}
	return all, nil
}

// writer writes an object, member by member.
type objectWriter struct{ b []byte }

func newObject() *objectWriter { return &objectWriter{b: []byte{'{'}} }

// raw adds a member that is JSON already, if there is one.
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

// all adds the members that have none of the names, in order.
func (w *objectWriter) all(f members, but ...string) *objectWriter {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(but, name) {
			w.raw(name, f[name])
		}
	}
	return w
}

func (w *objectWriter) end() json.RawMessage { return append(w.b, '}') }

// list joins values to an array.
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
	b, _ := json.Marshal(s) // a string can be marshalled
	return b
}

// maxPiece bounds the text in one event, in bytes: clients have bounds of their own.
const maxPiece = 4 << 10

// pieces cuts a text between its characters. An empty one is one piece.
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
