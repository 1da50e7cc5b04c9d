package rfc9111_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// with returns a Control without directives, changed.
func with(change func(*rfc9111.Control)) rfc9111.Control {
	c := rfc9111.NoControl()
	if change != nil {
		change(&c)
	}
	return c
}

func TestParseControl(t *testing.T) {
	t.Parallel()
	type control = rfc9111.Control
	for in, want := range map[string]func(*control){
		"":                                   nil,
		" , ,":                               nil,
		"unknown, also=\"a,b\", x":           nil,
		"no-store":                           func(c *control) { c.NoStore = true },
		"No-Cache, ONLY-IF-CACHED":           func(c *control) { c.NoCache, c.OnlyIfCached = true, true },
		"no-cache=\"set-cookie, x\", public": func(c *control) { c.NoCache, c.Public = true, true },
		"private=\"a\\\"b,public\"":          func(c *control) { c.Private = true },
		"must-revalidate":                    func(c *control) { c.MustRevalidate = true },
		"proxy-revalidate,must-understand":   func(c *control) { c.MustRevalidate, c.MustUnderstand = true, true },
		"max-age=60":                         func(c *control) { c.MaxAge = time.Minute },
		"max-age=\"60\"":                     func(c *control) { c.MaxAge = time.Minute },
		"max-age = 60 ,s-maxage=0":           func(c *control) { c.MaxAge, c.SMaxAge = time.Minute, 0 },
		"max-age=60, max-age=1":              func(c *control) { c.MaxAge = time.Minute },
		"max-age=x":                          func(c *control) { c.MaxAge = 0 },
		"max-age=-1":                         func(c *control) { c.MaxAge = 0 },
		"max-age=1.5":                        func(c *control) { c.MaxAge = 0 },
		"max-age":                            func(c *control) { c.MaxAge = 0 },
		"max-age=99999999999999999999":       func(c *control) { c.MaxAge = rfc9111.Max },
		"max-age=9999999999":                 func(c *control) { c.MaxAge = rfc9111.Max },
		"max-stale":                          func(c *control) { c.MaxStale = rfc9111.Max },
		"max-stale=5, min-fresh=6":           func(c *control) { c.MaxStale, c.MinFresh = 5*time.Second, 6*time.Second },
		"stale-while-revalidate=7,stale-if-error=8": func(c *control) {
			c.StaleWhileRevalidate, c.StaleIfError = 7*time.Second, 8*time.Second
		},
		"max-age=\"unfinished":                  func(c *control) { c.MaxAge = 0 },
		"x=\"max-age=1, no-store\"; max-age=60": nil,
	} {
		assert.Equal(t, with(want), rfc9111.ParseControl([]string{in}), "%q", in)
	}
	assert.Equal(t, with(func(c *control) { c.MaxAge, c.Public = time.Second, true }), rfc9111.ParseControl([]string{"max-age=1", "public, max-age=2"}))
	assert.Equal(t, rfc9111.NoControl(), rfc9111.ParseControl(nil))
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	assert.Equal(t, rfc9111.None, rfc9111.Seconds(nil))
	assert.Equal(t, 3*time.Second, rfc9111.Seconds([]string{" 3 , 4", "5"}))
	assert.Equal(t, time.Duration(0), rfc9111.Seconds([]string{"yesterday"}))
}

func TestNames(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"Accept-Encoding", "X-A", "*"}, rfc9111.Names([]string{" accept-encoding ,,x-a", "*"}))
	assert.Empty(t, rfc9111.Names(nil))
}

func FuzzParseControl(f *testing.F) {
	f.Add("max-age=60, private=\"a\\\"b\", no-store")
	f.Add("s-maxage=\"1\" , max-stale,=,\"")
	f.Fuzz(func(t *testing.T, in string) {
		c := rfc9111.ParseControl([]string{in})
		for _, d := range []time.Duration{c.MaxAge, c.SMaxAge, c.MinFresh, c.MaxStale, c.StaleIfError, c.StaleWhileRevalidate} {
			require.True(t, d == rfc9111.None || d >= 0 && d <= rfc9111.Max)
		}
		if !strings.Contains(in, "\"") { // then a list of lists is one list
			require.Equal(t, c, rfc9111.ParseControl(strings.Split(in, ",")))
		}
	})
}
