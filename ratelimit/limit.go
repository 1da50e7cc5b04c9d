package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/fault"
)

// Period is the period of a budget. Periods begin at midnight UTC, months on the first.
type Period int

// The periods.
const (
	// Day is a calendar day.
	Day Period = iota + 1
	// Month is a calendar month.
	Month
)

// Limit configures one bucket per key. Either Rate, with Burst, or Budget, with Period, is
// required.
type Limit struct {
	// Name identifies the limit in headers, events and stores: letters, digits, "_", "-",
	// ".". Required for several limits. Default: "requests", or "tokens" in a Tokens.
	Name string
	// Key returns the key of the bucket that a request takes from, as [ByIP] or
	// auth.Subject. An error other than [ErrSkip] refuses the request. Required; use
	// [Global] for a single bucket.
	Key func(*gin.Context) (string, error)
	// Rate is the refill rate per second, as in Per(100, time.Minute).
	Rate Rate
	// Burst is the size of the bucket: how many pass at once after a pause. Set it to 100 to
	// let the 100 of Per(100, time.Minute) come together. Default: the refill of one second,
	// of ten seconds in a Tokens; at least 1.
	Burst int64
	// Budget is the number of requests or tokens per Period.
	Budget int64
	// Period is Day or Month. Required with Budget.
	Period Period
}

// Rate is a number of requests or tokens per second. Use [Per] for another unit.
type Rate float64

// Per returns the rate of n requests or tokens per period d, as in Per(100, time.Minute). With
// a period that is not positive the rate is invalid, and New returns an error.
func Per(n float64, d time.Duration) Rate {
	if d <= 0 {
		return -1
	}
	return Rate(n / d.Seconds())
}

// allLimits returns the limits of a config, which may have the short form.
func allLimits(several []Limit, one Limit) ([]Limit, error) {
	short := one.Key != nil || one.Rate != 0 || one.Burst != 0
	switch {
	case len(several) == 0:
		return []Limit{one}, nil
	case short:
		return several, errors.New("ratelimit: the config has both Limits and Key, Rate or Burst")
	}
	return several, nil
}

// defaults are the defaults that differ between requests and tokens.
type defaults struct {
	config  string // the type of the config, for faults
	name    string
	seconds float64 // of refill in a default burst
}

// limit is a checked Limit with its headers.
type limit struct {
	Limit
	headers
}

// compile checks the limits, or the one of the short form, and sets defaults. The error joins
// every fault, named as the caller wrote it.
func compile(several []Limit, one Limit, def defaults) ([]*limit, error) {
	limits, err := allLimits(several, one)
	faults := []error{err}
	seen := map[string]bool{}
	out := make([]*limit, len(limits))
	for i, l := range limits {
		if l.Name == "" && len(limits) == 1 {
			l.Name = def.name
		}
		for _, fault := range l.faults() {
			field := ""
			if len(several) > 0 {
				field = fmt.Sprintf("Limits[%d].", i)
			}
			faults = append(faults, fmt.Errorf("ratelimit: %s.%s%s", def.config, field, fault))
		}
		if seen[l.Name] {
			faults = append(faults, fmt.Errorf("ratelimit: %s.Limits[%d].Name: %q is taken", def.config, i, l.Name))
		}
		seen[l.Name] = true
		if l.Budget == 0 && l.Burst == 0 {
			l.Burst = min(max(int64(math.Ceil(float64(l.Rate)*def.seconds)), 1), maxCount)
		}
		out[i] = &limit{Limit: l, headers: newHeaders(&l)}
	}
	return out, fault.Join(faults...)
}

func (l *Limit) faults() (faults []string) {
	if l.Name == "" || strings.Trim(l.Name, nameChars) != "" || len(l.Name) > 64 {
		faults = append(faults, fmt.Sprintf("Name: %q must be 1 to 64 letters, digits, _, - or .", l.Name))
	}
	if l.Key == nil {
		faults = append(faults, "Key is required; use Global for a single bucket")
	}
	switch {
	case l.Budget == 0 && l.Period == 0:
		if !(l.Rate > 0) || l.Rate > maxCount { // also NaN
			faults = append(faults, fmt.Sprintf("Rate: %v must be above 0", l.Rate))
		}
		if l.Burst < 0 || l.Burst > maxCount {
			faults = append(faults, fmt.Sprintf("Burst: %d must be above 0", l.Burst))
		}
	case l.Rate != 0 || l.Burst != 0:
		faults = append(faults, "Rate and Burst do not go with Budget and Period")
	case l.Budget < 1 || l.Budget > maxCount:
		faults = append(faults, fmt.Sprintf("Budget: %d must be above 0", l.Budget))
	case l.Period != Day && l.Period != Month:
		faults = append(faults, "Period: must be Day or Month")
	}
	return faults
}

const nameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

// maxCount keeps counts exact in a float64, and in a Lua number.
const maxCount = 1 << 50

// bucket returns the present bucket of a key.
func (l *Limit) bucket(key string, now time.Time) Bucket {
	b := Bucket{Limit: l.Name, Key: key, Rate: float64(l.Rate), Burst: l.Burst}
	if l.Budget > 0 {
		b.Burst, b.Ends = l.Budget, l.Period.end(now)
	}
	return b
}

// end returns the end of the period that contains now.
func (p Period) end(now time.Time) time.Time {
	y, m, d := now.UTC().Date()
	if p == Month {
		return time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
}
