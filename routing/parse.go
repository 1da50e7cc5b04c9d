package routing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
)

const (
	maxTable = 8 << 20
	maxDepth = 8
)

// ParseTable parses a table from JSON. It is strict: unknown and repeated fields, wrong
// types, and text after the end are faults. The error joins a [*FaultError] for each fault;
// the table is not usable then.
func ParseTable(text []byte) (Table, error) {
	if len(text) > maxTable {
		return Table{}, &FaultError{Reason: fmt.Sprintf("%d bytes are more than %d", len(text), maxTable)}
	}
	var p parser
	tree, err := p.decode(text)
	if err != nil {
		return Table{}, err
	}
	var t Table
	p.object("", tree, fields{
		"salt":   p.text(&t.Salt),
		"routes": list(&p, &t.Routes, p.route),
	})
	if len(p.faults) > 0 {
		return Table{}, fault.Join(p.faults...)
	}
	return t, t.check()
}

// fields are the parsers of an object's members.
type fields map[string]func(at string, v any)

// tree is a JSON object with its members in order.
type tree []member

type member struct {
	name  string
	value any
}

type parser struct{ faults faults }

// decode parses any JSON. It records repeated members and stops at a syntax error.
func (p *parser) decode(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	v, err := p.value(dec, "", 0)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("text after the end")
		}
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		line := 1 + bytes.Count(text[:min(dec.InputOffset(), int64(len(text)))], []byte("\n"))
		return nil, &FaultError{Reason: fmt.Sprintf("line %d: %v", line, err)}
	}
	return v, nil
}

func (p *parser) value(dec *json.Decoder, at string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return p.members(dec, at, depth)
	case json.Delim('['):
		return p.elements(dec, at, depth)
	}
	return token, nil
}

func (p *parser) members(dec *json.Decoder, at string, depth int) (any, error) {
	out := tree{}
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // the decoder ensures it
		inner := join(at, name)
		v, err := p.value(dec, inner, depth+1)
		if err != nil {
			return nil, err
		}
		if seen[name] {
			p.faults.add(inner, "appears twice")
			continue
		}
		seen[name] = true
		out = append(out, member{name, v})
	}
	_, err := dec.Token()
	return out, err
}

func (p *parser) elements(dec *json.Decoder, at string, depth int) (any, error) {
	out := []any{}
	for i := 0; dec.More(); i++ {
		v, err := p.value(dec, fmt.Sprintf("%s[%d]", at, i), depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := dec.Token()
	return out, err
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

func (p *parser) object(at string, v any, known fields) {
	members, ok := v.(tree)
	if !ok {
		p.faults.add(at, "must be an object")
		return
	}
	for _, m := range members {
		read, ok := known[m.name]
		if !ok {
			p.faults.add(join(at, m.name), "unknown field")
			continue
		}
		read(join(at, m.name), m.value)
	}
}

func (p *parser) route(at string, v any, r *Route) {
	p.object(at, v, fields{
		"model":          p.text(&r.Model),
		"version":        p.text(&r.Version),
		"weight":         p.number(&r.Weight),
		"upstream":       p.text(&r.Upstream),
		"upstream_model": p.text(&r.UpstreamModel),
		"fallback":       p.texts(&r.Fallback),
		"fallback_after": p.duration(&r.FallbackAfter),
		"mirror": func(at string, v any) {
			r.Mirror = new(Mirror)
			p.object(at, v, fields{"version": p.text(&r.Mirror.Version), "share": p.share(&r.Mirror.Share)})
		},
		"capabilities": func(at string, v any) {
			c := new(Capabilities)
			p.object(at, v, fields{
				"tools": p.truth(&c.Tools), "json_schema": p.truth(&c.JSONSchema), "vision": p.truth(&c.Vision),
				"context": p.whole(&c.Context),
			})
			r.Capabilities = c
		},
		"conditions": func(at string, v any) {
			c := &r.Conditions
			p.object(at, v, fields{
				"path": p.text(&c.Path), "methods": p.texts(&c.Methods), "headers": p.pairs(&c.Headers),
				"cookies": p.pairs(&c.Cookies), "tags": p.texts(&c.Tags), "devices": p.texts(&c.Devices),
			})
		},
	})
}

func (p *parser) text(dst *string) func(string, any) {
	return func(at string, v any) {
		s, ok := v.(string)
		if !ok {
			p.faults.add(at, "must be a string")
		}
		*dst = s
	}
}

func (p *parser) number(dst **float64) func(string, any) {
	return func(at string, v any) {
		n, ok := v.(float64)
		if !ok {
			p.faults.add(at, "must be a number")
		}
		*dst = &n
	}
}

func (p *parser) share(dst *float64) func(string, any) {
	return func(at string, v any) {
		n, ok := v.(float64)
		if !ok || n == 0 { // 0 would mean the default
			p.faults.add(at, "must be a number above 0")
		}
		*dst = n
	}
}

func (p *parser) whole(dst *int) func(string, any) {
	return func(at string, v any) {
		n, ok := v.(float64)
		if !ok || n != math.Trunc(n) || math.Abs(n) > math.MaxInt32 { // above every bound
			p.faults.add(at, "must be a whole number")
			return
		}
		*dst = int(n)
	}
}

func (p *parser) truth(dst *bool) func(string, any) {
	return func(at string, v any) {
		b, ok := v.(bool)
		if !ok {
			p.faults.add(at, "must be true or false")
		}
		*dst = b
	}
}

func (p *parser) duration(dst *Duration) func(string, any) {
	return func(at string, v any) {
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		if err != nil {
			p.faults.add(at, `must be a duration such as "20s"`)
		}
		*dst = Duration(d)
	}
}

func (p *parser) texts(dst *[]string) func(string, any) {
	return list(p, dst, func(at string, v any, s *string) { p.text(s)(at, v) })
}

func (p *parser) pairs(dst *map[string]string) func(string, any) {
	return func(at string, v any) {
		members, ok := v.(tree)
		if !ok {
			p.faults.add(at, "must be an object")
			return
		}
		out := make(map[string]string, len(members))
		for _, m := range members {
			var s string
			p.text(&s)(join(at, m.name), m.value)
			out[m.name] = s
		}
		*dst = out
	}
}

func list[T any](p *parser, dst *[]T, read func(at string, v any, to *T)) func(string, any) {
	return func(at string, v any) {
		elements, ok := v.([]any)
		if !ok {
			p.faults.add(at, "must be a list")
			return
		}
		out := make([]T, len(elements))
		for i, e := range elements {
			read(fmt.Sprintf("%s[%d]", at, i), e, &out[i])
		}
		*dst = out
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
