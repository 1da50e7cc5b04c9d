// Package jcs converts JSON to its canonical form (RFC 8785): equivalent texts become equal
// bytes.
//
// It is strict where parsers differ: a duplicate member, an unpaired surrogate, invalid
// UTF-8, and a number out of the range of a double are errors.
package jcs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// MaxDepth is the maximum nesting of arrays and objects.
const MaxDepth = 128

// Errors of a text that has no canonical form.
var (
	// ErrSyntax is returned for text that is not JSON.
	ErrSyntax = errors.New("not JSON")
	// ErrDuplicate is returned for a duplicate member, which parsers treat differently.
	ErrDuplicate = errors.New("member appears twice")
	// ErrDepth is returned beyond a nesting of [MaxDepth].
	ErrDepth = errors.New("nested too deeply")
	// ErrNumber is returned for a number that a double cannot represent.
	ErrNumber = errors.New("number out of range")
	// ErrUnicode is returned for a string that is not valid Unicode.
	ErrUnicode = errors.New("not Unicode")
)

// Visitor chooses the members of the outermost object. Member is called for each, in the
// order of the text, with the name without escapes and the value in canonical form. Both
// are valid during the call only.
type Visitor interface {
	Member(name, value []byte) (keep bool, err error)
}

// Canon converts texts to canonical form. The zero value is ready; reuse saves allocations.
// It is not safe for concurrent use.
type Canon struct {
	// Exact refuses integers that a double would round, because readers with long integers
	// distinguish them. Default: false.
	Exact bool

	src     []byte
	i       int
	depth   int
	dst     []byte
	moved   []byte // for sorting the members of an object
	names   []byte // without escapes, of the objects under way
	members []member
}

// member is the position of a member of an object in dst, and of its name in names.
type member struct {
	name, nameEnd int
	start, end    int
	kept          bool
}

// Value returns the canonical form of a JSON text. It is valid until the next call.
func (c *Canon) Value(src []byte) ([]byte, error) {
	c.reset(src)
	if err := c.value(); err != nil {
		return nil, err
	}
	return c.end()
}

// Object is [Canon.Value] for an object with members that v chooses.
func (c *Canon) Object(src []byte, v Visitor) ([]byte, error) {
	c.reset(src)
	if c.space(); c.peek() != '{' {
		return nil, c.syntax()
	}
	if err := c.object(v); err != nil {
		return nil, err
	}
	return c.end()
}

func (c *Canon) reset(src []byte) {
	c.src, c.i, c.depth = src, 0, 0
	c.dst, c.names, c.members = c.dst[:0], c.names[:0], c.members[:0]
}

func (c *Canon) end() ([]byte, error) {
	c.space()
	if c.i != len(c.src) {
		return nil, c.syntax()
	}
	c.src = nil
	return c.dst, nil
}

func (c *Canon) syntax() error { return fmt.Errorf("%w: fault at byte %d", ErrSyntax, c.i) }

// peek returns the next byte, or 0 at the end.
func (c *Canon) peek() byte {
	if c.i < len(c.src) {
		return c.src[c.i]
	}
	return 0
}

func (c *Canon) space() {
	for c.i < len(c.src) {
		switch c.src[c.i] {
		case ' ', '\t', '\n', '\r':
			c.i++
		default:
			return
		}
	}
}

func (c *Canon) value() error {
	c.space()
	switch b := c.peek(); {
	case b == '"':
		return c.str()
	case b == '{':
		return c.object(nil)
	case b == '[':
		return c.array()
	case b == '-' || b >= '0' && b <= '9':
		return c.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if rest := c.src[c.i:]; len(rest) >= len(word) && string(rest[:len(word)]) == word {
			c.i += len(word)
			c.dst = append(c.dst, word...)
			return nil
		}
	}
	return c.syntax()
}

func (c *Canon) array() error {
	if c.depth++; c.depth > MaxDepth {
		return ErrDepth
	}
	c.i++
	c.dst = append(c.dst, '[')
	for first := true; ; first = false {
		done, err := c.next(']', first)
		if err != nil {
			return err
		}
		if done {
			c.depth--
			return nil
		}
		if !first {
			c.dst = append(c.dst, ',')
		}
		if err := c.value(); err != nil {
			return err
		}
	}
}

// next consumes the comma before another element, or the end.
func (c *Canon) next(closing byte, first bool) (done bool, err error) {
	c.space()
	switch b := c.peek(); {
	case b == closing && b != 0:
		c.i++
		c.dst = append(c.dst, closing)
		return true, nil
	case first:
		return false, nil
	case b == ',':
		c.i++
		return false, nil
	}
	return false, c.syntax()
}

// object writes the members in the order of the text, and sorts them if necessary.
func (c *Canon) object(v Visitor) error {
	if c.depth++; c.depth > MaxDepth {
		return ErrDepth
	}
	c.i++
	start, names, stack := len(c.dst)+1, len(c.names), len(c.members)
	c.dst = append(c.dst, '{')
	ordered, empty := true, true
	for first := true; ; first = false {
		done, err := c.next('}', first)
		if err != nil {
			return err
		}
		if done {
			break
		}
		kept, err := c.member(v, empty)
		if err != nil {
			return err
		}
		empty = empty && !kept
		ordered = ordered && c.inOrder(stack)
	}
	if !ordered {
		if err := c.sort(start, c.members[stack:]); err != nil {
			return err
		}
	}
	c.depth--
	c.names, c.members = c.names[:names], c.members[:stack]
	return nil
}

// member writes one member, after a comma if it is not the first.
func (c *Canon) member(v Visitor, first bool) (kept bool, err error) {
	before := len(c.dst)
	if !first {
		c.dst = append(c.dst, ',')
	}
	m := member{start: len(c.dst), name: len(c.names), kept: true}
	if c.space(); c.peek() != '"' {
		return false, c.syntax()
	}
	if err := c.str(); err != nil {
		return false, err
	}
	c.names = appendPlain(c.names, c.dst[m.start:])
	m.nameEnd = len(c.names)
	if c.space(); c.peek() != ':' {
		return false, c.syntax()
	}
	c.i++
	c.dst = append(c.dst, ':')
	value := len(c.dst)
	if err := c.value(); err != nil {
		return false, err
	}
	m.end = len(c.dst)
	if v != nil {
		if m.kept, err = v.Member(c.names[m.name:m.nameEnd], c.dst[value:]); err != nil {
			return false, err
		}
		if !m.kept {
			c.dst = c.dst[:before]
		}
	}
	c.members = append(c.members, m)
	return m.kept, nil
}

// inOrder reports whether the last two members are sorted.
func (c *Canon) inOrder(stack int) bool {
	n := len(c.members)
	return n-stack < 2 || c.compare(c.members[n-2], c.members[n-1]) < 0
}

func (c *Canon) compare(a, b member) int {
	return compareUTF16(c.names[a.name:a.nameEnd], c.names[b.name:b.nameEnd])
}

// sort sorts the members in dst from start on.
func (c *Canon) sort(start int, members []member) error {
	slices.SortFunc(members, c.compare)
	for i := 1; i < len(members); i++ {
		if c.compare(members[i-1], members[i]) == 0 {
			return fmt.Errorf("%w: %.40q", ErrDuplicate, c.names[members[i].name:members[i].nameEnd])
		}
	}
	c.moved = append(c.moved[:0], c.dst[start:]...)
	c.dst = c.dst[:start]
	for _, m := range members {
		if !m.kept {
			continue
		}
		if len(c.dst) > start {
			c.dst = append(c.dst, ',')
		}
		c.dst = append(c.dst, c.moved[m.start-start:m.end-start]...)
	}
	c.dst = append(c.dst, '}')
	return nil
}

// compareUTF16 compares two texts by their UTF-16 units, by which the RFC sorts names. It
// is the order of UTF-8, except that supplementary characters precede U+E000 to U+FFFF.
func compareUTF16(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	if i == n {
		return len(a) - len(b)
	}
	const beyond, private = 0xF0, 0xEE // first bytes
	x, y := a[i], b[i]
	if x >= private && y >= private && (x >= beyond) != (y >= beyond) {
		return int(y) - int(x)
	}
	return bytes.Compare(a[i:i+1], b[i:i+1])
}
