// Package directive reads Cache-Control (RFC 9111 §5.2, RFC 5861) and the lists of
// names that go with it.
package directive

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// None is a duration that was not given.
const None time.Duration = -1

// Max is what every greater duration is taken for (RFC 9111 §1.2.2).
const Max = (1<<31 - 1) * time.Second

// Control is a Cache-Control, of a request or of an answer. Durations that were not
// given are [None]; one that can't be read counts as 0, so that nothing is taken for
// fresh by mistake. Of two the first counts.
type Control struct {
	NoStore, NoCache, OnlyIfCached     bool
	Public, Private                    bool
	MustRevalidate, MustUnderstand     bool
	MaxAge, SMaxAge                    time.Duration
	MinFresh, MaxStale                 time.Duration
	StaleWhileRevalidate, StaleIfError time.Duration
}

// Empty is a Control that says nothing.
func Empty() Control {
	return Control{MaxAge: None, SMaxAge: None, MinFresh: None, MaxStale: None, StaleWhileRevalidate: None, StaleIfError: None}
}

// Parse reads the values of a Cache-Control field.
func Parse(values []string) Control {
	c := Empty()
	for _, v := range values {
		for v != "" {
			var name, arg string
			var has bool
			name, arg, has, v = next(v)
			c.set(strings.ToLower(name), arg, has)
		}
	}
	return c
}

func (c *Control) set(name, arg string, has bool) {
	switch name {
	case "no-store":
		c.NoStore = true
	case "no-cache": // also when it is of some fields only
		c.NoCache = true
	case "only-if-cached":
		c.OnlyIfCached = true
	case "public":
		c.Public = true
	case "private": // also when it is of some fields only
		c.Private = true
	case "must-revalidate", "proxy-revalidate":
		c.MustRevalidate = true
	case "must-understand":
		c.MustUnderstand = true
	case "max-stale":
		if c.MaxStale == None {
			c.MaxStale = Max
			if has {
				c.MaxStale = seconds(arg)
			}
		}
	default:
		if d := c.duration(name); d != nil && *d == None {
			*d = seconds(arg)
		}
	}
}

func (c *Control) duration(name string) *time.Duration {
	switch name {
	case "max-age":
		return &c.MaxAge
	case "s-maxage":
		return &c.SMaxAge
	case "min-fresh":
		return &c.MinFresh
	case "stale-while-revalidate":
		return &c.StaleWhileRevalidate
	case "stale-if-error":
		return &c.StaleIfError
	}
	return nil
}

// seconds reads a delta-seconds.
func seconds(arg string) time.Duration {
	if arg == "" {
		return 0
	}
	for i := range len(arg) {
		if arg[i] < '0' || arg[i] > '9' {
			return 0
		}
	}
	n, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || n > int64(Max/time.Second) {
		return Max
	}
	return time.Duration(n) * time.Second
}

// Seconds reads a field that is one delta-seconds, such as Age. Of several the first
// counts.
func Seconds(values []string) time.Duration {
	if len(values) == 0 {
		return None
	}
	first, _, _ := strings.Cut(values[0], ",")
	return seconds(strings.TrimSpace(first))
}

// next takes the first member of a list: name, or name=token, or name="quoted".
func next(list string) (name, arg string, has bool, rest string) {
	list = strings.TrimLeft(list, " \t,")
	end := strings.IndexAny(list, "=,")
	if end < 0 {
		return strings.TrimSpace(list), "", false, ""
	}
	name, rest = strings.TrimSpace(list[:end]), list[end+1:]
	if list[end] == ',' {
		return name, "", false, rest
	}
	if quoted := strings.TrimLeft(rest, " \t"); strings.HasPrefix(quoted, `"`) {
		arg, rest = unquote(quoted[1:])
		_, rest, _ = strings.Cut(rest, ",") // nothing else belongs here
		return name, arg, true, rest
	}
	arg, rest, _ = strings.Cut(rest, ",")
	return name, strings.TrimSpace(arg), true, rest
}

// unquote reads a quoted string from behind its first quote. One that does not end
// goes to the end.
func unquote(s string) (text, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// Names reads fields that list header names, as Vary and Connection do. The names are
// in canonical form; "*" stands for itself.
func Names(values []string) (names []string) {
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	return names
}
