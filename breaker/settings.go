package breaker

import (
	"errors"
	"fmt"
	"time"
)

// Settings say when circuits open and how they close. They may change while a group runs.
// Zero means the default, negative means off.
//
// Volume, FailurePercent and Sleep are the rule of hystrix, and alone decide that a circuit
// opens for a rate of failures. Each of the others is an addition that can be switched.
type Settings struct {
	// Volume is how many exchanges there must be in ten seconds before a rate counts.
	// Default 10.
	Volume int
	// FailurePercent of failed exchanges in ten seconds opens. Default 50.
	FailurePercent int
	// Sleep is how long a circuit stays open the first time; each time that its way back
	// fails it stays open for twice as long, up to MaxSleep. Both vary by a fifth.
	// Defaults 5 s and 60 s.
	Sleep, MaxSleep time.Duration

	// Consecutive failures open at once, whatever the rate; twice as many do when only
	// exchanges that began before the first of them end well. Default off.
	Consecutive int
	// SlowFirstByte is what counts as a late first content. Default off.
	SlowFirstByte time.Duration
	// SlowPercent of late ones in ten seconds opens. Default 80.
	SlowPercent int
	// CallersOff removes the bound per caller. Default false: the failures of one caller
	// alone don't open the circuit while others are served. At most 16 callers are
	// distinguished in ten seconds; requests without identity and address are one caller.
	CallersOff bool
	// RoutesOff removes the circuits of routes. Default false: the failures of one route
	// (API and version, or the path without its ids) open that route alone while others are
	// served. At most 32 routes are distinguished.
	RoutesOff bool
	// Trickle is how many requests a second an open circuit lets through that have nowhere
	// else to go, as a balance.Pool says of them. One that succeeds begins the way back.
	// Default 2.
	Trickle float64
	// Successes close a circuit on its way back, where requests have nowhere else to go.
	// Before the first one Trickle requests a second pass, after it all do. Default 3.
	Successes int
	// Ramp is which part of requests passes in each step of the way back, where a
	// balance.Pool can send the others elsewhere. Default 0.01, 0.05, 0.25, 0.5; empty and
	// not nil: off, and Successes decide.
	Ramp []float64
	// Step is how long each step of the ramp takes. One with a success ends then, one in
	// which nothing failed after Sleep. Default 1 s.
	Step time.Duration
	// MaxConcurrent is how many exchanges may be under way in a circuit. Default off.
	MaxConcurrent int
	// MaxCooldown is the longest Retry-After of a 429 that is heeded, a minute at most, for
	// the same credential and model. Behind a balance.Pool that is the pool's to do.
	// Default 1 min.
	MaxCooldown time.Duration
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
	s.Sleep = orDefault(s.Sleep, 5*time.Second)
	s.MaxSleep = orDefault(s.MaxSleep, max(time.Minute, s.Sleep))
	s.Trickle = orDefault(s.Trickle, 2)
	s.Successes = orDefault(s.Successes, 3)
	s.Step = orDefault(s.Step, time.Second)
	s.MaxCooldown = orDefault(s.MaxCooldown, time.Minute)
	if s.Ramp == nil {
		s.Ramp = []float64{0.01, 0.05, 0.25, 0.5}
	}
	for _, part := range s.Ramp {
		if !(part > 0 && part <= 1) {
			faults = append(faults, fmt.Errorf("breaker: Settings.Ramp: %v is not within 0 and 1", part))
		}
	}
	if s.Volume < 0 || s.Sleep < time.Millisecond || s.MaxSleep < s.Sleep || s.Step < time.Millisecond {
		faults = append(faults, errors.New("breaker: Settings: Volume, Sleep and Step can't be off, Sleep and Step are a millisecond at least, and MaxSleep is not below Sleep"))
	}
	if s.Successes < 0 || !(s.Trickle <= 1000) {
		faults = append(faults, errors.New("breaker: Settings: Successes can't be off, and Trickle is 1000 at most"))
	}
	return errors.Join(faults...)
}

// interval is the time between requests that are let through one by one.
func (s *Settings) interval() time.Duration {
	if s.Trickle <= 0 {
		return s.Step
	}
	return time.Duration(float64(time.Second) / s.Trickle)
}

// percent is the rate that the additions compare with: without one that opens, half.
func (s *Settings) percent() int {
	if s.FailurePercent <= 0 {
		return 50
	}
	return s.FailurePercent
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
