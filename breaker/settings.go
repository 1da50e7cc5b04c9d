package breaker

import (
	"errors"
	"fmt"
	"time"
)

// Settings say when circuits open and how they close. They may change while a
// group runs. Zero means the default, negative means off.
type Settings struct {
	// Volume is how many exchanges there must be in ten seconds before a rate counts.
	// Default 10.
	Volume int
	// FailurePercent of failed exchanges in ten seconds opens. Default 50.
	FailurePercent int
	// SlowFirstByte is what counts as a slow first byte. Default off.
	SlowFirstByte time.Duration
	// SlowPercent of slow ones in ten seconds opens. Default 80.
	SlowPercent int
	// Consecutive failures open at once, whatever the rate; twice as many do when only
	// exchanges that began before the first of them end well. Default 10.
	Consecutive int
	// Sleep is how long a circuit stays open the first time; each time that it fails
	// again it stays open for twice as long, up to MaxSleep. Both vary by a fifth.
	// Defaults 5 s and 60 s.
	Sleep, MaxSleep time.Duration
	// Step is how long each step of the way back takes: 1, 5, 25, 50 and then 100 % of
	// requests. A step without a success goes on. Default 1 s.
	Step time.Duration
	// MaxConcurrent is how many exchanges may be under way in a circuit. Default off.
	MaxConcurrent int
	// MaxRest is the longest Retry-After of a 429 that is heeded. Default 1 min.
	MaxRest time.Duration
}

func (s *Settings) complete() error {
	var faults []error
	for _, p := range [...]struct {
		name  string
		value int
	}{{"FailurePercent", s.FailurePercent}, {"SlowPercent", s.SlowPercent}} {
		if p.value > 100 {
			faults = append(faults, fmt.Errorf("breaker: Settings.%s: %d is more than 100", p.name, p.value))
		}
	}
	s.Volume = orDefault(s.Volume, 10)
	s.FailurePercent = orDefault(s.FailurePercent, 50)
	s.SlowPercent = orDefault(s.SlowPercent, 80)
	s.Consecutive = orDefault(s.Consecutive, 10)
	s.Sleep = orDefault(s.Sleep, 5*time.Second)
	s.MaxSleep = orDefault(s.MaxSleep, max(time.Minute, s.Sleep))
	s.Step = orDefault(s.Step, time.Second)
	s.MaxRest = orDefault(s.MaxRest, time.Minute)
	if s.Volume < 0 || s.Sleep < time.Millisecond || s.MaxSleep < s.Sleep || s.Step < time.Millisecond {
		faults = append(faults, errors.New("breaker: Settings: Volume, Sleep and Step can't be off, Sleep and Step are a millisecond at least, and MaxSleep is not below Sleep"))
	}
	return errors.Join(faults...)
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
