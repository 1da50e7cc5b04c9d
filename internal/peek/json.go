package peek

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// What looking up a member can find.
var (
	// ErrNotFound: the object has no such member.
	ErrNotFound = errors.New("no such member")
	// ErrDuplicate: it has more than one, or one in another case, and parsers
	// differ in which counts (Go's own does not look at the case).
	ErrDuplicate = errors.New("member appears more than once, or in another case")
	// ErrSyntax: this is not a JSON object.
	ErrSyntax = errors.New("not a JSON object")
	// ErrType: the value is not of the wanted type.
	ErrType = errors.New("not a string")
)

// Member finds the value of a top-level member of a JSON object: it is
// object[start:end]. Names are compared after escapes. The scan is exact for
// every valid JSON text (RFC 8259); it does not find every fault of an invalid
// one.
func Member(object []byte, key string) (start, end int, err error) {
	s := scanner{b: object}
	if !s.take('{') {
		return 0, 0, ErrSyntax
	}
	found := false
	for first := true; !s.take('}'); first = false {
		m, ok := s.member(first)
		if !ok {
			return 0, 0, s.fault()
		}
		same, folded := isName(m.name, key)
		if !same && !folded {
			continue
		}
		if found || !same {
			return 0, 0, fmt.Errorf("%q: %w", key, ErrDuplicate)
		}
		found, start, end = true, m.start, m.end
	}
	if err := s.end(); err != nil {
		return 0, 0, err
	}
	if !found {
		return 0, 0, fmt.Errorf("%q: %w", key, ErrNotFound)
	}
	return start, end, nil
}

// String is [Member] for a value that must be a JSON string; it is decoded.
func String(object []byte, key string) (string, error) {
	start, end, err := Member(object, key)
	if err != nil {
		return "", err
	}
	if object[start] != '"' {
		return "", fmt.Errorf("%q: %w", key, ErrType)
	}
	var v string
	if err := json.Unmarshal(object[start:end], &v); err != nil {
		return "", fmt.Errorf("%q: %w", key, ErrSyntax)
	}
	return v, nil
}

// isName compares a quoted name with key, exactly and regardless of case. Most
// names have no escapes.
func isName(quoted []byte, key string) (same, folded bool) {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == key, bytes.EqualFold(inner, []byte(key))
	}
	var name string
	if json.Unmarshal(quoted, &name) != nil {
		return false, true // a lenient parser may read anything into it
	}
	return name == key, strings.EqualFold(name, key)
}

type scanner struct {
	b []byte
	i int
}

func (s *scanner) fault() error { return fmt.Errorf("%w: fault at byte %d", ErrSyntax, s.i) }

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) take(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// member is one name and value; the name has its quotes.
type member struct {
	name       []byte
	start, end int
}

// member skips one member and the comma before it, if it is not the first.
func (s *scanner) member(first bool) (m member, ok bool) {
	if !first && !s.take(',') {
		return m, false
	}
	if m.name, ok = s.str(); !ok || !s.take(':') {
		return m, false
	}
	m.start, m.end, ok = s.value()
	return m, ok
}

// str returns the next string with its quotes.
func (s *scanner) str() ([]byte, bool) {
	if s.space(); s.i >= len(s.b) || s.b[s.i] != '"' {
		return nil, false
	}
	start := s.i
	for i := s.i + 1; ; i++ {
		n := bytes.IndexByte(s.b[i:], '"')
		if n < 0 {
			return nil, false
		}
		i += n
		if !escaped(s.b[start+1 : i]) {
			s.i = i + 1
			return s.b[start:s.i], true
		}
	}
}

// escaped reports whether an odd number of backslashes stands at the end.
func escaped(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// value skips one value and returns its span.
func (s *scanner) value() (start, end int, ok bool) {
	s.space()
	start = s.i
	if s.i == len(s.b) {
		return 0, 0, false
	}
	switch s.b[s.i] {
	case '"':
		_, ok = s.str()
	case '{', '[':
		ok = s.nested()
	default:
		ok = s.scalar()
	}
	return start, s.i, ok
}

// nested skips an object or an array.
func (s *scanner) nested() bool {
	for depth := 0; s.i < len(s.b); {
		switch s.b[s.i] {
		case '"':
			if _, ok := s.str(); !ok {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.i++
		if depth == 0 {
			return true
		}
	}
	return false
}

// scalar skips a number, true, false or null.
func (s *scanner) scalar() bool {
	start := s.i
	for s.i < len(s.b) && !bytes.ContainsRune([]byte(",}] \t\r\n"), rune(s.b[s.i])) {
		s.i++
	}
	return s.i > start && json.Valid(s.b[start:s.i])
}

// Members calls f with each member of a JSON object, its name decoded, until f returns
// false. The scan is as exact as [Member]'s.
func Members(object []byte, f func(name string, value []byte) bool) error {
	s := scanner{b: object}
	if !s.take('{') {
		return ErrSyntax
	}
	for first := true; !s.take('}'); first = false {
		m, ok := s.member(first)
		if !ok {
			return s.fault()
		}
		name, ok := nameOf(m.name)
		if !ok {
			return s.fault()
		}
		if !f(name, object[m.start:m.end]) {
			return nil
		}
	}
	return s.end()
}

// nameOf decodes a quoted name. Most have no escapes, and a body may have very many.
func nameOf(quoted []byte) (name string, ok bool) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), true
	}
	err := json.Unmarshal(quoted, &name)
	return name, err == nil
}

// Elements is [Members] for a JSON array.
func Elements(array []byte, f func(value []byte) bool) error {
	s := scanner{b: array}
	if !s.take('[') {
		return ErrSyntax
	}
	for first := true; !s.take(']'); first = false {
		if !first && !s.take(',') {
			return s.fault()
		}
		start, end, ok := s.value()
		if !ok {
			return s.fault()
		}
		if !f(array[start:end]) {
			return nil
		}
	}
	return s.end()
}

// end checks that nothing follows.
func (s *scanner) end() error {
	if s.space(); s.i != len(s.b) {
		return s.fault()
	}
	return nil
}
