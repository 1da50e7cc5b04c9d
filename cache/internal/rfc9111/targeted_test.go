package rfc9111_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCDNCacheControl(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		control string // the targeted field
		more    []string
		fresh   time.Duration
		reason  string
	}{
		{name: "max-age", control: "max-age=60", fresh: time.Minute},
		{name: "s-maxage", control: "max-age=60, s-maxage=30", fresh: 30 * time.Second},
		{name: "precedes a longer Cache-Control", control: "max-age=1", more: []string{"Cache-Control", "max-age=60"}, fresh: time.Second},
		{name: "precedes a shorter Cache-Control", control: "max-age=60", more: []string{"Cache-Control", "max-age=1"}, fresh: time.Minute},
		{name: "precedes no-store", control: "max-age=60", more: []string{"Cache-Control", "no-store"}, fresh: time.Minute},
		{name: "precedes private", control: "max-age=60", more: []string{"Cache-Control", "private"}, fresh: time.Minute},
		{name: "precedes a past Expires", control: "max-age=60", more: []string{"Expires", httpTime(time.Hour)}, fresh: time.Minute},
		{name: "precedes a future Expires", control: "max-age=0", more: []string{"Expires", httpTime(-time.Hour)}, reason: "stale"},
		{name: "without a lifetime, not by Expires", control: "must-revalidate", more: []string{"Expires", httpTime(-time.Hour)}, reason: "no-freshness"},
		{name: "an unknown directive", control: "foobar, max-age=60", fresh: time.Minute},
		{name: "parameters", control: "max-age=60;a=b;c, public;x", fresh: time.Minute},
		{name: "the last of several", control: "max-age=1, max-age=60", fresh: time.Minute},
		{name: "too large", control: "max-age=99999999999", fresh: 24 * time.Hour},
		{name: "negative", control: "max-age=-60", reason: "stale"},
		{name: "Age", control: "max-age=60", more: []string{"Age", "61"}, reason: "stale"},
		{name: "private", control: "private", more: []string{"Cache-Control", "max-age=60"}, reason: "private"},
		{name: "no-store", control: "no-store", more: []string{"Cache-Control", "max-age=60"}, reason: "no-store"},
		{name: "no-cache", control: "no-cache", more: []string{"Cache-Control", "max-age=60"}, reason: "stale"},
		{name: "false", control: "no-store=?0, max-age=60", fresh: time.Minute},
		{name: "true", control: "no-store=?1, max-age=60", reason: "no-store"},
		{name: "a wrong type", control: `max-age="60"`, more: []string{"Cache-Control", "no-store"}, reason: "no-freshness"},
		{name: "a decimal", control: "max-age=60.5", reason: "no-freshness"},
		{name: "not a dictionary", control: "max-age=60, &&&&&", more: []string{"Cache-Control", "no-store"}, reason: "no-store"},
		{name: "a space before =", control: "max-age =60", more: []string{"Cache-Control", "max-age=1"}, fresh: time.Second},
		{name: "a space after =", control: "max-age= 60", more: []string{"Cache-Control", "max-age=1"}, fresh: time.Second},
		{name: "upper case", control: "MaX-aGe=60", more: []string{"Cache-Control", "max-age=1"}, fresh: time.Second},
		{name: "a trailing comma", control: "max-age=60,", more: []string{"Cache-Control", "max-age=1"}, fresh: time.Second},
		{name: "empty", control: "", more: []string{"Cache-Control", "max-age=1"}, fresh: time.Second},
		{name: "only spaces", control: "  ", more: []string{"Cache-Control", "max-age=1"}, fresh: time.Second},
	} {
		res := rfc9111.Response{Status: 200, Header: header(append(tt.more, "CDN-Cache-Control", tt.control)...), RequestTime: received, Received: received}
		life, reason := rules(nil).Assess(&res)
		assert.Equal(t, tt.reason, reason, tt.name)
		if tt.reason == "" {
			assert.Equal(t, tt.fresh, life.FreshUntil.Sub(received), tt.name)
		}
	}
	res := rfc9111.Response{Status: 200, Header: header("CDN-Cache-Control", "public", "CDN-Cache-Control", "max-age=60"), RequestTime: received, Received: received}
	life, _ := rules(nil).Assess(&res)
	assert.Equal(t, time.Minute, life.FreshUntil.Sub(received), "lines are one list")
}

func TestDictionary(t *testing.T) {
	t.Parallel()
	for in, members := range map[string]int{ // -1: no dictionary (RFC 9651)
		"max-age=60, a;b=?0, c=(1 2.5;x \"y\\\"\" tok);q":    3,
		`a="x\"\\", b=:aGk=:, c=@-1, d=%"%c3%bc", *e=*t/x:y`: 5,
		"a=1, a=2": 1, "a ,\tb": 2, "": 0, "a=999999999999999": 1,
		"a=1,,b": -1, "a=-": -1, "a=1.": -1, "a=?2": -1, "a=1234567890123456": -1, "a\t=1": -1, "a=(1\t2)": -1, "é": -1, "a=1,": -1,
	} {
		got, ok := rfc9111.IsDictionary([]string{in})
		assert.Equal(t, members >= 0, ok, in)
		if ok {
			assert.Equal(t, members, got, in)
		}
	}
}

// Two dictionaries are one, on one line or on two.
func FuzzDictionary(f *testing.F) {
	f.Add("max-age=60, a;b=?0", `a="x\"\\", b=:aGk=:`)
	f.Add("a=1,,b", "c=(1 2.5;x tok);q")
	f.Fuzz(func(t *testing.T, a, b string) {
		_, first := rfc9111.IsDictionary([]string{a})
		_, second := rfc9111.IsDictionary([]string{b})
		if !first || !second || strings.Trim(a, " ") == "" || strings.Trim(b, " ") == "" {
			return
		}
		lines, ok := rfc9111.IsDictionary([]string{a, b})
		require.True(t, ok)
		joined, ok := rfc9111.IsDictionary([]string{a + ", " + b})
		require.True(t, ok)
		require.Equal(t, lines, joined)
	})
}
