package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// builtin is the configuration of a gateway that is given none.
//
//go:embed config.json
var builtin []byte

const builtinName = "config.json (built in)"

// source is a configuration as it was read, and where.
type source struct {
	name  string
	text  []byte
	lines map[string]int   // line of each value, by its path
	ends  map[string]int64 // where its first token ends
	yaml  bool             // then lines are of its JSON, and mean nothing to its author
}

// readConfig reads the named file, or the one built in.
func readConfig(path string) (source, error) {
	if path == "" {
		return source{name: builtinName, text: builtin}, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return source{}, fmt.Errorf("config: %w", err)
	}
	return source{name: path, text: text}, nil
}

// parse decodes and checks a configuration. Its error names every fault, one
// a line: file, line, field, reason.
func (s *source) parse() (*Config, error) {
	text := s.text
	if ext := filepath.Ext(s.name); ext == ".yaml" || ext == ".yml" {
		converted, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		text, s.yaml = converted, true
	}
	x, faults := index(text)
	lines := x.lines
	s.lines, s.ends = lines, x.ends
	if len(faults) > 0 {
		return nil, s.explain(faults)
	}
	cfg := new(Config)
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(cfg); err != nil {
		return nil, s.explain([]fault{s.decodeFault(err, text)})
	}
	if faults := otherCase(lines); len(faults) > 0 {
		return nil, s.explain(faults)
	}
	if faults := cfg.check(); len(faults) > 0 {
		return nil, s.explain(faults)
	}
	return cfg, nil
}

// fault is one thing wrong with a configuration.
type fault struct {
	path   string // as groups[0].upstream
	line   int    // 0: look it up by path
	reason string
}

func (s *source) explain(faults []fault) error {
	errs := make([]error, len(faults))
	for i, f := range faults {
		line := f.line
		if line == 0 {
			line = s.lineOf(f.path)
		}
		where := s.name
		if line > 0 && !s.yaml {
			where += fmt.Sprintf(":%d", line)
		}
		if f.path != "" {
			where += ": " + f.path
		}
		errs[i] = fmt.Errorf("%s: %s", where, f.reason)
	}
	return errors.Join(errs...)
}

// lineOf finds a path, or the nearest thing around it that was written.
func (s *source) lineOf(path string) int {
	for path != "" {
		if line, ok := s.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

var unknownField = regexp.MustCompile(`unknown field "(.*)"`)

// decodeFault gives a decoding error its place.
func (s *source) decodeFault(err error, text []byte) fault {
	if typeErr, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		f := fault{path: typeErr.Field, line: lineAt(text, typeErr.Offset), reason: fmt.Sprintf("a %s can't stand here, want %s", typeErr.Value, typeErr.Type)}
		for path, end := range s.ends { // Field lacks the keys of maps
			if end == typeErr.Offset {
				f.path = path
			}
		}
		return f
	}
	if value, ok := errors.AsType[*valueError](err); ok {
		return s.valueFault(value, text)
	}
	reason := strings.TrimPrefix(err.Error(), "json: ")
	if m := unknownField.FindStringSubmatch(reason); m != nil {
		return fault{path: s.pathOf(m[1]), reason: "unknown field"}
	}
	return fault{reason: reason}
}

// valueFault finds a value by how it was written, if that stands only once.
func (s *source) valueFault(e *valueError, text []byte) fault {
	f := fault{reason: e.reason}
	at := bytes.Index(text, e.value)
	if at < 0 || at != bytes.LastIndex(text, e.value) {
		return f
	}
	f.line = lineAt(text, int64(at))
	for path, end := range s.ends {
		if int64(at+len(e.value)) == end {
			f.path = path
		}
	}
	return f
}

// otherCase finds fields in another case than ours. encoding/json takes them,
// and a file with both would mean either.
func otherCase(lines map[string]int) []fault {
	known := map[string]string{} // by lower case
	fieldNames(reflect.TypeFor[Config](), known)
	var faults []fault
	for _, path := range slices.Sorted(maps.Keys(lines)) {
		if ownNames.MatchString(path) {
			continue
		}
		field := path[strings.LastIndexByte(path, '.')+1:]
		if want, ok := known[strings.ToLower(field)]; ok && field != want {
			faults = append(faults, fault{path: path, reason: fmt.Sprintf("unknown field; %q is meant?", want)})
		}
	}
	return faults
}

// ownNames are the places where names are the operator's.
var ownNames = regexp.MustCompile(`^(upstreams|limits)\.[^.]*$|\.headers\.|\.priority\.|\.table\.`)

func fieldNames(t reflect.Type, into map[string]string) {
	switch t.Kind() { //nolint:exhaustive // the others have no fields
	case reflect.Map, reflect.Slice, reflect.Pointer:
		fieldNames(t.Elem(), into)
	case reflect.Struct:
		for field := range t.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			into[strings.ToLower(name)] = name
			fieldNames(field.Type, into)
		}
	}
}

// pathOf finds the first written path that ends in the field.
func (s *source) pathOf(field string) string {
	best := ""
	for path, line := range s.lines {
		if (path == field || strings.HasSuffix(path, "."+field)) && (best == "" || line < s.lines[best]) {
			best = path
		}
	}
	if best == "" {
		return field
	}
	return best
}

func lineAt(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(offset, int64(len(text)))], []byte("\n"))
}

// index notes the line of every value, and finds what encoding/json lets
// pass: members that appear twice, and text after the end.
func index(text []byte) (*indexer, []fault) {
	x := &indexer{text: text, dec: json.NewDecoder(bytes.NewReader(text)), lines: map[string]int{}, ends: map[string]int64{}}
	x.dec.UseNumber()
	if err := x.value(""); err != nil {
		offset := x.dec.InputOffset()
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset = syntax.Offset
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the text ends too early")
		}
		return x, append(x.faults, fault{line: lineAt(text, offset), reason: err.Error()})
	}
	if _, err := x.dec.Token(); !errors.Is(err, io.EOF) {
		x.faults = append(x.faults, fault{line: lineAt(text, x.dec.InputOffset()), reason: "text after the end"})
	}
	return x, x.faults
}

type indexer struct {
	text   []byte
	dec    *json.Decoder
	lines  map[string]int
	ends   map[string]int64
	faults []fault

	depth   int
	counted int64 // lines are counted up to here
	newline int
}

// maxDepth is more than any configuration needs. Paths grow with each level, so that
// nothing but brackets would take all memory.
const maxDepth = 100

func (x *indexer) value(path string) error {
	tok, err := x.dec.Token()
	if err != nil {
		return err
	}
	if x.depth++; x.depth > maxDepth {
		return errors.New("too deep")
	}
	defer func() { x.depth-- }()
	x.ends[path], x.lines[path] = x.dec.InputOffset(), x.line()
	switch tok {
	case json.Delim('{'):
		return x.object(path)
	case json.Delim('['):
		return x.array(path)
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

func (x *indexer) object(path string) error {
	seen := map[string]bool{}
	for x.dec.More() {
		tok, err := x.dec.Token()
		if err != nil {
			return err
		}
		name := fmt.Sprint(tok)
		inner := strings.TrimPrefix(path+"."+name, ".")
		if seen[name] {
			x.faults = append(x.faults, fault{path: inner, line: x.line(), reason: "appears twice"})
		}
		seen[name] = true
		if err := x.value(inner); err != nil {
			return err
		}
	}
	_, err := x.dec.Token()
	return err
}

func (x *indexer) array(path string) error {
	for i := 0; x.dec.More(); i++ {
		if err := x.value(fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	_, err := x.dec.Token()
	return err
}
