package config

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// builtin is the configuration of a gateway that is started without any.
//
//go:embed config.json
var builtin []byte

const builtinName = "config.json (built in)"

// Source is the text of a configuration and where it came from.
type Source struct {
	// Name is the file, or what stands for it in messages. The ending .yaml or .yml means YAML.
	Name string
	// Text is the configuration as it was written.
	Text []byte

	lines   map[string]int    // line of each value, by its path
	ends    map[string]int64  // offset of the end of its first token
	old     map[string]string // path as it was written, by the path with today's names
	renamed []string
	unused  []string
	yaml    bool // lines are those of the converted JSON, and mean nothing to the author
}

// Read reads the named file; "" is the configuration built in.
func Read(path string) (Source, error) {
	if path == "" {
		return Source{Name: builtinName, Text: builtin}, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return Source{}, fmt.Errorf("config: %w", err)
	}
	return Source{Name: path, Text: text}, nil
}

// Revision identifies a text.
func Revision(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// Parse decodes and checks the configuration. Its error has a line for every fault: file, line,
// field, reason.
func (s *Source) Parse() (*Config, error) {
	text := s.Text
	if ext := filepath.Ext(s.Name); ext == ".yaml" || ext == ".yml" {
		converted, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		text, s.yaml = converted, true
	}
	text, faults := s.rename(text)
	if !faults.Empty() {
		return nil, s.Explain(faults)
	}
	cfg := new(Config)
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(cfg); err != nil {
		return nil, s.Explain(&Faults{[]Fault{s.decodeFault(err, text)}})
	}
	if faults := otherCase(s.lines); len(faults) > 0 {
		return nil, s.Explain(&Faults{faults})
	}
	if faults := s.tolerate(cfg.check()); !faults.Empty() {
		return nil, s.Explain(faults)
	}
	return cfg, nil
}

var unknownField = regexp.MustCompile(`unknown field "(.*)"`)

// decodeFault gives a decoding error its place.
func (s *Source) decodeFault(err error, text []byte) Fault {
	if typeErr, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		f := Fault{Path: typeErr.Field, line: lineAt(text, typeErr.Offset), Reason: fmt.Sprintf("a %s can't stand here, want %s", typeErr.Value, typeErr.Type)}
		for path, end := range s.ends { // Field lacks the keys of maps
			if end == typeErr.Offset {
				f.Path = path
			}
		}
		return f
	}
	if value, ok := errors.AsType[*valueError](err); ok {
		return s.valueFault(value, text)
	}
	reason := strings.TrimPrefix(err.Error(), "json: ")
	if m := unknownField.FindStringSubmatch(reason); m != nil {
		return Fault{Path: s.pathOf(m[1]), Reason: "unknown field"}
	}
	return Fault{Reason: reason}
}

// valueFault locates a value by its text, if that occurs only once.
func (s *Source) valueFault(e *valueError, text []byte) Fault {
	f := Fault{Reason: e.reason}
	at := bytes.Index(text, e.value)
	if at < 0 || at != bytes.LastIndex(text, e.value) {
		return f
	}
	f.line = lineAt(text, int64(at))
	for path, end := range s.ends {
		if int64(at+len(e.value)) == end {
			f.Path = path
		}
	}
	return f
}

// otherCase finds fields in another case than ours. encoding/json accepts them,
// and a file with both would be ambiguous.
func otherCase(lines map[string]int) []Fault {
	known := map[string]string{} // by lower case
	fieldNames(reflect.TypeFor[Config](), known)
	var faults []Fault
	for _, path := range slices.Sorted(maps.Keys(lines)) {
		if ownNames.MatchString(path) {
			continue
		}
		field := path[strings.LastIndexByte(path, '.')+1:]
		if want, ok := known[strings.ToLower(field)]; ok && field != want {
			faults = append(faults, Fault{Path: path, Reason: fmt.Sprintf("unknown field; %q is meant?", want)})
		}
	}
	return faults
}

// ownNames matches the places where the operator chooses the names.
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

// pathOf returns the first path of the text that ends in the field.
func (s *Source) pathOf(field string) string {
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
