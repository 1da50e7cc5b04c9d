package rfc9111

import (
	"net/http"
	"strings"
	"time"
)

// rfc850 is the first of the two obsolete forms of a date, with the only zone that HTTP has.
const rfc850 = "Monday, 02-Jan-06 15:04:05 GMT"

// ParseDate parses an HTTP date in one of its three forms (RFC 9110 §5.6.7), in any case.
// Unlike [http.ParseTime] it rejects what only resembles one: other zones, single digits,
// further spaces. Whether it is the date's day of the week is not checked.
func ParseDate(text string) (t time.Time, ok bool) {
	const zone = "GMT"
	if n := len(text) - len(zone); n > 0 && strings.EqualFold(text[n:], zone) {
		text = text[:n] + zone
	}
	_, date, _ := strings.Cut(text, " ")
	for _, layout := range [...]string{http.TimeFormat, rfc850, time.ANSIC} {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		_, exact, _ := strings.Cut(t.Format(layout), " ")
		return t, strings.EqualFold(date, exact)
	}
	return time.Time{}, false
}
