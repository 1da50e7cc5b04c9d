package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ginfer/ginfer/routing"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	// Path is the place, such as groups[0].upstream.
	Path string
	// Reason is the error text.
	Reason string

	line   int  // 0: looked up by path
	unused bool // a setting without effect
}

// Faults collects everything wrong with a configuration, so that its author sees all of it at
// once. The zero value is empty.
type Faults struct{ all []Fault }

// Add adds a fault at a path such as groups[0].upstream.
func (f *Faults) Add(path, format string, args ...any) {
	f.all = append(f.all, Fault{Path: path, Reason: fmt.Sprintf(format, args...)})
}

// AddUnused adds a setting that has no effect. In a file of an earlier release, which accepted
// it, it is not a fault.
func (f *Faults) AddUnused(path, format string, args ...any) {
	f.all = append(f.all, Fault{Path: path, Reason: fmt.Sprintf(format, args...), unused: true})
}

// AddError adds every error that is joined in err; faults of a routing table get their place in it.
func (f *Faults) AddError(path string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			f.AddError(path, one)
		}
		return
	}
	if fault, ok := errors.AsType[*routing.FaultError](err); ok {
		f.Add(strings.TrimSuffix(path+".routing.table."+fault.Path, "."), "%s", fault.Reason)
		return
	}
	if err != nil {
		f.Add(path, "%v", err)
	}
}

// Empty reports whether there are none.
func (f *Faults) Empty() bool { return len(f.all) == 0 }

// First returns the reason of the first fault, "" without any.
func (f *Faults) First() string {
	if f.Empty() {
		return ""
	}
	return f.all[0].Reason
}

// Explain returns the faults as one error with a line for each: file, line, field, reason.
// It returns nil when there are none.
func (s *Source) Explain(f *Faults) error {
	errs := make([]error, len(f.all))
	for i, fault := range f.all {
		line := fault.line
		if line == 0 {
			line = s.lineOf(fault.Path)
		}
		where := s.Name
		if line > 0 && !s.yaml {
			where += fmt.Sprintf(":%d", line)
		}
		if fault.Path != "" {
			where += ": " + s.asWritten(fault.Path)
		}
		errs[i] = fmt.Errorf("%s: %s", where, fault.Reason)
	}
	return errors.Join(errs...)
}

// lineOf returns the line of a path, or of the nearest value around it.
func (s *Source) lineOf(path string) int {
	for path != "" {
		if line, ok := s.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}
