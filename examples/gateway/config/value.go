package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a duration written as "1m30s", or "off".
type Duration time.Duration

// Off is the value that every Config of the library takes as "no limit".
const Off = Duration(-1)

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return &valueError{b, `a duration is written as "30s", "1m30s" or "off"`}
	}
	if s == "off" {
		*d = Off
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return &valueError{b, fmt.Sprintf(`%q is not a duration such as "30s", "1m30s" or "off"`, s)}
	}
	*d = Duration(v)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) {
	if d < 0 {
		return []byte(`"off"`), nil
	}
	return json.Marshal(time.Duration(d).String())
}

// Rate is a number per second, written as "50/s", "600/m" or "1000/h".
type Rate float64

// UnmarshalJSON implements json.Unmarshaler.
func (r *Rate) UnmarshalJSON(b []byte) error {
	fault := &valueError{b, fmt.Sprintf(`%s is not a rate such as "50/s", "600/m" or "1000/h"`, b)}
	var s string
	if json.Unmarshal(b, &s) != nil {
		return fault
	}
	number, unit, _ := strings.Cut(s, "/")
	seconds, ok := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !ok || !(v > 0) {
		return fault
	}
	*r = Rate(v / seconds)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (r Rate) MarshalJSON() ([]byte, error) {
	return json.Marshal(strconv.FormatFloat(float64(r), 'g', -1, 64) + "/s")
}

// valueError is returned for a value that its type can't parse.
type valueError struct {
	value  []byte // as it was written
	reason string
}

func (e *valueError) Error() string { return e.reason }
