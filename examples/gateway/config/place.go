package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

func lineAt(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(offset, int64(len(text)))], []byte("\n"))
}

// index records the place of every value, and finds what encoding/json accepts silently:
// members that appear twice, and text after the end.
func index(text []byte) (*indexer, *Faults) {
	x := &indexer{text: text, dec: json.NewDecoder(bytes.NewReader(text)), lines: map[string]int{}, ends: map[string]int64{}}
	x.dec.UseNumber()
	if err := x.value("", nil); err != nil {
		offset := x.dec.InputOffset()
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset = syntax.Offset
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the text ends too early")
		}
		return x, &Faults{append(x.faults, Fault{line: lineAt(text, offset), Reason: err.Error()})}
	}
	if _, err := x.dec.Token(); !errors.Is(err, io.EOF) {
		x.faults = append(x.faults, Fault{line: lineAt(text, x.dec.InputOffset()), Reason: "text after the end"})
	}
	return x, &Faults{x.faults}
}

type indexer struct {
	text    []byte
	dec     *json.Decoder
	lines   map[string]int
	ends    map[string]int64
	faults  []Fault
	members []member

	counted int64 // lines are counted up to here
	newline int
}

// member is a member of an object.
type member struct {
	path     string   // as groups[0].proxy.idle
	segments []string // as groups, [], proxy, idle
	keyEnd   int64    // offset of the end of its key
	value    string   // when it is a string
	valueEnd int64    // offset of the end of its first token
}

// maxDepth is more than any configuration needs. Paths grow with each level, so that
// nothing but brackets would take all memory.
const maxDepth = 100

func (x *indexer) value(path string, segments []string) error {
	tok, err := x.dec.Token()
	if err != nil {
		return err
	}
	if len(segments) >= maxDepth {
		return errors.New("too deep")
	}
	x.ends[path], x.lines[path] = x.dec.InputOffset(), x.line()
	switch tok {
	case json.Delim('{'):
		return x.object(path, segments)
	case json.Delim('['):
		return x.array(path, segments)
	}
	if text, ok := tok.(string); ok && len(x.members) > 0 && x.members[len(x.members)-1].path == path {
		x.members[len(x.members)-1].value = text
	}
	return nil
}

// line is that of the latest token.
func (x *indexer) line() int {
	at := x.dec.InputOffset()
	x.newline += bytes.Count(x.text[x.counted:at], []byte("\n"))
	x.counted = at
	return 1 + x.newline
}

func (x *indexer) object(path string, segments []string) error {
	seen := map[string]bool{}
	for x.dec.More() {
		tok, err := x.dec.Token()
		if err != nil {
			return err
		}
		name := fmt.Sprint(tok)
		inner := strings.TrimPrefix(path+"."+name, ".")
		if seen[name] {
			x.faults = append(x.faults, Fault{Path: inner, line: x.line(), Reason: "appears twice"})
		}
		seen[name] = true
		at := slices.Concat(segments, []string{name})
		i := len(x.members)
		x.members = append(x.members, member{path: inner, segments: at, keyEnd: x.dec.InputOffset()})
		if err := x.value(inner, at); err != nil {
			return err
		}
		x.members[i].valueEnd = x.ends[inner]
	}
	_, err := x.dec.Token()
	return err
}

func (x *indexer) array(path string, segments []string) error {
	at := slices.Concat(segments, []string{"[]"})
	for i := 0; x.dec.More(); i++ {
		if err := x.value(fmt.Sprintf("%s[%d]", path, i), at); err != nil {
			return err
		}
	}
	_, err := x.dec.Token()
	return err
}
