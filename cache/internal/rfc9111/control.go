package rfc9111

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// None is the value of a duration that is absent.
const None time.Duration = -1

// Max is the largest duration. Greater ones are read as Max (RFC 9111 §1.2.2).
const Max = (1<<31 - 1) * time.Second

// Control is the Cache-Control of a request or of a response. Durations that are absent
// are [None]. One that cannot be parsed is 0, so that nothing is fresh by mistake. The
// first of several wins.
type Control struct {
	NoStore, NoCache, OnlyIfCached     bool
	Public, Private                    bool
	MustRevalidate, MustUnderstand     bool
	MaxAge, SMaxAge                    time.Duration
	MinFresh, MaxStale                 time.Duration
	StaleWhileRevalidate, StaleIfError time.Duration
}

// NoControl returns a Control without directives.
func NoControl() Control {
	return Control{MaxAge: None, SMaxAge: None, MinFresh: None, MaxStale: None, StaleWhileRevalidate: None, StaleIfError: None}
}

// ParseControl parses the values of a Cache-Control field.
func ParseControl(values []string) Control {
	c := NoControl()
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

// ParseRequest parses the Cache-Control of a request, or its Pragma if there is none.
func ParseRequest(h http.Header) Control {
	if cc := h["Cache-Control"]; len(cc) > 0 {
		return ParseControl(cc)
	}
	c := NoControl()
	if p := h["Pragma"]; len(p) > 0 { // HTTP/1.0
		c.NoCache = ParseControl(p).NoCache
	}
	return c
}

func (c *Control) set(name, arg string, has bool) {
	switch name {
	case "no-store":
		c.NoStore = true
	case "no-cache": // also with a list of fields
		c.NoCache = true
	case "only-if-cached":
		c.OnlyIfCached = true
	case "public":
		c.Public = true
	case "private": // also with a list of fields
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

// seconds parses delta-seconds.
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

// Seconds parses a field of delta-seconds, such as Age. The first of several values wins.
func Seconds(values []string) time.Duration {
	if len(values) == 0 {
		return None
	}
	first, _, _ := strings.Cut(values[0], ",")
	return seconds(strings.TrimSpace(first))
}

// next cuts the first directive off a list: name, name=token or name="quoted".
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

// unquote parses a quoted string after its opening quote. An unterminated one extends to
// the end.
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

// Names parses fields that list header names, such as Vary and Connection. The names are
// in canonical form; "*" stays as it is.
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
