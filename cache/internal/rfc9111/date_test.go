package rfc9111_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseDate(t *testing.T) {
	t.Parallel()
	want := time.Date(2050, 8, 8, 2, 1, 18, 0, time.UTC)
	for in, ok := range map[string]bool{
		"Mon, 08 Aug 2050 02:01:18 GMT":           true,
		"Monday, 08-Aug-50 02:01:18 GMT":          true,
		"Mon Aug  8 02:01:18 2050":                true,
		"MON, 08 Aug 2050 02:01:18 GMT":           true,
		"Mon, 08 AUG 2050 02:01:18 GMT":           true,
		"Mon, 08 Aug 2050 02:01:18 gMT":           true,
		"monday, 08-aug-50 02:01:18 gmt":          true,
		"Thu, 08 Aug 2050 02:01:18 GMT":           true, // another day of the week
		"Mon, 08 Aug 2050 02:01:18 UTC":           false,
		"Mon, 08 Aug 2050 02:01:18 AEST":          false,
		"Monday, 08-Aug-50 02:01:18 UTC":          false,
		"Monday, 08-Aug-50 02:01:18 AEST":         false,
		"Mon, 08 Aug 50 02:01:18 GMT":             false,
		"Mon 08 Aug 2050 02:01:18 GMT":            false,
		"Mon,08 Aug 2050 02:01:18 GMT":            false,
		"Mon, 08  Aug  2050 02:01:18 GMT":         false,
		"Mon,  08 Aug 2050 02:01:18 GMT":          false,
		"Mon, 8 Aug 2050 02:01:18 GMT":            false,
		"Mon, 08-Aug-2050 02:01:18 GMT":           false,
		"Mon, 08 Aug 2050 02.01.18 GMT":           false,
		"Mon, 08 Aug 2050 2:01:18 GMT":            false,
		"Mon, 08 Aug 2050 02:01:18.5 GMT":         false,
		"Mon, 08 Aug 2050 02:01:60 GMT":           false,
		"Mon, 31 Feb 2050 02:01:18 GMT":           false,
		"Mon Aug 08 02:01:18 2050":                false,
		"Mon Aug 8 02:01:18 2050":                 false,
		" Mon, 08 Aug 2050 02:01:18 GMT":          false,
		"Mon, 08 Aug 2050 02:01:18 GMT, and more": false,
		"GMT":                  false,
		"":                     false,
		"0":                    false,
		"-1":                   false,
		"2050-08-08T02:01:18Z": false,
		"2539569678":           false,
	} {
		got, valid := rfc9111.ParseDate(in)
		if assert.Equal(t, ok, valid, "%q", in); ok {
			assert.True(t, want.Equal(got), "%q: %v", in, got)
		}
	}
}

// Whatever is a date is also one for net/http.
func FuzzParseDate(f *testing.F) {
	f.Add("Mon, 08 Aug 2050 02:01:18 GMT")
	f.Add("Monday, 08-Aug-50 02:01:18 gmt")
	f.Add("Mon Aug  8 02:01:18 2050")
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := rfc9111.ParseDate(in)
		if !ok {
			return
		}
		again, err := http.ParseTime(got.UTC().Format(http.TimeFormat))
		require.NoError(t, err)
		require.True(t, got.Equal(again))
	})
}
