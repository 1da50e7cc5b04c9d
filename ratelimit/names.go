package ratelimit

import (
	"fmt"
	"reflect"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/sizes"
)

// size is what limits with one name in one store have in common. The amount of a budget is not
// part of it: it can be raised, and keeps what was spent. The key counts only without a name of
// the user's: then two keys are most likely two limits.
type size struct {
	rate   Rate
	burst  int64
	period Period
	key    uintptr
}

// sizesOf returns the sizes of the limits of a store; nil: it does not record them.
func sizesOf(store Store) *sizes.Registry {
	switch s := store.(type) {
	case interface{ sizesOf() *sizes.Registry }:
		return s.sizesOf()
	case interface{ Sizes() *sizes.Registry }:
		return s.Sizes()
	}
	return nil
}

func (m *Memory) sizesOf() *sizes.Registry { return &m.sizes }

func (s *Shared) sizesOf() *sizes.Registry {
	if inner := sizesOf(s.cfg.Store); inner != nil {
		return inner
	}
	return &s.sizes
}

// register checks that no limit of the store has the name of one of these and another size.
func register(store Store, limits []*limit, def defaults, resize bool) error {
	known := sizesOf(store)
	if known == nil {
		return nil
	}
	var faults []error
	for _, l := range limits {
		one := size{rate: l.Rate, burst: l.Burst, period: l.Period}
		if l.Name == def.name {
			one.key = reflect.ValueOf(l.Key).Pointer()
		}
		if err := known.Register(l.Name, one, resize); err != nil {
			faults = append(faults, fmt.Errorf("ratelimit: %s.Limits: %w; give one of them another Name, or set Resize to replace it", def.config, err))
		}
	}
	return fault.Join(faults...)
}
