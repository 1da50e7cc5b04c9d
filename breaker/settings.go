package breaker

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
)

// Settings configures when circuits open and how they close. They may change while a group
// runs. Zero values select the defaults, negative ones disable.
//
// Volume, FailurePercent and Sleep are the rule of hystrix, and alone decide whether a rate of
// failures opens a circuit. Each of the others is an addition that can be switched off.
type Settings struct {
	// Volume is the minimum number of exchanges in ten seconds before a rate counts. Default: 10.
	Volume int
	// FailurePercent is the percentage of failed exchanges in ten seconds that opens a circuit.
	// Default: 50.
	FailurePercent int
	// Sleep is how long a circuit stays open the first time. Each time its recovery fails it
	// stays open twice as long, up to MaxSleep. Both vary by a fifth. Default: 5 s and 60 s.
	Sleep, MaxSleep time.Duration

	// Consecutive is the number of failures in a row that opens a circuit, whatever the rate;
	// twice as many do if only exchanges that began before the first of them succeed. Default:
	// 0, off.
	Consecutive int
	// SlowFirstByte is the time from which first content counts as late. Default: 0, off.
	SlowFirstByte time.Duration
	// SlowPercent is the percentage of late exchanges in ten seconds that opens a circuit.
	// Default: 80.
	SlowPercent int
	// CallersOff removes the distinction of callers. Default: false, the failures of one caller
	// alone don't open the circuit while others are served. At most 16 callers are
	// distinguished in ten seconds; requests without identity and address are one caller.
	CallersOff bool
	// RoutesOff removes the circuits of routes. Default: false, the failures of one route (API
	// and version, or the path without ids) open that route alone while others are served. At
	// most 32 routes are distinguished.
	RoutesOff bool
	// Trickle is the number of requests per second without another endpoint that an open
	// circuit admits, if a balance.Pool reports that there is none. The first success begins
	// the recovery. Default: 2.
	Trickle float64
	// Successes is the number of successes that close a recovering circuit if its requests have
	// no other endpoint. Before the first one Trickle requests per second pass, after it all
	// do. Default: 3.
	Successes int
	// Ramp is the share of requests, from 0 to 1, that passes in each step of the recovery, if
	// a balance.Pool can send the others elsewhere. Default: 0.01, 0.05, 0.25, 0.5; empty but
	// not nil: off, Successes apply.
	Ramp []float64
	// Step is the duration of each step of the ramp. A step with a success ends then, one
	// without failures after Sleep. Default: 1 s.
	Step time.Duration
	// MaxConcurrent is the maximum number of exchanges in progress in a circuit. Default: 0, off.
	MaxConcurrent int
	// MaxCooldown is the longest Retry-After of a 429 that is honored, up to a minute, for the
	// same credential and model. Behind a balance.Pool the pool does that instead. Default:
	// 1 min.
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
	s.Volume = cmp.Or(s.Volume, 10)
	s.FailurePercent = cmp.Or(s.FailurePercent, 50)
	s.SlowPercent = cmp.Or(s.SlowPercent, 80)
	s.Sleep = cmp.Or(s.Sleep, 5*time.Second)
	s.MaxSleep = cmp.Or(s.MaxSleep, max(time.Minute, s.Sleep))
	s.Trickle = cmp.Or(s.Trickle, 2)
	s.Successes = cmp.Or(s.Successes, 3)
	s.Step = cmp.Or(s.Step, time.Second)
	s.MaxCooldown = cmp.Or(s.MaxCooldown, time.Minute)
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
	return fault.Join(faults...)
}

// interval returns the time between requests that are admitted one by one.
func (s *Settings) interval() time.Duration {
	if s.Trickle <= 0 {
		return s.Step
	}
	return time.Duration(float64(time.Second) / s.Trickle)
}

// percent returns the failure percentage for the additions: 50 if no rate opens the circuit.
func (s *Settings) percent() int {
	if s.FailurePercent <= 0 {
		return 50
	}
	return s.FailurePercent
}
