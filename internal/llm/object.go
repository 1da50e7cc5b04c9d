package llm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Errors of looking up a member.
var (
	// ErrNotFound is returned when the object has no such member.
	ErrNotFound = errors.New("no such member")
	// ErrDuplicate is returned when it has several, or one in another case: parsers differ
	// in which counts (Go's own ignores the case).
	ErrDuplicate = errors.New("member appears more than once, or in another case")
	// ErrSyntax is returned when the text is not a JSON object.
	ErrSyntax = errors.New("not a JSON object")
	// ErrType is returned when the value has the wrong type.
	ErrType = errors.New("not a string")
)

// Span is a part of a text: from Start to before End. The zero value is none.
type Span struct{ Start, End int }

// Of returns the part of the text.
func (s Span) Of(text []byte) []byte { return text[s.Start:s.End] }

// IsZero reports whether the span is none.
func (s Span) IsZero() bool { return s.End == 0 }

// discard is the owner of texts of which only the structure matters.
type discard struct{}

func (discard) text(*node, []byte)            {}
func (discard) value(*node, []byte, int, int) {}
func (discard) closed(*node, bool, int, int)  {}

// outline is the root of such texts.
//
//nolint:gochecknoglobals // a constant
var (
	anything = &node{}
	outlines = &node{others: anything, element: anything}
)

// Member returns the span of the value of a top-level member of a JSON object. Names are
// compared after decoding. The scan is exact for every valid JSON text (RFC 8259); it does
// not find every error of an invalid one.
func Member(object []byte, key string) (Span, error) {
	var found Span
	var err error
	matches := false
	l := lexer{owner: discard{}, root: outlines, only: '{'}
	l.names = func(_ []byte, start, end int) {
		same, folded := isName(object[start:end], key)
		if (same || folded) && (!found.IsZero() || !same) {
			err = fmt.Errorf("%q: %w", key, ErrDuplicate)
		}
		matches = same
	}
	l.values = func(start, end int) {
		switch {
		case !isValue(object[start:end]):
			l.state = broken
		case matches:
			found = Span{start, end}
		}
	}
	fault := l.whole(object)
	switch {
	case err != nil:
		return Span{}, err
	case fault != nil:
		return Span{}, fault
	case found.IsZero():
		return Span{}, fmt.Errorf("%q: %w", key, ErrNotFound)
	}
	return found, nil
}

// isValue reports whether a top-level value is not misspelled. It does not look into
// strings, objects and arrays.
func isValue(v []byte) bool {
	switch v[0] {
	case '"', '{', '[':
		return true
	default:
		return json.Valid(v)
	}
}

// String is like [Member] for a JSON string, which it decodes.
func String(object []byte, key string) (string, error) {
	span, err := Member(object, key)
	if err != nil {
		return "", err
	}
	return text(span.Of(object), key)
}

func text(value []byte, key string) (string, error) {
	if value[0] != '"' {
		return "", fmt.Errorf("%q: %w", key, ErrType)
	}
	if isPlain(value) {
		return string(value[1 : len(value)-1]), nil
	}
	var v string
	if err := json.Unmarshal(value, &v); err != nil {
		return "", fmt.Errorf("%q: %w", key, ErrSyntax)
	}
	return v, nil
}

// isPlain reports whether a quoted string has no escapes.
func isPlain(quoted []byte) bool {
	for _, c := range quoted {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// whole reads a text that must be JSON without anything after it.
func (l *lexer) whole(b []byte) error {
	if bytes.HasPrefix(b, []byte(mark)) {
		return fmt.Errorf("%w: a byte order mark", ErrSyntax)
	}
	return l.all(b)
}

func (l *lexer) all(b []byte) error {
	rest := bytes.TrimLeft(l.write(b), " \t\r\n")
	lexed(len(b) - len(rest))
	if l.state == inScalar && l.depth == 1 {
		l.after(l.pos)
	}
	switch {
	case l.state == broken:
		return fmt.Errorf("%w: fault at byte %d", ErrSyntax, max(l.pos-1, 0))
	case l.state != complete || len(rest) > 0:
		return fmt.Errorf("%w: fault at byte %d", ErrSyntax, len(b)-len(rest))
	}
	return nil
}

// longestFold is the growth factor of a name that is equal but for its case: the Kelvin
// sign is a k of three bytes.
const longestFold = len("\u212a")

// isName compares a quoted name with key, exactly and ignoring case.
func isName(quoted []byte, key string) (same, folded bool) {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		if len(inner) < len(key) || len(inner) > longestFold*len(key) { // most names, at once
			return false, false
		}
		return string(inner) == key, bytes.EqualFold(inner, []byte(key))
	}
	var name string
	if json.Unmarshal(quoted, &name) != nil {
		return false, true // a lenient parser may read anything into it
	}
	return name == key, strings.EqualFold(name, key)
}
